"""One number for how well a model does its task on labeled pictures, and its 95 % interval."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.evaluation.dataset import LabeledImage, class_index
from edgecnn_runtime.types import Box, Classification, Detection, Embedding, Reading, Result

MIN_IOU = 0.5
FALSE_ACCEPTS = 1e-3
BOOTSTRAP_SAMPLES = 500
"""Bootstrap samples for an interval that has no formula."""
Z = 1.959964
"""Of the normal distribution, for 95 %."""


@dataclass(frozen=True)
class Score:
    """A metric in 0..1. low, high: its 95 % interval over the choice of pictures.

    value: NaN where the labels leave nothing to measure; ``read_evaluation`` refuses those.
    """

    metric: str
    value: float
    low: float
    high: float
    samples: int


def score(samples: Sequence[LabeledImage], results: Sequence[Result], spec: ModelSpec) -> Score:
    """How well results match the labels, by the task's own metric."""
    return METRICS[spec.task](samples, results, spec)


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes; 0.0 where both are empty."""
    width = min(one.x2, other.x2) - max(one.x1, other.x1)
    height = min(one.y2, other.y2) - max(one.y1, other.y1)
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (area(one) + area(other) - both)


def area(box: Box) -> float:
    """The area of a box in square pixels."""
    return (box.x2 - box.x1) * (box.y2 - box.y1)


def wilson(right: int, total: int) -> tuple[float, float]:
    """95 % interval of a proportion: E. B. Wilson, "Probable Inference" (JASA 1927)."""
    share, spread = right / total, Z**2 / total
    center = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * np.sqrt(share * (1 - share) / total + spread / (4 * total))
    return max(0.0, float(center - half)), min(1.0, float(center + half))


def average_precision(
    scores: NDArray[np.float64], hits: NDArray[np.bool_], positives: int
) -> float:
    """Area under the precision-recall curve, precision made monotonic (VOC 2010 and later)."""
    if not positives:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(hits[order])
    precision = right / np.arange(1, len(order) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[hits[order]].sum() / positives)


def _top1(samples: Sequence[LabeledImage], results: Sequence[Result], spec: ModelSpec) -> Score:
    right = sum(
        isinstance(result, Classification)
        and result.index == class_index(sample.label, spec.labels)
        for sample, result in zip(samples, results, strict=True)
    )
    return _proportion("top-1", right, len(samples))


def _exact(samples: Sequence[LabeledImage], results: Sequence[Result], _spec: ModelSpec) -> Score:
    right = sum(
        isinstance(result, Reading) and result.text == sample.text
        for sample, result in zip(samples, results, strict=True)
    )
    return _proportion("exact match", right, len(samples))


def _map50(samples: Sequence[LabeledImage], results: Sequence[Result], _spec: ModelSpec) -> Score:
    """Mean over classes of the average precision at an IoU of 0.5; NaN where there is no box."""
    pairs = list(zip(samples, results, strict=True))
    matched = [_match(sample, result) for sample, result in pairs if isinstance(result, list)]

    def value(chosen: NDArray[np.int64]) -> float:
        found = [matched[index] for index in chosen]
        classes = {index for one in found for index in one.positives}
        precisions = []
        for index in classes:
            scores = [row[1] for one in found for row in one.rows if row[0] == index]
            hits = [row[2] for one in found for row in one.rows if row[0] == index]
            positives = sum(one.positives.get(index, 0) for one in found)
            precisions.append(average_precision(np.array(scores), np.array(hits, bool), positives))
        return float(np.mean(precisions)) if precisions else float("nan")

    return _bootstrap("mAP50", value, len(matched))


@dataclass(frozen=True)
class _Matched:
    """positives: boxes to find, by class. rows: (class, score, hit) a detection."""

    positives: dict[int, int]
    rows: list[tuple[int, float, bool]]


def _match(sample: LabeledImage, found: list[Detection]) -> _Matched:
    positives: dict[int, int] = {}
    for index, _ in sample.boxes:
        positives[index] = positives.get(index, 0) + 1
    free = list(sample.boxes)
    rows = []
    for detection in sorted(found, key=lambda one: -one.score):
        fitting = [
            (iou(detection.box, box), at)
            for at, (index, box) in enumerate(free)
            if index == detection.index
        ]
        overlap, at = max(fitting, default=(0.0, -1))
        hit = overlap >= MIN_IOU
        if hit:
            del free[at]
        rows.append((detection.index, detection.score, hit))
    return _Matched(positives, rows)


def _tar_at_far(
    samples: Sequence[LabeledImage], results: Sequence[Result], spec: ModelSpec
) -> Score:
    """True accepts of pairs of one person, at the threshold that accepts FALSE_ACCEPTS of others.

    With fewer pairs of different persons than 1 / FALSE_ACCEPTS the threshold is their best. NaN
    where there is no pair of one person, or none of two.
    """
    vectors = np.stack([one.vector for one in results if isinstance(one, Embedding)])
    cosine = getattr(spec.decode, "metric", "cosine") == "cosine"
    length = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    units = vectors / length if cosine else vectors
    square = (units**2).sum(1)
    closeness = units @ units.T if cosine else 2 * units @ units.T - square[:, None] - square
    people = np.array([sample.label for sample in samples])

    def value(chosen: NDArray[np.int64]) -> float:
        chosen = np.unique(chosen)  # a picture paired with its own copy says nothing
        row, column = np.triu_indices(len(chosen), 1)
        pairs = closeness[chosen[row], chosen[column]]
        same = people[chosen[row]] == people[chosen[column]]
        others = np.sort(pairs[~same])[::-1]
        if not same.any() or not len(others):
            return float("nan")
        threshold = others[min(int(FALSE_ACCEPTS * len(others)), len(others) - 1)]
        return float((pairs[same] > threshold).mean())

    return _bootstrap(f"TAR@FAR {FALSE_ACCEPTS:g}", value, len(samples))


def _proportion(metric: str, right: int, total: int) -> Score:
    low, high = wilson(right, total)
    return Score(metric, right / total, low, high, total)


def _bootstrap(metric: str, value: Callable[[NDArray[np.int64]], float], count: int) -> Score:
    """The value of all pictures, and the middle 95 % of it over DRAWS resamplings of them.

    A resampling in which the metric has no value is left out. NaN passes no gate.
    """
    random = np.random.default_rng(0)
    everything = value(np.arange(count))
    draws = [
        value(random.integers(0, count, count))
        for _ in range(BOOTSTRAP_SAMPLES if count > 1 else 0)
    ]
    known = [draw for draw in draws if not np.isnan(draw)]
    low, high = np.percentile(known, [2.5, 97.5]) if known else (0.0, 1.0)
    return Score(metric, everything, float(low), float(high), count)


METRICS: Mapping[str, Callable[[Any, Any, ModelSpec], Score]] = {
    "classify": _top1,
    "detect": _map50,
    "embed": _tar_at_far,
    "ocr": _exact,
}
