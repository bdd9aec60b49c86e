"""Pictures of the sizes at which two ways of resizing part: odd, tiny, huge, thin, gray."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgecnn_export.verification.images import relative_name
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
"""The same of those no training set holds: what they do is told, and decides nothing."""


DRAWN, TILE = 640, 256
"""Longer pictures are drawn at about the first and enlarged; grain repeats after the second."""


@dataclass(frozen=True)
class Picture:
    """A file both sides read. pixels: uint8[H,W,3] BGR. ordinary: whether it decides anything."""

    name: str
    path: Path
    pixels: Pixels
    ordinary: bool = True
    given: bool = False


def synthetic_test_images(folder: Path, width: int, height: int, seed: int = 11) -> list[Picture]:
    """Generated pictures, written into ``folder`` as PNG; one of them has the network's size."""
    sizes = [*SIZES, ("the network's size", width, height)]
    made = [_made(folder, *size, seed + number) for number, size in enumerate(sizes)]
    gray = cv2.cvtColor(made[3].pixels, cv2.COLOR_BGR2GRAY)
    made.append(_written(folder, "gray", np.asarray(gray, np.uint8)))
    edges = [
        _made(folder, *size, seed - 1 - number) for number, size in enumerate(DEGENERATE_SIZES)
    ]
    return [*made, *(Picture(p.name, p.path, p.pixels, ordinary=False) for p in edges)]


def user_test_images(folder: str, files: list[Path], count: int) -> list[Picture]:
    """The user's own, at most ``count``, spread over the folder. Raises UsageError for none."""
    chosen = [files[number * len(files) // count] for number in range(count)] if count else []
    found = []
    for path in files if len(files) <= count else chosen:
        # as most transforms read a file: without turning it by what its EXIF says
        pixels = read_picture(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if pixels is not None:
            found.append(Picture(relative_name(folder, path), path, pixels, given=True))
    if not found:
        raise UsageError(f"--images {folder}: none of its files is a readable picture")
    return found


def _made(folder: Path, name: str, width: int, height: int, seed: int) -> Picture:
    """A scene drawn small enough to be quick, enlarged, and given the grain of a sensor."""
    scale = max(1, round(max(width, height) / DRAWN))
    drawn = synthetic_pictures(1, -(-height // scale), -(-width // scale), seed=seed)[0]
    pixels = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng(seed)
    grain = rng.integers(0, 8, (min(height, TILE), min(width, TILE), 3), np.uint8)
    tiles = -(-height // TILE), -(-width // TILE), 1
    cv2.add(pixels, np.tile(grain, tiles)[:height, :width], dst=pixels)
    return _written(folder, name, np.asarray(pixels, np.uint8))


def _written(folder: Path, name: str, pixels: Pixels) -> Picture:
    path = folder / f"{name.replace(' ', '-').replace(chr(39), '')}.png"
    if not cv2.imwrite(str(path), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 0]):
        raise EdgecnnError(f"cannot write {path}")
    if pixels.ndim == 2:
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR), np.uint8)
    return Picture(name, path, pixels)
