"""One number for how well a model does on labeled images, and its 95 % interval."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.evaluation.dataset import LabeledImage, class_index
from edgecnn_runtime.evaluation.ranking import (
    THRESHOLDS,
    FloatArray,
    Measure,
    Ranking,
    Scored,
    rank_classes,
)
from edgecnn_runtime.types import Classification, Embedding, Reading

FALSE_ACCEPTS = 1e-3
"""The share of pairs of different persons that a threshold may accept."""
BOOTSTRAP_SAMPLES = 500
"""Resamplings for an interval that has no formula."""
MAX_PAIRED = 4000
"""Images that are compared with each other at most: their pairs take 64 MB in each array."""
PAIRS_SORTED = 400_000_000
"""Pairs that all resamplings together may sort, about."""
DETECTIONS_RANKED = 50_000_000
"""Detections that all resamplings together may rank, about."""
CLASS_COST = 2000
"""Detections whose ranking takes as long as all else that a class needs."""
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
        others: Further metrics of the same results, by name; NaN as ``value``.
    """

    metric: str
    value: float
    low: float
    high: float
    samples: int
    chance: float = 0.0
    others: Mapping[str, float] = field(default_factory=dict)


def wilson(right: int, total: int) -> tuple[float, float]:
    """95 % interval of a proportion: E. B. Wilson, "Probable Inference" (JASA 1927)."""
    share, spread = right / total, Z**2 / total
    center = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * np.sqrt(share * (1 - share) / total + spread / (4 * total))
    return max(0.0, float(center - half)), min(1.0, float(center + half))


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


def mean_average_precision(
    samples: Sequence[LabeledImage],
    results: Sequence[Sequence[Scored]],
    measure: Measure,
) -> Score:
    """Mean over classes of the average precision; NaN where there is nothing to find.

    Args:
        samples: The labeled images.
        results: The detections in each.
        measure: How they are compared. Both its metrics are returned, the one that is not the score
            in ``Score.others``.
    """
    rankings = rank_classes(samples, results, measure).values()

    def value(weights: FloatArray, thresholds: int) -> float:
        values = [each.average_precisions(weights, thresholds).mean() for each in rankings]
        known = [value for value in values if not math.isnan(value)]
        return float(np.mean(known)) if known else float("nan")

    names = {1: f"{measure.name}50", len(THRESHOLDS): f"{measure.name}50-95"}
    main, other = (len(THRESHOLDS), 1) if measure.strict else (1, len(THRESHOLDS))
    score = bootstrap_weights(
        names[main],
        lambda weights: value(weights, main),
        len(samples),
        _draws(rankings, main),
    )
    others = {names[other]: value(np.ones(len(samples)), other)}
    return replace(score, samples=len(samples), others=others)


def average_precision_by_class(
    samples: Sequence[LabeledImage],
    results: Sequence[Sequence[Scored]],
    model: ModelSpec,
    measure: Measure,
) -> dict[str, Score]:
    """For each class with objects to find, its part of ``mean_average_precision``.

    ``Score.samples`` counts the images that show it.
    """
    thresholds = len(THRESHOLDS) if measure.strict else 1
    metric = f"{measure.name.replace('mAP', 'AP')}{'50-95' if measure.strict else '50'}"
    rankings = rank_classes(samples, results, measure)
    draws = _draws(rankings.values(), thresholds)

    def score(ranking: Ranking) -> Score:
        def value(weights: FloatArray) -> float:
            return float(ranking.average_precisions(weights, thresholds).mean())

        images = len(np.unique(ranking.truth))
        return replace(bootstrap_weights(metric, value, len(samples), draws), samples=images)

    return {class_name(index, model): score(ranking) for index, ranking in rankings.items()}


def class_name(index: int, model: ModelSpec) -> str:
    """The name of a class; its number where it has none."""
    return model.labels[index] if index < len(model.labels) else str(index)


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

    These are shifted so that their mean is the value: images that are drawn twice make rankings
    look better. A resampling in which the metric has no value is left out. NaN passes no gate.
    """
    random = np.random.default_rng(0)
    everything = value(np.arange(count))
    resamplings = range(draws if count > 1 else 0)
    values = np.array([value(random.integers(0, count, count)) for _ in resamplings])
    known = values[~np.isnan(values)]
    if not len(known) or math.isnan(everything):
        return Score(metric, everything, 0.0, 1.0, count)
    low, high = np.percentile(known + (everything - known.mean()), [2.5, 97.5])
    return Score(metric, everything, max(0.0, float(low)), min(1.0, float(high)), count)


def bootstrap_weights(
    metric: str, value: Callable[[FloatArray], float], count: int, draws: int = BOOTSTRAP_SAMPLES
) -> Score:
    """The value on all images, and the middle 95 % of it over some resamplings.

    Args:
        metric: Its name.
        value: The metric where each image counts so many times, float64[count].
        count: How many images there are.
        draws: How many resamplings.
    """
    return _bootstrap(
        metric,
        lambda choice: value(np.bincount(choice, minlength=count).astype(np.float64)),
        count,
        draws,
    )


def _draws(rankings: Iterable[Ranking], thresholds: int) -> int:
    """Resamplings that take seconds and not minutes, however many detections there are."""
    detections = sum(len(ranking.images) + CLASS_COST for ranking in rankings)
    draws = DETECTIONS_RANKED // max(detections * thresholds, 1)
    return min(BOOTSTRAP_SAMPLES, max(MIN_DRAWS, draws))
