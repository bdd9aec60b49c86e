"""Photographs with the text of their plates: what a reader is measured on, or tuned with."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgecnn.train.plates.crops import INPUT
from edgecnn.train.plates.grammar import CHARSET
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.image_file import read_picture
from edgecnn_runtime.types import Pixels

LOOSE = 0.04
"""How much wider and higher than its box a plate is cut out, on each side."""
IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


@dataclass(frozen=True, slots=True)
class PlateImage:
    """A plate that was photographed.

    Attributes:
        picture: uint8[H,W,3] BGR, cut out, at its own size.
        text: What is written on it.
        file: Where it is.
        group: The folder's name.
    """

    picture: Pixels
    text: str
    file: Path
    group: str


def read_plates(source: str | Path) -> list[PlateImage]:
    """Read photographs of plates.

    Args:
        source: A table (CSV, or TSV by its name) with columns ``file`` and ``text``, and ``x``,
            ``y``, ``w``, ``h`` in pixels where a file shows more than the plate, or ``margin``,
            what it shows on each side of the plate as a fraction of the plate's size; files are
            relative to the table. Or a folder of plates that are cut out, whose names are their
            texts.

    Raises:
        UsageError: There is nothing of the kind; the message names the line of the table.
    """
    path = Path(source)
    plates = list(_from_folder(path) if path.is_dir() else _from_table(path))
    if not plates:
        raise UsageError(f"{path}: no plates: a table with file and text, or a folder of pictures")
    return plates


def _from_folder(folder: Path) -> Iterator[PlateImage]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGES:
            text = path.stem.partition("_")[0]
            try:
                yield PlateImage(_read(path), checked(text), path, folder.name)
            except ValueError as error:
                raise UsageError(f"{path}: the name is no plate's text: {error}") from None


def _from_table(table: Path) -> Iterator[PlateImage]:
    try:
        lines = table.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{table}: cannot be read as a table: {error}") from None
    delimiter = "\t" if table.suffix.lower() == ".tsv" else ","
    rows = csv.DictReader(lines, delimiter=delimiter)
    if not {"file", "text"} <= set(rows.fieldnames or ()):
        raise UsageError(f"{table}:1: columns file and text are missing")
    boxed = {"x", "y", "w", "h"} <= set(rows.fieldnames or ())
    for row in rows:
        file = table.parent / (row["file"] or "")
        picture = _read(file)
        try:
            if boxed:
                picture = cut_box(picture, *(float(row[key]) for key in "xywh"))
            elif row.get("margin"):
                picture = without_margin(picture, float(row["margin"]))
            text = checked(row["text"] or "")
        except (ValueError, TypeError) as error:
            raise UsageError(f"{table}:{rows.line_num}: {error}") from None
        yield PlateImage(picture, text, file, table.parent.name)


def checked(text: str) -> str:
    """A text that a plate can have."""
    for char in text:
        if char not in CHARSET:
            raise ValueError(f"{text!r} has a character that no plate has: {char!r}")
    return text


def _read(file: Path) -> Pixels:
    picture = read_picture(file)
    if picture is None:
        raise UsageError(f"{file}: cannot be read as a picture")
    return picture


def cut_box(picture: Pixels, x: float, y: float, w: float, h: float) -> Pixels:
    """A plate's part of a photograph, a little larger than its box."""
    height, width = picture.shape[:2]
    left, top = max(0, round(x - w * LOOSE)), max(0, round(y - h * LOOSE))
    right, bottom = min(width, round(x + w * (1 + LOOSE))), min(height, round(y + h * (1 + LOOSE)))
    if right <= left or bottom <= top:
        raise ValueError(f"the box {x:g}, {y:g}, {w:g}, {h:g} is outside the picture")
    return picture[top:bottom, left:right]


def without_margin(picture: Pixels, margin: float) -> Pixels:
    """The plate of a crop that shows a part of its size more on each side, as those of events."""
    if not 0 <= margin <= 2:
        raise ValueError(f"a margin of {margin:g}: it is a fraction of the plate's size, 0 to 2")
    height, width = (side / (1 + 2 * margin) for side in picture.shape[:2])
    return cut_box(picture, margin * width, margin * height, width, height)


def resized(picture: Pixels) -> Pixels:
    """A cut-out plate at the reader's size, uint8[40,160,3], as the runtime resizes it."""
    shrinks = picture.shape[1] >= INPUT[0] and picture.shape[0] >= INPUT[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, INPUT, interpolation=how), np.uint8)
