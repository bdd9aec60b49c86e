"""How far detections cover labeled objects: boxes, key points, rotated boxes and masks.

Each function takes D detections and G objects of one class in one image, and gives float64[D,G],
0..1. What a crowd covers of a detection is the overlap with a crowd, so that one crowd can take
many detections.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.types import Box, Point

if TYPE_CHECKING:
    from edgecnn_runtime.evaluation.dataset import LabeledObject

FloatArray = NDArray[np.float64]

PERSON_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107,
    0.087, 0.087, 0.089, 0.089,
)  # fmt: skip
"""How far annotators disagree on each of the 17 key points of a person, as a share of its size:
``cocoeval.py`` (github.com/cocodataset/cocoapi)."""


def box_overlaps(boxes: Sequence[Box], objects: "Sequence[LabeledObject]") -> FloatArray:
    """Intersection over union of upright boxes."""
    ours, theirs = _boxes(boxes), _boxes([labeled.box for labeled in objects])
    return _ratios(_intersections(ours, theirs), _areas(ours), _areas(theirs), objects)


def point_similarities(
    points: Sequence[FloatArray], objects: "Sequence[LabeledObject]"
) -> FloatArray:
    """Object key point similarity (OKS): the mean of exp(-d² / (2 · area · (2σ)²)).

    Source: cocodataset.org, "Keypoint Evaluation", and ``computeOks`` in ``cocoeval.py``. d is the
    distance of a point from its label, σ the disagreement among annotators: COCO's own for its 17
    points, 1/K for other K, as Ultralytics takes it. Labels without any visible point give the
    distances from twice their box.

    Args:
        points: float64[K,2] in pixels for each detection.
        objects: Each with K key points.
    """
    result = np.zeros((len(points), len(objects)))
    if not len(points):
        return result
    ours = np.stack(points)
    for column, labeled in enumerate(objects):
        theirs = np.array(labeled.points, np.float64).reshape(-1, 3)
        visible = theirs[:, 2] > 0
        if visible.any():
            distances = ours - theirs[:, :2]
        else:
            x1, y1, x2, y2 = labeled.box
            low = np.array([x1 - (x2 - x1), y1 - (y2 - y1)])
            high = np.array([x1 + 2 * (x2 - x1), y1 + 2 * (y2 - y1)])
            distances = np.maximum(0, low - ours) + np.maximum(0, ours - high)
            visible[:] = True
        spread = 2 * (2 * np.array(sigmas(len(theirs)))) ** 2 * (labeled.area + np.spacing(1))
        similarities = np.exp(-(distances**2).sum(2) / spread)
        result[:, column] = similarities[:, visible].mean(1)
    return result


def sigmas(points: int) -> tuple[float, ...]:
    """How far annotators are expected to disagree on each point, as a share of the size."""
    return PERSON_SIGMAS if points == len(PERSON_SIGMAS) else (1 / points,) * points


def rotated_overlaps(
    corners: Sequence[Sequence[Point]], objects: "Sequence[LabeledObject]"
) -> FloatArray:
    """Intersection over union of rotated boxes, each by its four corners in turn."""
    ours = [counterclockwise(each) for each in corners]
    theirs = [counterclockwise(labeled.corners) for labeled in objects]
    around = [
        _boxes([Box(*each.min(0), *each.max(0)) for each in boxes]) for boxes in (ours, theirs)
    ]
    shared = np.zeros((len(ours), len(theirs)))
    for at, g in np.argwhere(_intersections(*around)):
        shared[at, g] = polygon_area(clip(ours[at], theirs[g]))
    areas = [np.array([polygon_area(each) for each in boxes]) for boxes in (ours, theirs)]
    return _ratios(shared, areas[0], areas[1], objects)


def clip(polygon: FloatArray, window: FloatArray) -> FloatArray:
    """The part of a convex polygon that lies in another one: Sutherland and Hodgman (CACM 1974).

    Args:
        polygon: float64[N,2], in turn.
        window: float64[M,2], counterclockwise where y points up.

    Returns:
        float64[K,2]; without points where they share nothing.
    """
    for start, end in zip(window, np.roll(window, -1, axis=0), strict=True):
        if not len(polygon):
            break
        along, offset = end - start, polygon - start
        side = along[0] * offset[:, 1] - along[1] * offset[:, 0]
        previous, side_before = np.roll(polygon, 1, axis=0), np.roll(side, 1)
        crosses = (side >= 0) != (side_before >= 0)
        drop = np.where(crosses, side_before - side, 1.0)
        crossings = previous + (polygon - previous) * (side_before / drop)[:, None]
        both = np.stack([crossings, polygon], axis=1)  # a crossing comes before the corner after it
        polygon = both[np.stack([crosses, side >= 0], axis=1)]
    return polygon


def polygon_area(polygon: FloatArray) -> float:
    """The area of a polygon, float64[N,2], by the shoelace formula; positive: counterclockwise."""
    if not len(polygon):
        return 0.0
    x, y = (polygon - polygon[0]).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def mask_overlaps(masks: Sequence[Sequence[int]], objects: "Sequence[LabeledObject]") -> FloatArray:
    """Intersection over union of masks; an object without one covers nothing.

    Args:
        masks: The run lengths of each detection, as ``RunLengths.lengths`` gives them.
        objects: The objects.
    """
    ours = [_ones(mask) for mask in masks]
    theirs = [_ones(labeled.mask.lengths() if labeled.mask else []) for labeled in objects]
    shared = np.array([[_shared(one, other) for other in theirs] for one in ours], np.float64)
    areas = [
        np.array([float((ends - starts).sum()) for starts, ends in each]) for each in (ours, theirs)
    ]
    return _ratios(shared.reshape(len(ours), len(theirs)), areas[0], areas[1], objects)


def _ones(
    lengths: "Sequence[int] | NDArray[np.int64]",
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each run of ones begins and ends."""
    ends = np.cumsum(np.asarray(lengths, np.int64))
    return ends[:-1:2], ends[1::2]


