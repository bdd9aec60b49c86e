"""Rows of a head that ends in suppression, brought into the order of the reference's.

Such a head gives its best boxes, best first. Errors far too small to matter swap two rows of nearly
the same score, or the last row for one that was just left out. So each of the reference's better
rows is compared with the row that is about the same box, wherever it stands.
"""

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import Decode, table_layout
from edgecnn_runtime.types import Floats

SCORE, CLASS = 4, 5
"""Columns of a row after its box's corners."""
COMPARED_SHARE = 0.5
"""Of the rows, the best: the last ones may be missing from the other graph by chance."""


def comparable(
    decode: Decode, name: str, expected: Floats, outputs: Floats
) -> tuple[Floats, Floats]:
    """Two graphs' values of an output that belong together.

    Args:
        decode: The head.
        name: Of the output.
        expected: The reference's, float32[N,…].
        outputs: The other graph's.

    Returns:
        Matched rows where the order of rows means nothing; else both arguments. They are returned
        as well where shapes differ or values are not finite, which is a failure in any order.
    """
    rows_may_swap = table_layout(decode, name) == "nms"
    if not rows_may_swap or expected.shape != outputs.shape or not np.isfinite(outputs).all():
        return expected, outputs
    return match_rows(expected, outputs)


def match_rows(expected: Floats, outputs: Floats) -> tuple[Floats, Floats]:
    """The better half of the reference's rows, and a row of the other graph for each.

    Args:
        expected: The reference's, float32[N,K,6+…]: x1, y1, x2, y2, score, class.
        outputs: Another graph's, of the same shape.

    Returns:
        Both float32[N,M,6+…], new arrays; no row of ``outputs`` is there twice.
    """
    count = max(1, round(expected.shape[1] * COMPARED_SHARE))
    best = np.argsort(-expected[..., SCORE], axis=1, kind="stable")[:, :count, None]
    rows = np.take_along_axis(expected, best, axis=1)
    partners = [_partners(*pair) for pair in zip(rows, outputs, strict=True)]
    return rows, np.take_along_axis(outputs, np.stack(partners)[..., None], axis=1)


def _partners(rows: Floats, others: Floats) -> NDArray[np.intp]:
    """For each row the nearest of the others that no row before it took."""
    side = float(np.abs(rows[:, :SCORE]).max(initial=0.0)) or 1.0
    distance = np.abs(rows[:, None, :SCORE] - others[None, :, :SCORE]).sum(2) / side
    distance += np.abs(rows[:, None, SCORE] - others[None, :, SCORE])
    distance += np.abs(rows[:, None, CLASS] - others[None, :, CLASS]) > 0.5
    chosen = np.empty(len(rows), np.intp)
    for index, row in enumerate(distance):
        chosen[index] = row.argmin()
        distance[:, chosen[index]] = np.inf
    return chosen
