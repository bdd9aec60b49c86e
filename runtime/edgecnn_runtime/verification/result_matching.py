"""Whether two results say the same: what a person would call equal, and not bit by bit."""

import math
from collections.abc import Iterable

import numpy as np

from edgecnn_runtime.types import Box, Classification, Detection, Embedding, Reading, Result

MATCH_IOU = 0.8
"""IoU from which two boxes are the same box."""
SCORE_MARGIN = 0.05
"""How far scores of the same box may differ; a box so close to the threshold may be missing."""
POINT_MARGIN = 0.25
"""How far a landmark may be off, as a share of the box's side (the square root of its area): by
more it is on another feature; the eyes of a face are about 0.4 apart."""
EMBEDDING_COSINE = 0.99
"""Cosine from which two embeddings are the same vector."""
TIE_MARGIN = 0.01
"""Scores of two classes that differ by less are no decision: either of them may come first."""

MAX_UNCERTAIN_PROBABILITY = 0.525
"""The most a character can have while another one comes within 0.05 of it."""


def results_match(one: Result, other: Result, *, threshold: float = 0.0) -> bool:
    """Whether two results for the same picture agree.

    The best label is the same, or both give the two labels scores within 0.01; the text is the
    same but for characters that neither gives more than 0.525; the vectors point the same way;
    every box has a partner with its label, an IoU of at least 0.8, a score within 0.05 and
    landmarks within a quarter of its side.
    threshold: the detector's own; boxes that barely pass it need no partner.
    """
    equal, total = _equal(one, other, threshold)
    return equal == total


def agreement_rate(pairs: Iterable[tuple[Result, Result]], *, threshold: float = 0.0) -> float:
    """The share of findings two runs agree on: of the boxes of both, else of the pictures.

    A picture in which both find nothing counts as one finding.
    """
    counts = [_equal(one, other, threshold) for one, other in pairs]
    return sum(equal for equal, _ in counts) / sum(total for _, total in counts)


def _equal(one: Result, other: Result, threshold: float) -> tuple[int, int]:
    """How many findings agree, of how many."""
    if isinstance(one, list) and isinstance(other, list):
        sure = threshold + SCORE_MARGIN
        ours, theirs = _matched(one, other, sure), _matched(other, one, sure)
        total = ours[1] + theirs[1]
        return (ours[0] + theirs[0], total) if total else (1, 1)
    return int(_same(one, other)), 1


def _same(one: Result, other: Result) -> bool:
    if isinstance(one, Classification) and isinstance(other, Classification):
        return one.index == other.index or _toss_up(one, other)
    if isinstance(one, Reading) and isinstance(other, Reading):
        return _same_text(one, other)
    if isinstance(one, Embedding) and isinstance(other, Embedding):
        return _cosine(one.vector, other.vector) >= EMBEDDING_COSINE
    return False


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes; 0 where both are empty."""
    width = min(one.x2, other.x2) - max(one.x1, other.x1)
    height = min(one.y2, other.y2) - max(one.y1, other.y1)
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (_area(one) + _area(other) - both)


def _same_text(one: Reading, other: Reading) -> bool:
    if len(one.text) != len(other.text):
        return False
    scores = zip(one.char_scores, other.char_scores, strict=False)
    sure = [max(pair) > MAX_UNCERTAIN_PROBABILITY for pair in scores] or [True] * len(one.text)
    return all(
        mine == theirs or not certain
        for mine, theirs, certain in zip(one.text, other.text, sure, strict=True)
    )


def _toss_up(one: Classification, other: Classification) -> bool:
    if one.scores.shape != other.scores.shape:
        return False
    pairs = (scores[[one.index, other.index]] for scores in (one.scores, other.scores))
    return all(abs(float(first) - float(second)) <= TIE_MARGIN for first, second in pairs)


def _matched(needy: list[Detection], others: list[Detection], sure: float) -> tuple[int, int]:
    """How many boxes have a partner, of those that have or need one."""
    free = list(others)
    equal = total = 0
    for found in needy:
        partners = [candidate for candidate in free if _same_box(found, candidate)]
        if partners:
            free.remove(max(partners, key=lambda candidate: iou(found.box, candidate.box)))
            equal += 1
        total += bool(partners) or found.score >= sure
    return equal, total


def _same_box(one: Detection, other: Detection) -> bool:
    return (
        one.index == other.index
        and abs(one.score - other.score) <= SCORE_MARGIN
        and iou(one.box, other.box) >= MATCH_IOU
        and _same_points(one, other)
    )


def _same_points(one: Detection, other: Detection) -> bool:
    if len(one.points) != len(other.points):
        return False
    allowed = POINT_MARGIN * _area(one.box) ** 0.5
    return all(
        math.dist(mine, theirs) <= allowed
        for mine, theirs in zip(one.points, other.points, strict=True)
    )


def _area(box: Box) -> float:
    return (box.x2 - box.x1) * (box.y2 - box.y1)


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else float(np.array_equal(one, other))
