"""Boxes with keypoints: YOLO -pose, before and after its suppression."""

from collections.abc import Mapping

from edgecnn_export.head_evidence import columns_of, keypoint_columns
from edgecnn_export.heads.base import Fields, Head, Outputs
from edgecnn_export.heads.table import Table, check_values, count_classes, read_table
from edgecnn_runtime.bundle.manifest import Pose
from edgecnn_runtime.errors import UsageError

PERSON = (17, 3)
"""COCO's keypoints of a person, with visibility."""
PERSON_SKELETON = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8),
    (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip
"""As COCO's ``person_keypoints`` annotations have it, counted from 0."""


def pose(outputs: Outputs) -> Fields:
    """A table of boxes whose last columns are keypoints."""
    table = read_table(outputs, "a pose head")
    points, dims = _shape(outputs, table)
    what = f"{points} keypoints of {dims} numbers"
    classes = count_classes(outputs, table, points * dims, what)
    check_values(outputs, table, classes)
    _check_visibility(outputs, table, points, dims)
    return {
        "output": table.name,
        "layout": table.layout,
        "classes": classes,
        "points": points,
        "point_dims": dims,
        "skeleton": PERSON_SKELETON if points == PERSON[0] else (),
    }


def _shape(outputs: Outputs, table: Table) -> tuple[int, int]:
    """Keypoints per box, and numbers per keypoint: the user's, the file's, or a person's."""
    known = outputs.metadata.keypoint_shape or PERSON
    if "points" in outputs.options:
        points = outputs.options["points"]
        dims = outputs.options.get("point_dims", known[1] if points == known[0] else 3)
        return int(points), int(dims)
    if outputs.metadata.keypoint_shape:
        return known
    classes = 0 if table.layout == "nms" else max(1, len(outputs.labels))
    extra = table.columns - table.first - classes
    if extra == PERSON[0] * PERSON[1]:
        return PERSON
    columns = columns_of(table.rows[:, table.columns - extra :]) if extra > 0 else None
    example = keypoint_columns(columns.outside) if columns and len(table.rows) else None
    points, dims = example or (5, 3)
    raise UsageError(
        f"nothing says how many keypoints a box of {table.name!r} has: add --decode "
        f'\'{{"points": {points}, "point_dims": {dims}}}\', with the numbers that the model was '
        f"trained with; {outputs}"
    )


def _check_visibility(outputs: Outputs, table: Table, points: int, dims: int) -> None:
    """Whether every third number of a keypoint is a probability."""
    columns = table.rows[:, table.columns - points * dims :]
    if dims == 3 and columns_of(columns[:, 2::3]).outside.any():
        raise UsageError(
            f"the visibility of keypoints in {table.name!r} leaves 0..1, so these are not {points} "
            f'keypoints of x, y, visibility: --decode \'{{"points": …, "point_dims": 2}}\' '
            f"tells; {outputs}"
        )


HEADS: Mapping[str, Head] = {"pose": Head(Pose, pose)}
