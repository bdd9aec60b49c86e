"""One table of boxes, as YOLO has it."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgecnn_export.head_evidence import columns_of, coordinate_unit, finite_mean
from edgecnn_export.heads.base import MOST_QUERIES, STRIDE_SETS, Fields, Head, Outputs
from edgecnn_export.heads.box_table import Table, table_of
from edgecnn_runtime.bundle.manifest import Yolo
from edgecnn_runtime.decode.grid import cells_of
from edgecnn_runtime.errors import UsageError


def yolo(outputs: Outputs, layout: str) -> Fields:
    """One table of boxes; the columns that are not box, objectness or landmark are classes."""
    name = outputs.sole_output(3, f"a YOLO {layout} head")
    shape = outputs.shapes[name]
    columns = shape[1] if layout == "v8" else shape[2]
    landmarks = outputs.options.get("points", 0) * outputs.options.get("point_dims", 2)
    classes = columns - (4 if layout == "v8" else 5) - landmarks
    if layout == "nms":
        classes = len(outputs.labels) or outputs.options.get("classes", 0)
        if columns >= 6 and not classes:
            raise UsageError(
                "a head that ends in NMS does not show how many classes it has: "
                "give --labels FILE, or --decode '{\"classes\": 80}'"
            )
    if classes < 1 or columns < 6 - (layout == "v8"):
        raise UsageError(f"{columns} columns are too few for a YOLO {layout} head; {outputs}")
    return {"output": name, "layout": layout, "classes": classes}


def layout_of(outputs: Outputs) -> str:
    """v5, v8 or nms by the shape of the one table; "" where there is no such table."""
    tables = [shape for shape in outputs.shapes.values() if len(shape) == 3]
    if len(tables) != 1 and outputs.options.get("output") not in outputs.shapes:
        return ""
    shape = outputs.shapes[outputs.sole_output(3, "a detector")]
    if outputs.metadata.end_to_end:
        return "nms"
    if outputs.is_grid(shape[2]):
        return "v8"
    if outputs.is_grid(shape[1]):
        return "v5"
    return "nms" if shape[2] >= 6 and shape[1] <= MOST_QUERIES else ""


def yolox(outputs: Outputs) -> Fields:
    """One table [N,A,5+C] with a row for each cell, before the box arithmetic."""
    fields, table = yolo(outputs, "yolox"), table_of(outputs)
    strides = outputs.options.get("strides") or (table and strides_of(outputs, table.count))
    if table is None or table.across or not strides:
        raise UsageError(
            "a yolox head has one table [N,A,5+C] with a row for each cell of strides 8, 16, 32; "
            f"{outputs}. Check --input"
        )
    unit = coordinate_unit(table.rows[:, :4], outputs.width, outputs.height)
    if unit == "pixels":
        raise UsageError(
            f"the boxes of {table.name!r} are pixels, so they are decoded already: --head yolov5; "
            f"{outputs}"
        )
    return fields | {"strides": strides}


def fits_yolox(outputs: Outputs) -> bool:
    """A row for each cell, whose box is counted in cells from its own cell."""
    table = table_of(outputs)
    if table is None or table.across or not len(table.rows) or table.columns < 6:
        return False
    strides = strides_of(outputs, table.count)
    if strides is None or columns_of(table.rows[:, 4:]).outside.any():
        return False
    unit = coordinate_unit(table.rows[:, :4], outputs.width, outputs.height)
    return unit == "cells" and not _from_the_corner(outputs, table, strides)


def strides_of(outputs: Outputs, cells: int) -> tuple[int, ...] | None:
    """The strides whose grids have so many cells together; None where none are known to."""
    return next((strides for strides in STRIDE_SETS if outputs.cells(strides) == cells), None)


def _from_the_corner(outputs: Outputs, table: Table, strides: tuple[int, ...]) -> bool:
    """Whether centers follow the cells, so that they are counted from the picture's corner."""
    sizes = [(-(-outputs.width // stride), -(-outputs.height // stride)) for stride in strides]
    cells = np.concatenate([cells_of(columns, rows) for columns, rows in sizes])
    centers = table.rows[:, :2].reshape(-1, len(cells), 2)
    return finite_mean(np.abs(centers - cells)) < finite_mean(np.abs(centers)) / 2


def yolov5_face(outputs: Outputs) -> Fields:
    """One table [N,A,5+2P+C] with landmarks before the classes."""
    table = table_of(outputs)
    if table is None or table.across:
        raise UsageError(f"a yolov5-face head has one table [N,A,5+2P+C]; {outputs}")
    points = outputs.options.get("points") or landmarks_first(columns_of(table.rows).outside) // 2
    if not points:
        raise UsageError(
            f"the columns of {table.name!r} behind objectness are no landmarks in pixels; {outputs}"
        )
    classes = table.columns - 5 - 2 * points
    fields = {"output": table.name, "layout": "v5-face", "classes": classes, "points": points}
    if classes < 1:
        raise UsageError(f"{table.columns} columns are too few for a yolov5-face head; {outputs}")
    return fields


def fits_yolov5_face(outputs: Outputs) -> bool:
    """A row for each cell or anchor, with landmarks in pixels between objectness and classes."""
    table = table_of(outputs)
    if table is None or table.across or not table.grid:
        return False
    outside = columns_of(table.rows).outside
    unit = coordinate_unit(table.rows[:, :4], outputs.width, outputs.height)
    return unit == "pixels" and not outside[4] and landmarks_first(outside) > 0


def landmarks_first(outside: NDArray[np.bool_]) -> int:
    """How many columns after box and objectness are landmarks before the classes; 0 for none.

    Args:
        outside: bool[K], which columns leave 0..1.
    """
    block = outside[5:]
    count = int(block.argmin()) if not block.all() else 0
    return count if count >= 4 and count % 2 == 0 and not block[count:].any() else 0


def _head(layout: str) -> Head:
    return Head(
        Yolo,
        lambda outputs: yolo(outputs, layout),
        lambda outputs: layout_of(outputs) == layout,
    )


HEADS: Mapping[str, Head] = {
    "yolox": Head(Yolo, yolox, fits_yolox, by_values=True),
    "yolov5-face": Head(Yolo, yolov5_face, fits_yolov5_face, by_values=True),
    "yolov5": _head("v5"),
    "yolov8": _head("v8"),
    "yolov11": _head("v8"),
    "nms": _head("nms"),
}
