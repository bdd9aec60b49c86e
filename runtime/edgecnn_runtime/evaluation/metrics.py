"""One number for how well a model does on labeled images, and its 95 % interval."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.evaluation.dataset import LabeledImage, class_index
from edgecnn_runtime.geometry import iou
from edgecnn_runtime.types import Classification, Detection, Embedding, Reading

MIN_IOU = 0.5
"""IoU from which a box counts as found."""
FALSE_ACCEPTS = 1e-3
"""The share of pairs of different persons that a threshold may accept."""
BOOTSTRAP_SAMPLES = 500
"""Resamplings for an interval that has no formula."""
Z = 1.959964
"""Of the normal distribution, for 95 %."""


@dataclass(frozen=True)
class Score:
    """A metric of a model's results on labeled images.

    Attributes:
        metric: Its name.
        value: 0..1; NaN where the labels leave nothing to measure, which ``Task.read_labels``
            refuses.
        low: Lower end of its 95 % interval over the choice of images.
        high: Upper end.
        samples: How many images.
        chance: What guessing reaches.
    """

    metric: str
    value: float
    low: float
    high: float
    samples: int
    chance: float = 0.0


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


def top1(
    samples: Sequence[LabeledImage], results: Sequence[Classification], model: ModelSpec
) -> Score:
    """The share of images whose best class is their label."""
    right = [
        result.index == class_index(sample.label, model.labels)
        for sample, result in zip(samples, results, strict=True)
    ]
    classes = len(model.labels)
    return _proportion("top-1", right, chance=1 / classes if classes > 1 else 0.0)


def exact_match(
    samples: Sequence[LabeledImage], results: Sequence[Reading], _model: ModelSpec
) -> Score:
    """The share of images whose text is their label."""
    pairs = zip(samples, results, strict=True)
    return _proportion("exact match", [result.text == sample.label for sample, result in pairs])


def map50(
    samples: Sequence[LabeledImage], results: Sequence[list[Detection]], _model: ModelSpec
) -> Score:
    """Mean over classes of the average precision at an IoU of 0.5; NaN where there is no box."""
    images = [_match(*pair) for pair in zip(samples, results, strict=True)]

    def value(choice: NDArray[np.int64]) -> float:
        chosen = [images[index] for index in choice]
        classes = {index for image in chosen for index in image.positives}
        precisions = []
        for index in classes:
            rows = [row for image in chosen for row in image.rows if row[0] == index]
            scores, hits = [row[1] for row in rows], [row[2] for row in rows]
            positives = sum(image.positives[index] for image in chosen)
            precisions.append(average_precision(np.array(scores), np.array(hits, bool), positives))
        return float(np.mean(precisions)) if precisions else float("nan")

    return _bootstrap("mAP50", value, len(images))


@dataclass(frozen=True)
class _MatchedImage:
    """One image: the boxes to find by class, and class, score and hit per detection."""

    positives: Counter[int]
    rows: list[tuple[int, float, bool]]


def _match(sample: LabeledImage, detections: list[Detection]) -> _MatchedImage:
    free = list(sample.boxes)
    rows = []
    for detection in sorted(detections, key=lambda detection: -detection.score):
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
    return _MatchedImage(Counter(index for index, _ in sample.boxes), rows)


def tar_at_far(
    samples: Sequence[LabeledImage], results: Sequence[Embedding], model: ModelSpec
) -> Score:
    """True accepts of pairs of one person, at the threshold that accepts FALSE_ACCEPTS of others.

    With fewer pairs of different persons than 1 / FALSE_ACCEPTS the threshold is their best. NaN
    where there is no pair of one person, or none of two.
    """
    vectors = np.stack([result.vector for result in results])
    cosine = getattr(model.decode, "metric", "cosine") == "cosine"
    length = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    units = vectors / length if cosine else vectors
    square = (units**2).sum(1)
    closeness = units @ units.T if cosine else 2 * units @ units.T - square[:, None] - square
    people = np.array([sample.label for sample in samples])

    def value(choice: NDArray[np.int64]) -> float:
        chosen = np.unique(choice)  # an image paired with its own copy says nothing
        row, column = np.triu_indices(len(chosen), 1)
        pairs = closeness[chosen[row], chosen[column]]
        same = people[chosen[row]] == people[chosen[column]]
        others = np.sort(pairs[~same])[::-1]
        if not same.any() or not len(others):
            return float("nan")
        threshold = others[min(int(FALSE_ACCEPTS * len(others)), len(others) - 1)]
        return float((pairs[same] > threshold).mean())

    return _bootstrap(f"TAR@FAR {FALSE_ACCEPTS:g}", value, len(samples))


def _proportion(metric: str, right: Sequence[bool], *, chance: float = 0.0) -> Score:
    low, high = wilson(sum(right), len(right))
    return Score(metric, sum(right) / len(right), low, high, len(right), chance)


def _bootstrap(metric: str, value: Callable[[NDArray[np.int64]], float], count: int) -> Score:
    """The value of all images, and the middle 95 % of it over BOOTSTRAP_SAMPLES resamplings.

    A resampling in which the metric has no value is left out. NaN passes no gate.
    """
    random = np.random.default_rng(0)
    everything = value(np.arange(count))
    draws = BOOTSTRAP_SAMPLES if count > 1 else 0
    values = np.array([value(random.integers(0, count, count)) for _ in range(draws)])
    known = values[~np.isnan(values)]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (0.0, 1.0)
    return Score(metric, everything, float(low), float(high), count)
