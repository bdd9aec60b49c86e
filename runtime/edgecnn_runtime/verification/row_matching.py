"""Rows of a head that gives its best boxes, brought into the order of the reference's.

Such a head ends in suppression, or chooses its queries by score. Errors far too small to matter
swap two rows of nearly the same score, or the last row for one that was just left out. So each of
the reference's better rows is compared with the row that is about the same box, wherever it stands.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import Decode, Detr, Ranked, table_layout
from edgecnn_runtime.decode.activations import sigmoid_scores, softmax_scores
from edgecnn_runtime.types import Floats

SCORE, CLASS = 4, 5
"""Columns of a row after its box's four numbers."""
COMPARED_SHARE = 0.5
"""Of the rows, the best: the last ones may be missing from the other graph by chance."""


def rows_may_swap(decode: Decode) -> bool:
    """Whether the order of a head's rows means nothing."""
    return table_layout(decode) == "nms" or isinstance(decode, Detr | Ranked)


def comparable(
    decode: Decode, name: str, expected: Mapping[str, Floats], outputs: Mapping[str, Floats]
) -> tuple[Floats, Floats]:
    """Two graphs' values of an output that belong together.

    Args:
        decode: The head.
        name: Of the output.
        expected: The reference's outputs by name, float32[N,…].
        outputs: The other graph's.

    Returns:
        Matched rows where the order of rows means nothing; else both outputs as they are. That is
        so as well where shapes differ or values are not finite, which is a failure in any order.
    """
    pair = expected[name], outputs[name]
    swapping = row_outputs(decode)
    if name not in swapping or any(
        expected[output].shape != outputs[output].shape or not np.isfinite(outputs[output]).all()
        for output in swapping
    ):
        return pair
    best, partners = match_rows(boxes_of(decode, expected), boxes_of(decode, outputs))
    return _taken(pair[0], best), _taken(pair[1], partners)


def row_outputs(decode: Decode) -> tuple[str, ...]:
    """The names of a head's outputs whose rows may swap, with each other's."""
    if isinstance(decode, Detr):
        return (decode.boxes, decode.scores)
    if isinstance(decode, Ranked):
        return (decode.boxes, decode.scores, decode.labels)
    return (str(getattr(decode, "output", "")),) if rows_may_swap(decode) else ()


def boxes_of(decode: Decode, outputs: Mapping[str, Floats]) -> Floats:
    """Every row's box, score and class, float32[N,K,6], of a head whose rows may swap."""
    if isinstance(decode, Detr):
        first = 4 if decode.boxes == decode.scores else 0
        table = outputs[decode.scores][..., first:]
        activate = softmax_scores if decode.background else sigmoid_scores
        scores = activate(decode.values, table)[..., : decode.classes]
        best = (scores.max(-1), scores.argmax(-1))
        return _joined(outputs[decode.boxes][..., :4], *best)
    if isinstance(decode, Ranked):
        return _joined(outputs[decode.boxes], outputs[decode.scores], outputs[decode.labels])
    return outputs[str(getattr(decode, "output", ""))]


def match_rows(expected: Floats, outputs: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The better half of the reference's rows, and a row of the other graph for each.

    Args:
        expected: The reference's, float32[N,K,6+…]: x1, y1, x2, y2 (or center and size), score,
            class.
        outputs: Another graph's, of the same shape.

    Returns:
        Both as indices of rows, intp[N,M]; no row of ``outputs`` is there twice.
    """
    count = max(1, round(expected.shape[1] * COMPARED_SHARE))
    best = np.argsort(-expected[..., SCORE], axis=1, kind="stable")[:, :count]
    rows = _taken(expected, best)
    partners = [_partners(*pair) for pair in zip(rows, outputs, strict=True)]
    return best, np.stack(partners)


def _taken(values: Floats, rows: NDArray[np.intp]) -> Floats:
    """Rows of float[N,K,…] by their indices intp[N,M]; a new array."""
    return np.take_along_axis(values, rows.reshape(*rows.shape, *[1] * (values.ndim - 2)), axis=1)


def _joined(boxes: Floats, scores: Floats, classes: NDArray[np.generic]) -> Floats:
    return np.concatenate((boxes, scores[..., None], classes[..., None]), axis=2, dtype=np.float32)


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
