"""Boxes in a table, one per row: ``file``, ``x``, ``y``, ``w``, ``h``, and ``label`` or not."""

import math
from pathlib import Path

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.evaluation.dataset import (
    LabeledImage,
    LabeledObject,
    SourceLocation,
    class_index,
    list_names,
    truncate_text,
)
from edgecnn_runtime.evaluation.table_labels import LabelRow, read_table
from edgecnn_runtime.types import Box

SIDES = {"w": "width", "h": "height"}


def read_box_table(source: SourceLocation, model: ModelSpec) -> list[LabeledImage]:
    """Read a table of boxes; an image without any has one row whose box is empty.

    Raises:
        UsageError: A row is not a box of the model's classes, or is there twice.
    """
    places: dict[Path, SourceLocation] = {}
    images: dict[Path, dict[LabeledObject, SourceLocation]] = {}
    for row in read_table(source, ("file", "x", "y", "w", "h")):
        places.setdefault(row.file, row.place)
        boxes = images.setdefault(row.file, {})
        if not any(row.cells[key] for key in "xywh"):
            continue
        box = LabeledObject(_class(row, model), _box(row))
        if box in boxes:
            raise row.place.error(
                f"the same box of {truncate_text(row.file.name)} is in line {boxes[box].line} "
                "already; keep one row"
            )
        boxes[box] = row.place
    return [
        LabeledImage(file, objects=tuple(boxes), places=tuple(boxes.values()) or (places[file],))
        for file, boxes in images.items()
    ]


def check_class(place: SourceLocation, index: int, model: ModelSpec) -> None:
    """Check a class number.

    Raises:
        UsageError: The model has no such class.
    """
    if index < 0:
        raise place.error(f"class {index}, but classes count from 0")
    if model.labels and index >= len(model.labels):
        raise place.error(f"class {index}, but the model has {len(model.labels)}, counted from 0")


def _class(row: LabelRow, model: ModelSpec) -> int:
    label = row.cells.get("label", "")
    index = class_index(label, model.labels) if label else 0
    if index is None:
        raise row.place.error(
            f"{truncate_text(label)!r} is none of the model's labels, {list_names(model.labels)}"
        )
    check_class(row.place, index, model)
    return index


def _box(row: LabelRow) -> Box:
    x, y, w, h = (_number(row, key) for key in "xywh")
    for key, value in (("w", w), ("h", h)):
        if value <= 0:
            raise row.place.error(f"`{key}` is {row.cells[key]}; a box has a {SIDES[key]} above 0")
    return Box(x, y, x + w, y + h)


def _number(row: LabelRow, key: str) -> float:
    cell = row.cells[key]
    if not cell:
        raise row.place.error(
            f"`{key}` is empty; a box has x, y, w and h, an image without one has none"
        )
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise row.place.error(
            f"`{key}` is {truncate_text(cell)!r}, which is not a number of pixels"
        )
    return value
