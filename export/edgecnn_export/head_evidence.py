"""What the numbers of a detector's outputs say about their layout.

Shapes alone do not tell heads apart: [N,300,6] is a head that ends in suppression, or an RT-DETR
of two classes. Each function answers one question about the reference's outputs on the
verification pictures. Values that are not finite are ignored.
"""

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.types import Floats

Unit: TypeAlias = Literal["nothing", "fractions", "cells", "pixels"]

TOLERANCE = 0.01
"""How far a number may lie outside 0..1, or from a whole number, and still count as inside."""
EDGE = 0.1
"""How far a box in fractions of the input may reach beyond it: its object is cut by the edge."""
CELLS_SHARE, CELLS_MARGIN = 1 / 8, 2.0
"""Decoded boxes lie all over the picture. Coordinates that all stay within this share of its side,
and so many more, are counted in cells of a grid: the finest usual grid has 8 pixels per cell."""
CORNERS_SHARE = 0.99
"""Corners are in order in every row; of other numbers x2 > x1 and y2 > y1 holds for a quarter."""
MANY_ROWS = 20
"""Rows from which on such a share says something about centers and sizes, too."""
MIN_BINS = 5
"""The fewest bins of a distribution over one distance (Li et al., 2020); NanoDet has 8."""


class Columns(NamedTuple):
    """The smallest and the largest value of every column of a table, float64[K] each."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @property
    def outside(self) -> NDArray[np.bool_]:
        """Which columns leave 0..1, so that they are no scores."""
        return (self.low < -TOLERANCE) | (self.high > 1 + TOLERANCE)

    @property
    def reach(self) -> NDArray[np.float64]:
        """The largest absolute value of each column."""
        return np.maximum(np.abs(self.low), np.abs(self.high))


def columns_of(rows: Floats) -> Columns:
    """The range of each column of float[R,K]; 0..0 where a column has no finite value."""
    if not rows.size:
        zeros = np.zeros(rows.shape[1])
        return Columns(zeros, zeros)
    finite = np.isfinite(rows)
    low = np.min(rows, axis=0, where=finite, initial=np.inf).astype(np.float64)
    high = np.max(rows, axis=0, where=finite, initial=-np.inf).astype(np.float64)
    empty = low > high
    return Columns(np.where(empty, 0.0, low), np.where(empty, 0.0, high))


def finite_mean(values: Floats) -> float:
    """The mean of the finite ones of float[…]; NaN where there are none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean(dtype=np.float64)) if finite.size else np.nan


def whole_numbers(column: Floats) -> bool:
    """Whether all values of float[R] are whole numbers, as class numbers are."""
    finite = column[np.isfinite(column)]
    return bool((np.abs(finite - np.round(finite)) <= TOLERANCE).all())


def nonzero_rows(boxes: Floats) -> Floats:
    """The finite rows of float[R,K] that are more than padding."""
    rows = boxes[np.isfinite(boxes).all(1)]
    nonzero: Floats = rows[np.abs(rows).max(1, initial=0.0) > TOLERANCE]
    return nonzero


def corners_share(boxes: Floats) -> float | None:
    """The share of float[R,4] with x2 > x1 and y2 > y1; None where every row is padding."""
    rows = nonzero_rows(boxes)
    if not len(rows):
        return None
    return float(((rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])).mean())


def are_corners(boxes: Floats) -> bool:
    """Whether float[R,4] is x1, y1, x2, y2."""
    share = corners_share(boxes)
    return share is not None and share >= CORNERS_SHARE


def coordinate_unit(boxes: Floats, width: int, height: int) -> Unit:
    """What coordinates are counted in.

    Args:
        boxes: float[R,4], two of x and two of y in any order of corners, centers and sizes.
        width: Of the network's input, in pixels.
        height: Likewise.

    Returns:
        ``nothing`` where every value is about zero; ``fractions`` of the input; ``cells`` of a
        grid, or logarithms of sizes: coordinates before a head's box arithmetic; ``pixels``.
    """
    columns = columns_of(boxes)
    if columns.reach.max() <= TOLERANCE:
        return "nothing"
    if columns.low.min() >= -EDGE and columns.high.max() <= 1 + EDGE:
        return "fractions"
    x, y = columns.reach[0::2].max(), columns.reach[1::2].max()
    limits = (side * CELLS_SHARE + CELLS_MARGIN for side in (width, height))
    return "cells" if all(a <= b for a, b in zip((x, y), limits, strict=True)) else "pixels"


def are_fractions(corners: Floats, width: int, height: int) -> bool:
    """Whether float[R,4], corners in any order, are fractions of the input, and not its pixels.

    Boxes of large priors reach far beyond the picture, and are still no pixels: those of all rows
    would lie in one corner of it.
    """
    return coordinate_unit(corners, width, height) in {"fractions", "cells"}


def are_logits(scores: Floats) -> bool:
    """Whether float[R,C] are scores before a sigmoid: nearly all negative, none far from zero."""
    columns = columns_of(scores)
    finite = scores[np.isfinite(scores)]
    negative = columns.low < -TOLERANCE
    return bool(negative.all() and columns.reach.max() < 100 and np.median(finite) < 0)


def sum_to_one(scores: Floats) -> bool:
    """Whether the rows of float[R,C] are a softmax over C > 1; rows of zeros count as padding."""
    totals = scores[np.isfinite(scores).all(1)].sum(1, dtype=np.float64)
    totals = totals[totals > TOLERANCE]
    return bool(scores.shape[1] > 1 and len(totals) and (np.abs(totals - 1) <= 2 * TOLERANCE).all())


def unit_length(rows: Floats) -> bool:
    """Whether every row of float[R,D] is as long as 1, as embeddings often are; D > 2."""
    finite = rows[np.isfinite(rows).all(1)]
    if rows.shape[1] <= 2 or not len(finite):
        return False
    return bool((np.abs(np.linalg.norm(finite, axis=1) - 1) <= TOLERANCE).all())


def keypoint_columns(outside: NDArray[np.bool_]) -> tuple[int, int] | None:
    """How many key points these columns hold, and how many numbers each has.

    Args:
        outside: bool[K], which columns leave 0..1. Coordinates do and visibilities do not.

    Returns:
        (points, 3) for x, y, visibility, (points, 2) for x, y; None where neither divides K.
    """
    count = len(outside)
    if count >= 3 and count % 3 == 0 and not outside[2::3].any():
        return count // 3, 3
    return (count // 2, 2) if count >= 2 and count % 2 == 0 else None
