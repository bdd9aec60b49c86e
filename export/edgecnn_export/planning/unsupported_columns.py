"""Columns of a table of boxes that are not what their place says, refused by their true names."""

from edgecnn_export.head_evidence import (
    CELLS_SHARE,
    MIN_BINS,
    Columns,
    Unit,
    are_logits,
    columns_of,
    finite_mean,
    keypoint_columns,
)
from edgecnn_export.heads.base import Outputs
from edgecnn_export.heads.box_table import Table
from edgecnn_export.heads.gfl import SPARSE
from edgecnn_export.planning.refusal import (
    OWN_DECODING,
    as_json,
    no_head,
    other_task,
)
from edgecnn_runtime.errors import EdgecnnError, UsageError

MASK_COEFFICIENTS = 32
DFL_COLUMNS = 4 * 16
"""Box columns of a YOLOv8 head before its arithmetic: 16 bins for each of four distances."""
ANGLE_LIMIT = 3.2
"""No angle in radians is larger, whichever half turn it is counted in."""


def columns_that_are_not_scores(
    outputs: Outputs, table: Table, columns: Columns, unit: Unit
) -> EdgecnnError | None:
    """What columns are that leave 0..1 where classes should be.

    Args:
        outputs: The model's.
        table: The one output.
        columns: The range of each of its columns.
        unit: What its first four columns are counted in.
    """
    outside = columns.outside
    first = 4 if table.across else 5
    if outside[4:].sum() == 1 and outside[-1] and columns.reach[-1] <= ANGLE_LIMIT:
        return _oriented(outputs)
    if error := _before_arithmetic(outputs, table, columns, unit):
        return error
    if are_logits(table.rows[:, 4:]):
        return UsageError(
            f"the scores of {table.name!r} leave 0..1 and are negative nearly everywhere, so they "
            f"are scores before a sigmoid: add --decode {as_json({'values': 'logits'})}; {outputs}"
        )
    classes = max(int(outside[first:].argmax()), 1)
    if outputs.labels and len(outputs.labels) <= classes:
        classes = len(outputs.labels)
    return columns_behind_the_classes(outputs, table, table.columns - first - classes)


def _before_arithmetic(
    outputs: Outputs, table: Table, columns: Columns, unit: Unit
) -> EdgecnnError | None:
    """A head whose columns are not boxes yet: distributions, offsets, logarithms."""
    outside = columns.outside
    small = columns.reach.max() <= CELLS_SHARE * min(outputs.width, outputs.height)
    trailing = int(outside[::-1].argmin()) if not outside.all() else len(outside)
    leading = len(outside) - trailing
    if small and outside[:DFL_COLUMNS].all() and table.columns > DFL_COLUMNS:
        what = "this is a YOLOv8 head before its box arithmetic (4 x 16 bins, then classes)"
        return no_head(outputs, what, OWN_DECODING)
    if small and leading and trailing % 4 == 0 and trailing // 4 >= MIN_BINS and unit != "pixels":
        return _scores_first(outputs, f" ({leading} and {trailing} of {table.columns} columns)")
    if unit == "fractions" and finite_mean(table.rows[:, :4]) < SPARSE:
        return _scores_first(outputs, "")
    if unit == "cells" and not are_logits(table.rows[:, 4:]):
        return _scores_first(outputs, "")
    return before_decoding(outputs, table) if unit == "cells" else None


def columns_behind_the_classes(outputs: Outputs, table: Table, extra: int) -> EdgecnnError | None:
    """What columns behind the classes are, by how many there are and what they reach.

    Args:
        outputs: The model's.
        table: The one output.
        extra: How many of its last columns are meant; 0 means that objectness is no score.
    """
    columns = columns_of(table.rows[:, table.columns - extra :]) if extra > 0 else None
    if columns is None:
        return no_head(outputs, f"the objectness of {table.name!r} leaves 0..1")
    if extra == 1:
        return _oriented(outputs)
    if extra == MASK_COEFFICIENTS and columns.reach.max() <= CELLS_SHARE * outputs.width:
        what = "this is an instance segmentation head (YOLO -seg): its last 32 columns are masks"
        return other_task(outputs, what, "segment")
    points = keypoint_columns(columns.outside)
    known = outputs.metadata.keypoint_shape
    if known and known[0] * known[1] == extra:
        points = known
    elif points and points[1] == 2 and columns.reach.max() <= CELLS_SHARE * outputs.width:
        points = None  # coordinates would reach further
    if points is None:
        what = (
            f"the last {extra} of the {table.columns} columns of {table.name!r} leave 0..1, so "
            "they are no classes"
        )
        logits = f"if they are scores before a sigmoid, --decode {as_json({'values': 'logits'})}"
        return no_head(outputs, what, logits)
    if table.grid and not table.across:  # a row per cell has objectness, which pose does not take
        setting = as_json(dict(zip(("points", "point_dims"), points, strict=True)))
        return UsageError(
            f"the last {extra} of the {table.columns} columns of {table.name!r} are no classes: "
            "this is a pose model with objectness (YOLOv7-pose), whose keypoints are taken as "
            f"points of a box: add --task detect --decode {setting}; {outputs}"
        )
    what = (
        f"the last {extra} of the {table.columns} columns of {table.name!r} are no classes: this "
        "is a pose model (YOLO -pose)"
    )
    return other_task(outputs, what, "pose", points)


def before_decoding(outputs: Outputs, table: Table) -> EdgecnnError:
    """The refusal of numbers in units of cells where boxes should be."""
    what = (
        f"this is a head before decoding: the boxes of {table.name!r} are counted in cells of a "
        "grid, because none of their numbers is over an eighth of the input's side"
    )
    if table.across:
        advice = "return output.permute(0, 2, 1), and if it is YOLOX: --head yolox"
        return no_head(outputs, what, advice)
    return no_head(outputs, what, f"if they are YOLOX's, --head yolox; else {OWN_DECODING}")


def _scores_first(outputs: Outputs, counts: str) -> EdgecnnError:
    what = (
        "this is a NanoDet or PicoDet head before decoding: class scores come first, then "
        f"distributions over the distances to a box's sides{counts}"
    )
    return no_head(outputs, what)


def _oriented(outputs: Outputs) -> EdgecnnError:
    what = "this is a head of oriented boxes (YOLO -obb): the last column is an angle, no class"
    return other_task(outputs, what, "obb")
