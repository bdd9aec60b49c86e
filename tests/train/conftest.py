"""Small real data: digits drawn stroke by stroke, as IDX files and as folders of pictures."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecnn.demo.strokes import draw_digit


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


@pytest.fixture(scope="session")
def write_idx() -> Callable[[Path, NDArray[np.uint8]], None]:
    """Write an array as an IDX file, gzipped where the name ends in .gz."""

    def write(path: Path, array: NDArray[np.uint8]) -> None:
        raw = idx_bytes(array)
        path.write_bytes(gzip.compress(raw, 1) if path.suffix == ".gz" else raw)

    return write


def drawn(count: int, seed: int, digits: int = 10) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % digits).astype(np.uint8)
    return np.stack([draw_digit(int(label), 28, random) for label in labels]), labels


@pytest.fixture(scope="session")
def digits(
    tmp_path_factory: pytest.TempPathFactory, write_idx: Callable[[Path, NDArray[np.uint8]], None]
) -> Path:
    """600 + 200 hand-drawn digits under MNIST's file names, the test part gzipped."""
    folder = tmp_path_factory.mktemp("digits")
    for prefix, suffix, count, seed in (("train", "", 600, 1), ("t10k", ".gz", 200, 2)):
        images, labels = drawn(count, seed)
        write_idx(folder / f"{prefix}-images-idx3-ubyte{suffix}", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte{suffix}", labels)
    return folder


@pytest.fixture(scope="session")
def two_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders round/ and straight/ with 40 color pictures each, of zeros and ones."""
    folder = tmp_path_factory.mktemp("two")
    images, labels = drawn(80, 3, digits=2)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        name = ("round", "straight")[label]
        (folder / name).mkdir(exist_ok=True)
        picture = cv2.applyColorMap(cv2.resize(image, (80, 60)), cv2.COLORMAP_OCEAN)
        cv2.imwrite(str(folder / name / f"{number}.png"), picture)
    return folder
