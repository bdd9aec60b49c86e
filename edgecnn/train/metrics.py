"""Accuracy, precision, recall, F1 and the confusion matrix they all come from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Metrics:
    """How well labels were told apart.

    confusion: int64[C,C], rows are the truth, columns what was said.
    precision, recall, f1: float64[C], 0 where undefined (never said, never there).
    """

    confusion: NDArray[np.int64]
    accuracy: float
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]


def measure(targets: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> Metrics:
    """targets, predicted: int64[N], 0..classes-1, N at least 1."""
    confusion = np.bincount(targets * classes + predicted, minlength=classes * classes)
    confusion = confusion.reshape(classes, classes).astype(np.int64)
    right = np.diag(confusion).astype(np.float64)
    precision = _ratio(right, confusion.sum(axis=0))
    recall = _ratio(right, confusion.sum(axis=1))
    f1 = _ratio(2 * precision * recall, precision + recall)
    return Metrics(confusion, float(right.sum() / confusion.sum()), precision, recall, f1)


def _ratio(
    part: NDArray[np.float64], whole: NDArray[np.int64] | NDArray[np.float64]
) -> NDArray[np.float64]:
    whole = whole.astype(np.float64)
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
