"""Objects in a table, one per row: ``file``, what the shape needs, and ``label`` or not.

A box is ``x``, ``y``, ``w``, ``h``, with key points that and ``points`` (x y v x y v …), a rotated
one ``corners`` (x y x y x y x y), a mask ``polygon`` (x y x y x y …); all of them in pixels.
"""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.evaluation.dataset import (
    LabeledImage,
    LabeledObject,
    SourceLocation,
    class_index,
    list_names,
    read_labeled_image,
    truncate_text,
)
from edgecnn_runtime.evaluation.label_shapes import (
    LabelShape,
    mask_object,
    pose_object,
    rotated_object,
)
from edgecnn_runtime.evaluation.table_labels import LabelRow, read_table
from edgecnn_runtime.types import Box

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "boxes": ("x", "y", "w", "h"),
    "key points": ("x", "y", "w", "h", "points"),
    "rotated boxes": ("corners",),
    "masks": ("polygon",),
}
"""Of a table, by the shape of its labels."""
SEPARATOR = re.compile(r"[\s,;()\[\]]+")
SIDES = {"w": "width", "h": "height"}


def read_object_table(
    source: SourceLocation, model: ModelSpec, shape: LabelShape
) -> list[LabeledImage]:
    """Read a table of objects; an image without any has one row that names the file alone.

    Raises:
        UsageError: A row is not an object of the model's classes, or is there twice.
    """
    columns = COLUMNS[shape.name]
    places: dict[Path, SourceLocation] = {}
    images: dict[Path, dict[LabeledObject, SourceLocation]] = {}
    for row in read_table(source, ("file", *columns)):
        places.setdefault(row.file, row.place)
        objects = images.setdefault(row.file, {})
        if not any(row.cells[key] for key in columns):
            continue
        labeled = _OBJECTS[shape.name](row, _class(row, model), shape)
        if labeled in objects:
            raise row.place.error(
                f"the same {shape.noun} of {truncate_text(row.file.name)} is in line "
                f"{objects[labeled].line} already; keep one row"
            )
        objects[labeled] = row.place
    return [
        LabeledImage(
            file, objects=tuple(objects), places=tuple(objects.values()) or (places[file],)
        )
        for file, objects in images.items()
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


def _box_object(row: LabelRow, index: int, _shape: LabelShape) -> LabeledObject:
    return LabeledObject(index, _box(row))


def _pose_object(row: LabelRow, index: int, shape: LabelShape) -> LabeledObject:
    values = _numbers(row, "points")
    if len(values) != 3 * shape.points:
        raise row.place.error(
            f"`points` has {len(values)} numbers; the model's {shape.points} key points as x y v "
            f"are {3 * shape.points}"
        )
    points = values.reshape(-1, 3).tolist()
    if not {v for _, _, v in points} <= {0, 1, 2}:
        raise row.place.error("v is 0 (not labeled), 1 (hidden) or 2 (visible) for each key point")
    return pose_object(index, _box(row), points)


def _rotated_object(row: LabelRow, index: int, _shape: LabelShape) -> LabeledObject:
    values = _numbers(row, "corners")
    if len(values) != 8:
        raise row.place.error(f"`corners` has {len(values)} numbers; four corners as x y are 8")
    return rotated_object(row.place, index, values.reshape(4, 2))


def _mask_object(row: LabelRow, index: int, _shape: LabelShape) -> LabeledObject:
    values = _numbers(row, "polygon")
    if len(values) % 2:
        raise row.place.error(f"`polygon` has {len(values)} numbers; points are x and y each")
    height, width = read_labeled_image(row.file, row.place).shape[:2]
    return mask_object(row.place, index, [values.reshape(-1, 2)], (width, height))


_OBJECTS: Mapping[str, Callable[[LabelRow, int, LabelShape], LabeledObject]] = {
    "boxes": _box_object,
    "key points": _pose_object,
    "rotated boxes": _rotated_object,
    "masks": _mask_object,
}


def _numbers(row: LabelRow, key: str) -> NDArray[np.float64]:
    """The numbers of a cell, whatever separates them."""
    words = [word for word in SEPARATOR.split(row.cells[key]) if word]
    try:
        values = np.array([float(word) for word in words])
    except ValueError:
        values = np.array([np.nan])
    if not np.isfinite(values).all():
        raise row.place.error(
            f"`{key}` is {truncate_text(row.cells[key])!r}, which is not numbers of pixels"
        )
    return values


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
