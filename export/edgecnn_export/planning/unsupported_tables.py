"""One table of boxes that is not what its shape looks like, refused by its true name."""

import numpy as np

from edgecnn_export.head_evidence import (
    CORNERS_SHARE,
    MANY_ROWS,
    TOLERANCE,
    Unit,
    columns_of,
    coordinate_unit,
    corners_share,
    nonzero_rows,
    sum_to_one,
    whole_numbers,
)
from edgecnn_export.heads.base import MOST_QUERIES, Outputs
from edgecnn_export.heads.box_table import TABLE_HEADS, V8_HEADS, Table, table_of
from edgecnn_export.planning.refusal import OWN_DECODING, as_json, no_head, other_task
from edgecnn_export.planning.unsupported_columns import (
    MASK_COEFFICIENTS,
    before_decoding,
    columns_behind_the_classes,
    columns_that_are_not_scores,
)
from edgecnn_runtime.errors import EdgecnnError, UsageError
from edgecnn_runtime.types import Floats

SURE = 0.5
"""A score that stands for an object."""
UNTRAINED = 0.1
"""Most cells of a trained detector show nothing. Where scores are higher, they say nothing."""


def masks(outputs: Outputs, _head: str) -> EdgecnnError | None:
    """A table whose last columns weigh the maps of another output."""
    table = table_of(outputs)
    maps = {name: s for name, s in outputs.shapes.items() if len(s) == 4 and 1 not in s[2:]}
    if table is None or len(maps) != 1:
        return None
    (name, shape), *_ = maps.items()
    for count in (shape[1], shape[3]):
        extra = table.columns - 4 - count
        named = len(outputs.labels) in {extra, extra - 1, 0} or extra == 2
        if extra >= 1 and (count == MASK_COEFFICIENTS or named):
            what = (
                f"this is an instance segmentation head (YOLO -seg): {count} of the "
                f"{table.columns} columns of {table.name!r} are mask coefficients, which belong to "
                f"the maps of {name!r}"
            )
            return other_task(outputs, what, "segment")
    return None


def one_table(outputs: Outputs, head: str) -> EdgecnnError | None:
    """One table of boxes and classes: what its columns really are."""
    head = head if head in TABLE_HEADS else ""
    table = table_of(outputs, head)
    if table is None:
        return None
    if error := _exchanged(outputs, table, head) or _text(outputs, table):
        return error
    ranked = head == "nms" or (not head and not table.grid and table.count <= MOST_QUERIES)
    if ranked or (not head and outputs.metadata.end_to_end):
        return _ranked_table(outputs, table)
    return _grid_table(outputs, table) if head or table.grid else None


def _text(outputs: Outputs, table: Table) -> EdgecnnError | None:
    """A text reader's steps, whose scores are those of one softmax."""
    logarithms = len(table.rows) > 0 and columns_of(table.rows).high.max() <= 0
    rows = np.exp(table.rows) if logarithms else table.rows
    if columns_of(rows).outside.any() or not sum_to_one(rows):
        return None
    return UsageError(
        f"every row of {table.name!r} is a softmax, so they are the steps of a text reader and no "
        f"boxes: --task ocr, with its characters in --labels FILE; {outputs}"
    )


def _exchanged(outputs: Outputs, table: Table, head: str) -> EdgecnnError | None:
    """A head named by the user that reads rows where the table has columns."""
    wide = not table.grid and table.across and table.count < table.columns
    if not head or (not wide and table.across == (head in V8_HEADS)):
        return None
    axis = "columns" if head in V8_HEADS else "rows"
    other = ""
    if head != "nms" and not wide:  # without --head the guess would be this other head
        other = (
            ", or use --head yolov5 if objectness comes before the classes"
            if head in V8_HEADS
            else ", or use --head yolov8 if there is no objectness before the classes"
        )
    return UsageError(
        f"--head {head} takes the {axis} of {table.name!r} for boxes, and the boxes are on the "
        f"other axis: return output.permute(0, 2, 1){other}; {outputs}"
    )


def _ranked_table(outputs: Outputs, table: Table) -> EdgecnnError | None:
    """The best rows only: after suppression x1, y1, x2, y2, score, class; or a DETR's queries."""
    names, extra = len(outputs.labels), table.columns - 6
    marks = outputs.options.get("points", 0) * outputs.options.get("point_dims", 2)
    unit = coordinate_unit(table.rows[:, :4], outputs.width, outputs.height)
    ranked = table.columns >= 6 and whole_numbers(table.rows[:, 5])
    queries = bool(names) and table.columns == 4 + names and unit != "pixels"
    if table.columns >= 5 and (not ranked or (queries and extra not in {0, marks})):
        return _unranked(outputs, table, unit)
    if table.columns < 6 or not len(table.rows):
        return None
    if table.grid and unit == "cells":
        return before_decoding(outputs, table)
    if table.across:
        what = "this is a table after suppression with rows and columns exchanged"
        return no_head(outputs, what, "return output.permute(0, 2, 1), and export it again")
    if extra != marks:
        return columns_behind_the_classes(outputs, table, extra)
    return _ranked_values(outputs, table, unit)


def _unranked(outputs: Outputs, table: Table, unit: Unit) -> EdgecnnError:
    """Rows without a class number."""
    if unit in {"fractions", "nothing"}:
        return _queries(outputs, table)
    what = (
        f"these are {table.count} rows whose sixth column is no class number, so they are not "
        "x1, y1, x2, y2, score, class"
    )
    return no_head(outputs, what, "a text reader needs --task ocr")


