"""Accuracy, precision, recall, F1 and the confusion matrix that they are computed from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.evaluation.metrics import wilson


@dataclass(frozen=True, slots=True)
class Metrics:
    """How well a network tells classes apart.

    Attributes:
        confusion: int64[C,C]; rows are the true classes, columns the predicted ones.
        accuracy: Fraction of correct predictions.
        precision: float64[C], per class; 0 for a class that is never predicted.
        recall: float64[C], per class; 0 for a class without pictures.
        f1: float64[C], the harmonic mean of both; 0 where both are 0.
    """

    confusion: NDArray[np.int64]
    accuracy: float
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]

    @property
    def chance(self) -> float:
        """What the answer that is right most often reaches without looking at the picture."""
        counts = self.confusion.sum(axis=1)
        return float(counts.max() / counts.sum())

    @property
    def above_chance(self) -> bool:
        """Whether the accuracy is above ``chance``, certain to 97.5 %."""
        correct, total = int(np.diag(self.confusion).sum()), int(self.confusion.sum())
        return wilson(correct, total)[0] > self.chance


def measure(targets: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> Metrics:
    """Compare predictions with the truth.

    Args:
        targets: int64[N], the true classes, 0..classes-1; N is at least 1.
        predicted: int64[N], likewise.
        classes: Number of classes.
    """
    confusion = np.bincount(targets * classes + predicted, minlength=classes * classes)
    confusion = confusion.reshape(classes, classes).astype(np.int64)
    correct = np.diag(confusion).astype(np.float64)
    precision = _ratio(correct, confusion.sum(axis=0))
    recall = _ratio(correct, confusion.sum(axis=1))
    f1 = _ratio(2 * precision * recall, precision + recall)
    return Metrics(confusion, float(correct.sum() / confusion.sum()), precision, recall, f1)


def _ratio(
    part: NDArray[np.float64], whole: NDArray[np.int64] | NDArray[np.float64]
) -> NDArray[np.float64]:
    whole = whole.astype(np.float64)
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
