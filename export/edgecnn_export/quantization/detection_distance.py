"""How far apart the boxes of two runs are, in units of what still counts as the same box.

Most numbers a detector gives are about background, and no threshold lets them through. Rounding
that disturbs only those costs nothing, so what a layer is to blame for is measured on the boxes.
"""

import math
from collections.abc import Sequence

from edgecnn_runtime.types import Detection, Result
from edgecnn_runtime.verification.result_matching import MATCH_IOU, POINT_MARGIN, SCORE_MARGIN, iou

LOST = 4.0
"""What a box without a partner counts, and the most that any difference does."""
PARTNER = 0.3
"""IoU from which two boxes may be about the same thing."""


def detection_distance(
    expected: Sequence[Result], got: Sequence[Result], *, threshold: float = 0.0
) -> float:
    """Mean square over all boxes: 0 for the same results, about 1 where all are at the limit.

    Only what is in ``expected`` or ``got`` as a list of detections counts, by picture.
    threshold: the detector's own. A box that barely passes it may be missing for a score that
    differs a little, and counts as that.
    """
    found = [
        value
        for one, other in zip(expected, got, strict=True)
        if isinstance(one, list) and isinstance(other, list)
        for value in (*_distances(one, other, threshold), *_distances(other, one, threshold))
    ]
    return sum(found) / len(found) if found else 0.0


def _distances(ours: list[Detection], theirs: list[Detection], threshold: float) -> list[float]:
    return [
        min([_missing(one, threshold), *(_distance(one, other) for other in theirs)])
        for one in ours
    ]


def _missing(one: Detection, threshold: float) -> float:
    """The distance to the same box with a score just under the threshold."""
    score = (one.score - threshold) / SCORE_MARGIN
    return min(LOST, score**2 / (3 if one.points else 2))


def _distance(one: Detection, other: Detection) -> float:
    overlap = iou(one.box, other.box)
    if one.index != other.index or overlap < PARTNER:
        return LOST
    place = (1 - overlap) / (1 - MATCH_IOU)
    score = (one.score - other.score) / SCORE_MARGIN
    side = max(one.box.x2 - one.box.x1, one.box.y2 - one.box.y1, 1.0)
    pairs = zip(one.points, other.points, strict=False)
    points = max((math.dist(mine, theirs) for mine, theirs in pairs), default=0.0)
    points /= POINT_MARGIN * side
    return min(LOST, (place**2 + score**2 + points**2) / (3 if one.points else 2))
