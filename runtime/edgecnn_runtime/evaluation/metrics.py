"""One number for how well a model does on labeled images, and its 95 % interval."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
MAX_PAIRED = 4000
"""Images that are compared with each other at most: their pairs take 64 MB in each array."""
PAIRS_SORTED = 400_000_000
"""Pairs that all resamplings together may sort, about."""
MIN_DRAWS = 40
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
    scores: NDArray[np.float64],
    hits: NDArray[np.bool_],
    positives: float,
    weights: NDArray[np.float64] | None = None,
) -> float:
    """Area under the precision-recall curve, precision made monotonic (VOC 2010 and later).

    Args:
        scores: float64[N], of each detection.
        hits: bool[N], whether it is one of the boxes to find.
        positives: How many boxes there are to find.
        weights: float64[N], how often each detection counts; None means once.

    Returns:
        0..1; NaN where there is nothing to find.
    """
    if not positives:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    weight = np.ones(len(order)) if weights is None else weights[order]
    right = np.cumsum(weight * hits[order])
    precision = right / np.maximum(np.cumsum(weight), np.finfo(np.float64).tiny)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((envelope * weight)[hits[order]].sum() / positives)


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
    classes = _match_classes(samples, results).values()

    def value(weights: NDArray[np.float64]) -> float:
        values = np.array([one.average_precision(weights) for one in classes])
        known = values[~np.isnan(values)]
        return float(known.mean()) if len(known) else float("nan")

    return _bootstrap_weights("mAP50", value, len(samples), len(samples))


def recall_by_class(
    samples: Sequence[LabeledImage], results: Sequence[Classification], model: ModelSpec
) -> dict[str, Score]:
    """For each class, the share of its images whose best class it is."""
    right: dict[str, list[bool]] = {}
    for sample, result in zip(samples, results, strict=True):
        answer = result.index == class_index(sample.label, model.labels)
        right.setdefault(sample.label, []).append(answer)
    ranks = {label: rank for rank, label in enumerate(model.labels)}
    order = sorted(right, key=lambda label: (ranks.get(label, len(ranks)), len(label), label))
    return {label: _proportion("recall", right[label]) for label in order}


def ap50_by_class(
    samples: Sequence[LabeledImage], results: Sequence[list[Detection]], model: ModelSpec
) -> dict[str, Score]:
    """For each class with boxes to find, the average precision at an IoU of 0.5."""
    return {
        model.labels[index] if index < len(model.labels) else str(index): _bootstrap_weights(
            "AP50", one.average_precision, len(samples), len(np.unique(one.truth))
        )
        for index, one in sorted(_match_classes(samples, results).items())
    }


@dataclass(frozen=True)
class _ClassMatches:
    """The boxes of one class.

    Attributes:
        truth: int64[boxes to find], the image of each.
        images: int64[detections], likewise.
        scores: float64[detections].
        hits: bool[detections], whether it is a box to find.
    """

    truth: NDArray[np.int64]
    images: NDArray[np.int64]
    scores: NDArray[np.float64]
    hits: NDArray[np.bool_]

    def average_precision(self, weights: NDArray[np.float64]) -> float:
        """AP50 where each image counts so many times; NaN where nothing is to be found."""
        positives = float(weights[self.truth].sum())
        return average_precision(self.scores, self.hits, positives, weights[self.images])


def _match_classes(
    samples: Sequence[LabeledImage], results: Sequence[list[Detection]]
) -> dict[int, _ClassMatches]:
    """The matched boxes of every class that has boxes to find."""
    truth: dict[int, list[int]] = {}
    rows: dict[int, list[tuple[int, float, bool]]] = {}
    for image, (sample, detections) in enumerate(zip(samples, results, strict=True)):
        for index, _ in sample.boxes:
            truth.setdefault(index, []).append(image)
        for index, score, hit in _match(sample, detections):
            rows.setdefault(index, []).append((image, score, hit))
    return {
        index: _ClassMatches(
            np.array(truth[index], np.int64),
            np.array([row[0] for row in rows.get(index, [])], np.int64),
            np.array([row[1] for row in rows.get(index, [])], np.float64),
            np.array([row[2] for row in rows.get(index, [])], np.bool_),
        )
        for index in truth
    }


def _match(sample: LabeledImage, detections: list[Detection]) -> list[tuple[int, float, bool]]:
    """Class, score and hit of each detection in one image."""
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
    return rows


def tar_at_far(
    samples: Sequence[LabeledImage], results: Sequence[Embedding], model: ModelSpec
) -> Score:
    """True accepts of pairs of one person, at the threshold that accepts FALSE_ACCEPTS of others.

    With fewer pairs of different persons than 1 / FALSE_ACCEPTS the threshold is their best. NaN
    where there is no pair of one person, or none of two. Of more images than MAX_PAIRED, those of
    some persons are used, spread over all.
    """
    people = np.array([sample.label for sample in samples])
    if len(people) > MAX_PAIRED:
        chosen_people = np.unique(people)[:: math.ceil(len(people) / MAX_PAIRED)]
        used = np.flatnonzero(np.isin(people, chosen_people))
        people, results = people[used], [results[at] for at in used.tolist()]
    vectors = np.stack([result.vector for result in results])
    cosine = getattr(model.decode, "metric", "cosine") == "cosine"
    length = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    units = vectors / length if cosine else vectors
    square = (units**2).sum(1)
    closeness = units @ units.T if cosine else 2 * units @ units.T - square[:, None] - square

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

    draws = min(BOOTSTRAP_SAMPLES, max(MIN_DRAWS, PAIRS_SORTED // len(people) ** 2))
    return _bootstrap(f"TAR@FAR {FALSE_ACCEPTS:g}", value, len(people), draws)


def _proportion(metric: str, right: Sequence[bool], *, chance: float = 0.0) -> Score:
    low, high = wilson(sum(right), len(right))
    return Score(metric, sum(right) / len(right), low, high, len(right), chance)


def _bootstrap(
    metric: str,
    value: Callable[[NDArray[np.int64]], float],
    count: int,
    draws: int = BOOTSTRAP_SAMPLES,
) -> Score:
    """The value of a choice of all images, and the middle 95 % of it over some resamplings.

    A resampling in which the metric has no value is left out. NaN passes no gate.
    """
    random = np.random.default_rng(0)
    everything = value(np.arange(count))
    resamplings = range(draws if count > 1 else 0)
    values = np.array([value(random.integers(0, count, count)) for _ in resamplings])
    known = values[~np.isnan(values)]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (0.0, 1.0)
    return Score(metric, everything, float(low), float(high), count)


def _bootstrap_weights(
    metric: str, value: Callable[[NDArray[np.float64]], float], count: int, samples: int
) -> Score:
    """``_bootstrap`` for a metric that takes how often each of ``count`` images counts."""
    score = _bootstrap(
        metric, lambda choice: value(np.bincount(choice, minlength=count).astype(float)), count
    )
    return replace(score, samples=samples)
