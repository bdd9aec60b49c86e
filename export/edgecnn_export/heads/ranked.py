"""Boxes, class numbers and scores in an output each, as a graph's own selection leaves them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgecnn_export.head_evidence import (
    TOLERANCE,
    are_corners,
    are_fractions,
    columns_of,
    coordinate_unit,
    whole_numbers,
)
from edgecnn_export.heads.base import Fields, Head, Outputs
from edgecnn_runtime.bundle.manifest import Ranked
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.types import Floats

LABELS_NAME = re.compile("label|class", re.IGNORECASE)
SCORES_NAME = re.compile("score|conf|prob", re.IGNORECASE)
TENSORFLOW = "detection_boxes"
"""What TensorFlow's detectors call their boxes, which are y1, x1, y2, x2."""


@dataclass(frozen=True)
class Rows:
    """The names of boxes[N,K,4], scores[N,K], labels[N,K] and count[N]; "" without a count."""

    boxes: str
    scores: str
    labels: str
    count: str


def rows_of(outputs: Outputs) -> Rows | None:
    """Which outputs are which, by shapes, names and values; None where they are not such rows."""
    boxes = [name for name, s in outputs.shapes.items() if len(s) == 3 and s[2] == 4]
    if len(boxes) != 1:
        return None
    rows = outputs.shapes[boxes[0]][1]
    columns = [name for name, s in outputs.shapes.items() if s[1:] == (rows,)]
    counts = [name for name, s in outputs.shapes.items() if s in {(1,), (1, 1)} and rows > 1]
    if len(columns) != 2 or len(outputs.shapes) != 3 + len(counts) or len(counts) > 1:
        return None
    scores, labels = _told_apart(outputs, columns)
    return Rows(boxes[0], scores, labels, counts[0] if counts else "")


def _told_apart(outputs: Outputs, names: Sequence[str]) -> tuple[str, str]:
    """Scores and class numbers: by what the values can only be, else by the names."""
    first, second = names
    for scores, labels in ((first, second), (second, first)):
        if SCORES_NAME.search(scores) and LABELS_NAME.search(labels):
            return scores, labels
    scores_first = not whole_numbers(_column(outputs, first))
    return (first, second) if scores_first else (second, first)


def _column(outputs: Outputs, name: str) -> Floats:
    values = outputs.samples.get(name)
    return np.empty(0, np.float32) if values is None else values.reshape(-1)


def ranked(outputs: Outputs) -> Fields:
    """boxes[N,K,4], labels[N,K] and scores[N,K], perhaps with a count[N]."""
    rows = rows_of(outputs)
    if rows is None:
        raise UsageError(f"a ranked head has boxes[N,K,4], labels[N,K], scores[N,K]; {outputs}")
    boxes, scores = _shown(outputs, rows)
    labels, names = _column(outputs, rows.labels), len(outputs.labels)
    if not whole_numbers(labels) or columns_of(scores[:, None]).outside.any():
        raise UsageError(
            f"{rows.labels!r} should be class numbers and {rows.scores!r} scores in 0..1, and "
            f"they are not; {outputs}"
        )
    if len(boxes) and not are_corners(boxes):
        raise UsageError(
            f"the boxes of {rows.boxes!r} are no corners: convert them to x1, y1, x2, y2 at the "
            f"end of the model; {outputs}"
        )
    tensorflow = TENSORFLOW in rows.boxes.lower()
    numbers = _shown_labels(outputs, rows)
    low, high = (numbers.min(), numbers.max()) if len(numbers) else (1, 1)
    from_one = low >= 1 and (tensorflow or (names > 0 and len(numbers) > 0 and high == names))
    first = outputs.options.get("first_class", int(from_one))
    if names and high - first >= names:
        raise UsageError(
            f"there are {names} names (--labels, or the file's own), and class number {int(high)} "
            f"occurs in {rows.labels!r}, counted from {first}; {outputs}"
        )
    classes = names or outputs.options.get("classes", 0)
    if not classes:
        raise UsageError(
            "a head that selects boxes itself does not show how many classes it has: "
            "give --labels FILE, or --decode '{\"classes\": 80}'"
        )
    return {
        "boxes": rows.boxes,
        "scores": rows.scores,
        "labels": rows.labels,
        "count": rows.count,
        "classes": classes,
        "first_class": first,
        "order": "yxyx" if tensorflow else "xyxy",
        "normalized": are_fractions(boxes, outputs.width, outputs.height)
        or (tensorflow and coordinate_unit(boxes, outputs.width, outputs.height) == "nothing"),
    }


def first_class_warnings(decode: Ranked, outputs: Outputs) -> list[str]:
    """One where the verification pictures do not show from which number on classes are counted.

    Args:
        decode: The head.
        outputs: The model's outputs.
    """
    rows = rows_of(outputs)
    numbers = _shown_labels(outputs, rows) if rows else np.empty(0, np.float32)
    if "first_class" in outputs.options or (len(numbers) and numbers.min() < 1):
        return []
    if len(numbers) and numbers.max() == len(outputs.labels):
        return []  # as many as there are names, so they are counted from 1
    return [
        f"class number 0 does not occur in {decode.labels!r} on the verification pictures, and "
        f"classes are taken as counted from {decode.first_class}: give --images that show the "
        f"first class, or --decode '{{\"first_class\": {decode.first_class}}}' if that is right"
    ]


def _shown_labels(outputs: Outputs, rows: Rows) -> Floats:
    """float32[R], the class numbers of the rows that are more than padding."""
    labels: Floats = _column(outputs, rows.labels)[_column(outputs, rows.scores) > TOLERANCE]
    return labels


def _shown(outputs: Outputs, rows: Rows) -> tuple[Floats, Floats]:
    """Boxes float32[R,4] and scores float32[R] of the rows that are more than padding."""
    boxes, scores = outputs.rows(rows.boxes), _column(outputs, rows.scores)
    shown = scores > TOLERANCE
    return boxes[shown], scores[shown]


def fits_ranked(outputs: Outputs) -> bool:
    """Corners, whole numbers and scores."""
    rows = rows_of(outputs)
    if rows is None or not len(_column(outputs, rows.labels)):
        return False
    boxes, scores = _shown(outputs, rows)
    return (
        whole_numbers(_column(outputs, rows.labels))
        and not columns_of(scores[:, None]).outside.any()
        and (not len(boxes) or are_corners(boxes))
    )


HEADS: Mapping[str, Head] = {"ranked": Head(Ranked, ranked, fits_ranked, by_values=True)}
