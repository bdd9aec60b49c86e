"""Queries with a box and class scores each: DETR, RT-DETR, D-FINE, RF-DETR."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgecnn_export.head_evidence import (
    TOLERANCE,
    are_corners,
    columns_of,
    coordinate_unit,
    sum_to_one,
    whole_numbers,
)
from edgecnn_export.heads.base import MOST_QUERIES, Fields, Head, Outputs
from edgecnn_export.heads.box_table import Table, table_of
from edgecnn_export.heads.ssd import BOXES_NAME
from edgecnn_runtime.bundle.manifest import Detr, Values
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.types import Floats

SCORES_NAME = ("logits", "pred_logits")
"""What the tensor is called in DETR's code and in Transformers, where others stand beside it."""
MOSTLY = 0.5
"""The share of queries whose best column is the last one, where that is the background: most
queries of a picture show nothing."""


@dataclass(frozen=True)
class Queries:
    """Where a query's box and scores are.

    Attributes:
        boxes: Name of the output.
        scores: Name of the output; the same one, where one table has both.
        first: The first column of the scores.
    """

    boxes: str
    scores: str
    first: int

    def box_rows(self, outputs: Outputs) -> Floats:
        """float32[R,4] of the verification pictures."""
        return outputs.rows(self.boxes)[:, :4]

    def score_rows(self, outputs: Outputs) -> Floats:
        """float32[R,K] of the verification pictures."""
        return outputs.rows(self.scores)[:, self.first :]


def queries_of(outputs: Outputs) -> Queries | None:
    """The outputs that have one row per query, by shapes and names; None without such outputs."""
    tables = {name: shape for name, shape in outputs.shapes.items() if len(shape) == 3}
    if table := table_of(outputs):
        return None if table.across else Queries(table.name, table.name, 4)
    named = [name for name in tables if name.rsplit(".", 1)[-1] in SCORES_NAME]
    scores = named[0] if len(named) == 1 else None
    fours = [name for name, shape in tables.items() if shape[2] == 4 and name != scores]
    if scores is not None:
        fours = [name for name in fours if tables[name][1] == tables[scores][1]]
    elif len(tables) != 2:
        return None
    boxes = next(iter([name for name in fours if BOXES_NAME.search(name)] or fours), None)
    others = [name for name in tables if name != boxes]
    scores = scores or others[0]
    if boxes is None or tables[boxes][1] != tables[scores][1]:
        return None
    return Queries(boxes, scores, 0)


def detr(outputs: Outputs) -> Fields:
    """boxes[N,Q,4] and scores[N,Q,K], or one table [N,Q,4+K]."""
    queries = queries_of(outputs)
    if queries is None:
        raise UsageError(
            f"a detr head has boxes[N,Q,4] and scores[N,Q,C], or one table [N,Q,4+C]; {outputs}"
        )
    boxes, scores = queries.box_rows(outputs), queries.score_rows(outputs)
    if are_corners(boxes):
        raise UsageError(
            f"the boxes of {queries.boxes!r} are corners x1, y1, x2, y2, and a detr head has "
            f"centers and sizes; {outputs}"
        )
    unit = coordinate_unit(boxes, outputs.width, outputs.height)
    if unit in {"pixels", "cells"} and outputs.options.get("normalized", True):
        raise UsageError(
            f"the boxes of {queries.boxes!r} leave 0..1, and those of a detr head are fractions of "
            "the input; if they are centers and sizes in pixels: --decode "
            f"'{{\"normalized\": false}}'; {outputs}"
        )
    columns = outputs.shapes[queries.scores][2] - queries.first
    values = _values(outputs, queries, scores)
    background = outputs.options.get("background", _has_background(outputs, scores, values))
    unused = len(outputs.labels) == columns - 1  # RF-DETR has a column that nothing is trained on
    classes = columns - 1 if background or unused else columns
    return {
        "boxes": queries.boxes,
        "scores": queries.scores,
        "classes": max(classes, 1),
        "values": values,
        "background": background and columns > 1,
        "multi_label": queries.first == 0,
        "normalized": unit in {"fractions", "nothing"},
    }


def _values(outputs: Outputs, queries: Queries, scores: Floats) -> Values:
    """What the scores are: within 0..1 they are probabilities."""
    within = len(scores) and not columns_of(scores).outside.any()
    return "probabilities" if within else outputs.values(queries.scores)


def _has_background(outputs: Outputs, scores: Floats, values: Values) -> bool:
    """Whether scores are one softmax, whose last column is the best one of most queries.

    Before a sigmoid all scores of such a query are negative.
    """
    rows = scores[np.isfinite(scores).all(1)]
    columns = scores.shape[1]
    if not len(rows) or columns < 2 or len(outputs.labels) == columns:
        return False
    if values == "probabilities" and not sum_to_one(rows):
        return False
    if ((rows.argmax(1) == columns - 1) & (rows[:, -1] > 0)).mean() > MOSTLY:
        return True
    # sigmoids of a detector are over one half for few queries, and then for one class
    return bool(values == "logits" and (rows > 0).sum(1).mean() > 1)


def fits_detr(outputs: Outputs) -> bool:
    """Few rows, each with a center and a size in fractions of the input."""
    queries = queries_of(outputs)
    if queries is None or not 1 < outputs.shapes[queries.boxes][1] <= MOST_QUERIES:
        return False
    columns = outputs.shapes[queries.scores][2] - queries.first
    boxes = queries.box_rows(outputs)
    if columns < 1 or not len(boxes) or are_corners(boxes):
        return False
    table = table_of(outputs)
    if table and not _has_queries(outputs, table):
        return False
    unit = coordinate_unit(boxes, outputs.width, outputs.height)
    return unit == "fractions" and columns_of(boxes).low.min() >= -TOLERANCE


def _has_queries(outputs: Outputs, table: Table) -> bool:
    """Whether one table can be one of queries: not of cells, nor of a text reader's steps."""
    if table.grid or outputs.metadata.end_to_end:
        return False
    kinds = table.rows[:, 5:6]
    if kinds.size and whole_numbers(kinds[:, 0]) and columns_of(kinds).high[0] > 1:
        return False  # class numbers: probabilities stay below, and logits are no whole numbers
    return bool(columns_of(table.rows).outside.any()) or not sum_to_one(table.rows)


HEADS: Mapping[str, Head] = {"detr": Head(Detr, detr, fits_detr, by_values=True)}
