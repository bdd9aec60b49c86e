"""Rotated boxes: YOLO -obb, before and after its suppression."""

from collections.abc import Mapping

from edgecnn_export.head_evidence import TOLERANCE, columns_of, nonzero_rows
from edgecnn_export.heads.base import Fields, Head, Outputs
from edgecnn_export.heads.table import check_values, count_classes, read_table
from edgecnn_runtime.bundle.manifest import Obb
from edgecnn_runtime.errors import UsageError

MOST_RADIANS = 32.0
"""No head counts angles in so many turns; degrees reach further."""


def obb(outputs: Outputs) -> Fields:
    """A table of boxes whose last column is an angle."""
    table = read_table(outputs, "a head of rotated boxes")
    classes = count_classes(outputs, table, 1, "an angle")
    check_values(outputs, table, classes)
    rows = nonzero_rows(table.rows)  # those of zeros are padding after suppression
    reach = columns_of(rows[:, -1:]).reach.max()
    if reach > MOST_RADIANS:
        raise UsageError(
            f"the last column of {table.name!r} reaches {reach:.0f}, so it is no angle in radians; "
            f"{outputs}"
        )
    if len(rows) and reach <= TOLERANCE:
        raise UsageError(
            f"the last column of {table.name!r} is 0 in every row, so it is no angle: a model of "
            f"upright boxes is --task detect; {outputs}"
        )
    return {"output": table.name, "layout": table.layout, "classes": classes}


HEADS: Mapping[str, Head] = {"obb": Head(Obb, obb)}
