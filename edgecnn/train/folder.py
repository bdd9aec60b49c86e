"""A folder of pictures with one folder per class: CLASS/picture.jpg."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn.train.resize import Fit
from edgecnn_runtime.errors import UsageError

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
OnPicture: TypeAlias = Callable[[int, int], None] | None
"""Called with the number of files that are read and the number of all files."""
FILE_LIMIT = 64 << 20
"""A picture file over this many bytes is left out."""
MEMORY_LIMIT = 4 << 30
"""All pictures together, at the network's size, may not take more bytes."""


def class_folders(root: Path) -> tuple[str, ...]:
    """Names of the folders in ``root`` that contain pictures, sorted: the classes."""
    folders = [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    names = [path.name for path in folders if path.name[0] != "." and _pictures(path)]
    return tuple(sorted(names))


def read_folders(
    root: Path, labels: Sequence[str], fit: Fit, shape: tuple[int, ...], on_picture: OnPicture
) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[str, ...]]:
    """Read every picture under ``root/LABEL``.

    Args:
        root: The folder with one folder per class.
        labels: The classes, in target order.
        fit: uint8[H,W,3] BGR → uint8[*shape].
        shape: The network's height, width and channels.
        on_picture: Called after each file.

    Returns:
        Pixels uint8[N,*shape], targets int64[N], and the files that cannot be read.

    Raises:
        UsageError: The pictures need too much memory, or none can be read.
    """
    files = [(path, at) for at, name in enumerate(labels) for path in _pictures(root / name)]
    if (size := len(files) * math.prod(shape)) > MEMORY_LIMIT:
        raise UsageError(
            f"{root}: {len(files)} pictures need {size >> 20} MiB at this size, "
            f"over {MEMORY_LIMIT >> 20}: choose a smaller --size or fewer pictures"
        )
    pixels = np.empty((len(files), *shape), np.uint8)
    targets: list[int] = []
    skipped = []
    with ThreadPoolExecutor(2) as pool:
        pictures = pool.map(lambda file: _read(file[0], fit), files)
        for done, ((path, target), picture) in enumerate(zip(files, pictures, strict=True), 1):
            if on_picture:
                on_picture(done, len(files))
            if picture is None:
                skipped.append(str(path))
            else:
                pixels[len(targets)] = picture
                targets.append(target)
    if not targets:
        raise UsageError(f"{root}: none of its {len(files)} picture files can be read")
    return pixels[: len(targets)], np.array(targets, np.int64), tuple(skipped)


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())


def _read(path: Path, fit: Fit) -> NDArray[np.uint8] | None:
    try:
        if path.stat().st_size > FILE_LIMIT:
            return None
        picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        return None
    return None if picture is None else fit(np.asarray(picture, np.uint8))
