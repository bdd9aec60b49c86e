"""Average precision of ranked detections, as COCO defines it.

Sources: T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context" (ECCV 2014), and
``cocoeval.py`` (github.com/cocodataset/cocoapi), whose numbers these are, ties and crowds included.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.evaluation.dataset import LabeledImage, LabeledObject

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""Overlaps from which a detection counts as right: 0.5, 0.55 … 0.95."""
RECALLS = np.linspace(0.0, 1.0, 101)
"""Where the precision-recall curve is read."""

FloatArray = NDArray[np.float64]
Overlaps = Callable[[Sequence[Any], Sequence[LabeledObject]], FloatArray]
"""How far each of D detections covers each of G objects of its class: float64[D,G], 0..1."""


class Scored(Protocol):
    """What every detection has."""

    @property
    def index(self) -> int:
        """The number of its class."""

    @property
    def score(self) -> float:
        """How sure it is."""


@dataclass(frozen=True)
class Measure:
    """How one kind of detection is compared with labels.

    Attributes:
        name: Of the mean average precision.
        overlaps: How far detections cover objects.
        strict: Whether the score is the mean over all THRESHOLDS, and not that at the first.
        limit: Detections of one class in one image that count, the best ones; None for all.
    """

    name: str
    overlaps: Overlaps
    strict: bool
    limit: int | None = 100


@dataclass(frozen=True)
class Ranking:
    """The detections of one class over all images, best first.

    Attributes:
        truth: int64[objects to find], the image of each.
        images: int64[N], the image of each detection.
        right: bool[T,N], whether it is an object to find, by threshold.
        wrong: bool[T,N], whether it is none; one that is neither does not count.
    """

    truth: NDArray[np.int64]
    images: NDArray[np.int64]
    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]

    def average_precisions(self, weights: FloatArray, thresholds: int) -> FloatArray:
        """float64[thresholds], 0..1: the mean precision at RECALLS; NaN where nothing is to find.

        Args:
            weights: float64[images], how often each image counts.
            thresholds: How many of THRESHOLDS, from the first on.
        """
        positives = float(weights[self.truth].sum())
        if not positives:
            return np.full(thresholds, np.nan)
        weight = weights[self.images]
        right = np.cumsum(self.right[:thresholds] * weight, axis=1)
        wrong = np.cumsum(self.wrong[:thresholds] * weight, axis=1)
        precision = right / np.maximum(right + wrong, np.finfo(np.float64).tiny)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        after_last = np.zeros((thresholds, 1))
        values = np.concatenate([envelope, after_last], axis=1)
        recalls = right / positives
        return np.array(
            [
                row[np.searchsorted(recall, RECALLS)].mean()
                for row, recall in zip(values, recalls, strict=True)
            ]
        )


def rank_classes(
    samples: Sequence[LabeledImage], results: Sequence[Sequence[Scored]], measure: Measure
) -> Mapping[int, Ranking]:
    """The ranking of every class that has objects to find, by its number."""
    truth: dict[int, list[int]] = {}
    for image, sample in enumerate(samples):
        for labeled in sample.objects:
            if not labeled.ignored:
                truth.setdefault(labeled.index, []).append(image)
    rows: dict[int, list[tuple[int, float]]] = {index: [] for index in truth}
    hits: dict[int, list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]] = {i: [] for i in truth}
    for image, (sample, detections) in enumerate(zip(samples, results, strict=True)):
        for index in {detection.index for detection in detections} & truth.keys():
            ranked = sorted(
                (each for each in detections if each.index == index), key=lambda each: -each.score
            )[: measure.limit]
            objects = [labeled for labeled in sample.objects if labeled.index == index]
            rows[index] += [(image, each.score) for each in ranked]
            hits[index].append(_match(ranked, objects, measure))
    return {index: _ranking(truth[index], rows[index], hits[index]) for index in sorted(truth)}


def _ranking(
    truth: Sequence[int],
    rows: Sequence[tuple[int, float]],
    hits: Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]],
) -> Ranking:
    order = np.argsort([-score for _, score in rows], kind="stable")
    nothing = np.zeros((len(THRESHOLDS), 0), np.bool_)
    right, wrong = (
        np.concatenate([nothing, *(pair[part] for pair in hits)], axis=1)[:, order]
        for part in (0, 1)
    )
    images = np.array([image for image, _ in rows], np.int64)[order]
    return Ranking(np.array(truth, np.int64), images, right, wrong)


def _match(
    ranked: Sequence[Scored], objects: Sequence[LabeledObject], measure: Measure
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which detections of one class in one image are right, and which are wrong: bool[T,D] each.

    The better detection chooses first, and takes the object that it covers best; of equal ones the
    last. Only where no object to find is left, it may fall to one that is ignored, and to a crowd
    as many detections as like.
    """
    right = np.zeros((len(THRESHOLDS), len(ranked)), np.bool_)
    wrong = np.ones_like(right)
    if not objects:
        return right, wrong
    overlaps = measure.overlaps(ranked, objects)
    ignored = [labeled.ignored for labeled in objects]
    order = sorted(range(len(objects)), key=ignored.__getitem__)
    least = float(THRESHOLDS[0])
    near = [[(row[g], g) for g in order if row[g] >= least] for row in overlaps.tolist()]
    nearest = [max((overlap for overlap, _ in each), default=0.0) for each in near]
    for row, threshold in enumerate(THRESHOLDS.tolist()):
        taken: set[int] = set()
        for at, candidates in enumerate(near):
            if nearest[at] < threshold:
                continue
            best, choice = threshold, -1
            for overlap, g in candidates:
                if overlap < best or (g in taken and not objects[g].crowd):
                    continue
                if choice >= 0 and ignored[g] and not ignored[choice]:
                    break
                best, choice = overlap, g
            if choice >= 0:
                taken.add(choice)
                right[row, at] = not ignored[choice]
                wrong[row, at] = False
    return right, wrong
