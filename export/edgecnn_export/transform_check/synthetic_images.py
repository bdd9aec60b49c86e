"""Pictures of sizes at which two ways of resizing differ: odd, tiny, huge, thin, gray."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgecnn_export.verification.images import evenly_spaced, relative_name
from edgecnn_export.verification.synthetic import synthetic_pictures
from edgecnn_runtime.errors import EdgecnnError, UsageError
from edgecnn_runtime.image_file import read_picture
from edgecnn_runtime.types import Pixels

SIZES: tuple[tuple[str, int, int], ...] = (
    ("landscape", 1280, 720),
    ("portrait", 720, 1280),
    ("square", 512, 512),
    ("odd", 333, 251),
    ("odd portrait", 479, 641),
    ("small", 97, 61),
    ("huge", 2592, 1944),
)
"""Name, width, height of ordinary pictures."""

DEGENERATE_SIZES: tuple[tuple[str, int, int], ...] = (
    ("one row", 640, 1),
    ("one column", 1, 640),
    ("tiny", 3, 2),
    ("strip", 1600, 24),
)
"""The same for sizes that no training set contains: they are reported, and do not count."""


DRAWN, TILE = 640, 256
"""Larger pictures are drawn at about the first side, then enlarged; grain repeats by the second."""


@dataclass(frozen=True)
class Picture:
    """A picture file that both sides read.

    Attributes:
        name: For tables.
        path: The file.
        pixels: uint8[H,W,3] BGR.
        ordinary: Whether it counts; degenerate sizes do not.
    """

    name: str
    path: Path
    pixels: Pixels
    ordinary: bool = True


def synthetic_test_images(folder: Path, width: int, height: int, seed: int = 11) -> list[Picture]:
    """Generated pictures, written into ``folder`` as PNG; one of them has the network's size."""
    sizes = [*SIZES, ("the network's size", width, height)]
    pictures = [_draw(folder, *size, seed + number) for number, size in enumerate(sizes)]
    gray = cv2.cvtColor(pictures[3].pixels, cv2.COLOR_BGR2GRAY)
    pictures.append(_write(folder, "gray", np.asarray(gray, np.uint8)))
    degenerate = [
        _draw(folder, *size, seed - 1 - number) for number, size in enumerate(DEGENERATE_SIZES)
    ]
    return [*pictures, *(dataclasses.replace(picture, ordinary=False) for picture in degenerate)]


def user_test_images(folder: str, files: list[Path], count: int) -> list[Picture]:
    """The user's own pictures, at most ``count``, evenly spaced in the folder.

    Raises:
        UsageError: None of the files can be read.
    """
    pictures = []
    for path in evenly_spaced(files, count):
        # as most transforms read a file: without turning it by what its EXIF says
        pixels = read_picture(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if pixels is not None:
            pictures.append(Picture(relative_name(folder, path), path, pixels))
    if not pictures:
        raise UsageError(f"--images {folder}: none of its files is a readable picture")
    return pictures


def _draw(folder: Path, name: str, width: int, height: int, seed: int) -> Picture:
    """A scene drawn small enough to be quick, enlarged, and given the grain of a sensor."""
    scale = max(1, round(max(width, height) / DRAWN))
    drawn = synthetic_pictures(1, -(-height // scale), -(-width // scale), seed=seed)[0]
    pixels = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng(seed)
    grain = rng.integers(0, 8, (min(height, TILE), min(width, TILE), 3), np.uint8)
    tiles = -(-height // TILE), -(-width // TILE), 1
    cv2.add(pixels, np.tile(grain, tiles)[:height, :width], dst=pixels)
    return _write(folder, name, np.asarray(pixels, np.uint8))


def _write(folder: Path, name: str, pixels: Pixels) -> Picture:
    path = folder / f"{name.replace(' ', '-').replace(chr(39), '')}.png"
    if not cv2.imwrite(str(path), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 0]):
        raise EdgecnnError(f"cannot write {path}")
    if pixels.ndim == 2:
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR), np.uint8)
    return Picture(name, path, pixels)