def _ranked_values(outputs: Outputs, table: Table, unit: Unit) -> EdgecnnError | None:
    """Whether rows x1, y1, x2, y2, score, class hold what they should."""
    rows = nonzero_rows(table.rows[:, :6])
    if not len(rows):
        return None
    scores, classes = rows[:, 4], rows[:, 5]
    if columns_of(scores[:, None]).outside.any() and outputs.options.get("values") != "logits":
        what = "these are rows of boxes whose fifth column leaves 0..1, so it is no score"
        return no_head(outputs, what)
    boxes = rows[scores > TOLERANCE, :4]
    share = corners_share(boxes)
    if share is not None and share < CORNERS_SHARE / 2:
        what = (
            f"the boxes of {table.name!r} are centers and sizes: as corners, {1 - share:.0%} of "
            "them would have x2 <= x1 or y2 <= y1"
        )
        return no_head(outputs, what, "convert them to x1, y1, x2, y2 at the end of the model")
    if outputs.labels and classes.max() >= len(outputs.labels):
        return UsageError(
            f"there are {len(outputs.labels)} names (--labels, or the file's own), and class "
            f"number {int(classes.max())} occurs in {table.name!r}, counted from 0; {outputs}"
        )
    return _wrong_unit(outputs, table, unit)


def _grid_table(outputs: Outputs, table: Table) -> EdgecnnError | None:
    """A row per cell: cx, cy, w, h, [objectness,] classes, and landmarks the user declared."""
    marks = outputs.options.get("points", 0) * outputs.options.get("point_dims", 2)
    columns = columns_of(table.rows)
    unit = coordinate_unit(table.rows[:, :4], outputs.width, outputs.height)
    scores = columns.outside[4 : table.columns - marks]
    if scores.any() and outputs.options.get("values") != "logits":
        return columns_that_are_not_scores(outputs, table, columns, unit)
    if unit == "cells":
        return before_decoding(outputs, table)
    boxes = nonzero_rows(table.rows[:, :4])
    if len(boxes) >= MANY_ROWS and (corners_share(boxes) or 0.0) >= CORNERS_SHARE:
        what = f"the boxes of {table.name!r} are corners x1, y1, x2, y2, not centers and sizes"
        advice = (
            "return boxes[N,A,4] and scores[N,A,C] as two outputs, and use --head ssd --decode "
            f"{as_json({'decoded': True})}"
        )
        return no_head(outputs, what, advice)
    if unit == "fractions" and not (table.grid or outputs.options.get("normalized")):
        return _queries(outputs, table)
    if error := _wrong_unit(outputs, table, unit) or _column_count(outputs, table, marks):
        return error
    return _objectness(outputs, table, table.rows[:, 4 : table.columns - marks])


def _objectness(outputs: Outputs, table: Table, scores: Floats) -> EdgecnnError | None:
    """A column of objectness that is read as a class, or a class that is read as objectness."""
    if outputs.labels or scores.shape[1] < 2 or not len(scores):
        return None  # the names have as many columns as there are classes
    first, others = scores[:, 0], scores[:, 1:].max(1)
    if np.median(first) > UNTRAINED:
        return None
    sure = first >= SURE
    if table.across and sure.any() and (others[sure] >= SURE).mean() >= CORNERS_SHARE:
        what = (
            f"this is a YOLOv5 table with rows and columns exchanged: every box of {table.name!r} "
            "that is sure of the first class is sure of another one too, so the first is objectness"
        )
        return no_head(outputs, what, "return output.permute(0, 2, 1)")
    doubtful = (others >= SURE).any() and not (sure & (others >= SURE)).any()
    if not table.across and doubtful and np.median(others) <= TOLERANCE:
        what = (
            f"this is a YOLOv8 table with rows and columns exchanged: boxes of {table.name!r} are "
            "sure of a class, and none of these where the column of objectness is sure"
        )
        advice = "return output.permute(0, 2, 1). If it is a YOLOv5 table, --labels FILE tells"
        return no_head(outputs, what, advice)
    return None


def _column_count(outputs: Outputs, table: Table, marks: int) -> EdgecnnError | None:
    """Another layout that has exactly as many columns as there are names."""
    names, columns = len(outputs.labels), table.columns - marks
    expected = columns - (4 if table.across else 5)
    if not names or names == expected:
        return None
    if names == columns - (5 if table.across else 4):
        known = "YOLOv5 or YOLOX" if table.across else "YOLOv8"
        rest = ", or one of oriented boxes (YOLO -obb)" if table.across else ""
        what = (
            f"{names} names fit a {known} table with rows and columns exchanged{rest}, but not "
            f"this one of {expected} classes"
        )
        return no_head(outputs, what, "return output.permute(0, 2, 1), or correct --labels")
    return None


def _wrong_unit(outputs: Outputs, table: Table, unit: Unit) -> EdgecnnError | None:
    """Fractions read as pixels, or pixels read as fractions."""
    normalized = outputs.options.get("normalized", False)
    if unit == "fractions" and not normalized:
        return UsageError(
            f"the boxes of {table.name!r} never leave 0..1, so they are no pixels. If they are "
            f"fractions of the input: --decode {as_json({'normalized': True})}. If they are "
            f"offsets within a cell (YOLOX before decoding), {OWN_DECODING}; {outputs}"
        )
    if normalized and unit in {"pixels", "cells"}:
        return UsageError(
            f"normalized is set, but the boxes of {table.name!r} leave 0..1: leave it out if they "
            f"are pixels; {outputs}"
        )
    return None


def _queries(outputs: Outputs, table: Table) -> EdgecnnError:
    what = (
        f"this is a DETR's table (RT-DETR): {table.count} boxes as center and size in fractions of "
        f"the input, with class scores ({table.columns - 4})"
    )
    if table.across:
        return no_head(
            outputs, f"{what}, rows and columns exchanged", "return output.permute(0, 2, 1)"
        )
    return UsageError(f"{what}: --head detr; {outputs}")
