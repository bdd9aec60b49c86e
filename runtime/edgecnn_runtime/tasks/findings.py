"""How far two lists of objects agree: what the tasks that locate have in common."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from edgecnn_runtime.tasks.base import Matches

SCORE_MARGIN = 0.05
"""How far scores of the same object may differ; one so close to the threshold may be missing."""
LOST = 4.0
"""The distance of an object without a partner, and the largest there is."""
PARTNER_IOU = 0.3
"""IoU from which two objects may be the same thing."""

F = TypeVar("F", bound=Any)


def match_findings(
    ours: Sequence[F],
    reference: Sequence[F],
    threshold: float,
    overlap: Callable[[F, F], float],
    same: Callable[[F, F], bool],
) -> Matches:
    """Whether every object has a partner of its class and score that is the same to the task.

    Args:
        ours: One result.
        reference: The other one.
        threshold: Of the scores; an object within SCORE_MARGIN of it needs no partner.
        overlap: Of two objects; the best partner has the largest.
        same: Whether two objects of one class and about one score are the same.
    """
    first = _partners(ours, reference, threshold + SCORE_MARGIN, overlap, same)
    second = _partners(reference, ours, threshold + SCORE_MARGIN, overlap, same)
    total = first.total + second.total
    return Matches(first.equal + second.equal, total) if total else Matches(1, 1)


def finding_distances(
    ours: Sequence[F],
    reference: Sequence[F],
    threshold: float,
    gaps: Callable[[F, F], Sequence[float] | None],
) -> list[float]:
    """For each object of both results, how far the nearest one of the other result is from it.

    Args:
        ours: One result.
        reference: The other one.
        threshold: Of the scores; a missing object is as far as its score is over it.
        gaps: What differs between two objects of one class, beside the scores, each in units of
            its margin; None where they are not about the same thing. The distance is the mean
            square of all.
    """

    def distance(one: F, other: F) -> float:
        parts = gaps(one, other) if one.index == other.index else None
        if parts is None:
            return LOST
        score: float = (one.score - other.score) / SCORE_MARGIN
        squares = [value**2 for value in (*parts, score)]
        return min(LOST, sum(squares) / len(squares))

    def missing(one: F) -> float:
        parts = gaps(one, one) or ()
        score: float = (one.score - threshold) / SCORE_MARGIN
        return min(LOST, score**2 / (1 + len(parts)))

    return [
        min([missing(one), *(distance(one, other) for other in others)])
        for findings, others in ((ours, reference), (reference, ours))
        for one in findings
    ]


def _partners(
    findings: Sequence[F],
    others: Sequence[F],
    sure: float,
    overlap: Callable[[F, F], float],
    same: Callable[[F, F], bool],
) -> Matches:
    """How many objects have a partner, of those that have or need one."""
    free = list(others)
    equal = total = 0
    for one in findings:
        partners = [
            other
            for other in free
            if one.index == other.index
            and abs(one.score - other.score) <= SCORE_MARGIN
            and same(one, other)
        ]
        if partners:
            best = max(partners, key=lambda other: overlap(one, other))
            free = [other for other in free if other is not best]
            equal += 1
        total += bool(partners) or one.score >= sure
    return Matches(equal, total)