def _shared(
    one: tuple[NDArray[np.int64], NDArray[np.int64]],
    other: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> float:
    """The pixels in runs of both."""
    starts, ends = other
    if not len(starts) or not len(one[0]) or one[1][-1] <= starts[0] or ends[-1] <= one[0][0]:
        return 0.0
    edges = np.stack([starts, ends], axis=1).ravel()
    before = np.repeat(np.concatenate([[0], np.cumsum(ends - starts)]), 2)[1:-1]
    return float((np.interp(one[1], edges, before) - np.interp(one[0], edges, before)).sum())


def _ratios(
    shared: FloatArray, ours: FloatArray, theirs: FloatArray, objects: "Sequence[LabeledObject]"
) -> FloatArray:
    """Intersections over unions; over the detection's own area where the object is a crowd."""
    crowd = np.array([labeled.crowd for labeled in objects], np.bool_)
    whole = np.where(crowd, ours[:, None], ours[:, None] + theirs - shared)
    return np.divide(shared, whole, out=np.zeros_like(shared), where=(shared > 0) & (whole > 0))


def _boxes(boxes: Sequence[Box]) -> FloatArray:
    return np.array(boxes, np.float64).reshape(-1, 4)


def _areas(boxes: FloatArray) -> FloatArray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _intersections(ours: FloatArray, theirs: FloatArray) -> FloatArray:
    """float64[D,G], the areas that pairs of upright boxes share."""
    low = np.maximum(ours[:, None, :2], theirs[None, :, :2])
    high = np.minimum(ours[:, None, 2:], theirs[None, :, 2:])
    sides: FloatArray = np.maximum(high - low, 0)
    return np.multiply(sides[..., 0], sides[..., 1])


def counterclockwise(corners: Sequence[Point]) -> FloatArray:
    """Corners in turn, float64[N,2], counterclockwise where y points up."""
    polygon = np.array(corners, np.float64)
    return polygon if polygon_area(polygon) >= 0 else polygon[::-1]
