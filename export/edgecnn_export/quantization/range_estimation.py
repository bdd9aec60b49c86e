"""From a histogram of a tensor's values to the range its eight bits cover.

Every method reads the same histogram, so one calibration serves all of them. None is best
everywhere: cutting the tails off makes every step finer, and hurts where the tails are what tells
one picture from another. That is why they are compared by measurement.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgecnn_export.config import Method

Range: TypeAlias = tuple[float, float]
"""The smallest and the largest value that is represented; 0 lies between them."""

BINS = 2048
PERCENTILE = 99.999
STEPS = 255
PERCENTILE_CANDIDATES = np.linspace(0.1, 1.0, 91)
"""Shares of the observed range that the searching methods try."""


@dataclass(frozen=True)
class Histogram:
    """The values of one tensor over all calibration images.

    Attributes:
        counts: int64[BINS], in bins of equal width from ``low`` to ``high``.
        low: The smallest value, at most 0.
        high: The largest value, at least 0.
    """

    counts: NDArray[np.int64]
    low: float
    high: float

    @property
    def rounded(self) -> NDArray[np.float64]:
        """float64[BINS]: the counts without the zeros, which every quantizer keeps exactly.

        A ReLU gives half of its values as 0, and they would drown the others.
        """
        counts = self.counts.astype(np.float64)
        zero = min(int(-self.low / (self.high - self.low) * len(counts)), len(counts) - 1)
        beside = counts[[i for i in (zero - 1, zero + 1) if 0 <= i < len(counts)]].mean()
        counts[zero] = min(counts[zero], beside)
        return counts

    @property
    def centers(self) -> NDArray[np.float64]:
        """float64[BINS]: the middle of each bin."""
        width = (self.high - self.low) / len(self.counts)
        middles = np.arange(len(self.counts), dtype=np.float64) + 0.5
        return self.low + middles * width


def choose_range(histogram: Histogram, method: Method) -> Range:
    """The range of one tensor by one method.

    Args:
        histogram: The tensor's values.
        method: One of METHODS.
    """
    if histogram.low == histogram.high or not histogram.rounded.any():
        return histogram.low, histogram.high
    return METHODS[method](histogram)


def _minmax(histogram: Histogram) -> Range:
    return histogram.low, histogram.high


def _percentile(histogram: Histogram) -> Range:
    """PERCENTILE of the values inside; what is cut is split between both tails."""
    share = np.cumsum(histogram.counts) / histogram.counts.sum()
    width = (histogram.high - histogram.low) / len(share)
    outside = (1 - PERCENTILE / 100) / (2 if histogram.low < 0 else 1)
    low = histogram.low + width * int(np.searchsorted(share, outside))
    high = histogram.low + width * (int(np.searchsorted(share, 1 - outside)) + 1)
    low = min(low, 0.0) if histogram.low < 0 else histogram.low
    return low, min(max(high, 0.0), histogram.high)


def _mse(histogram: Histogram) -> Range:
    """The least expected square of rounding plus clipping, searched one end at a time."""
    shares = histogram.rounded
    low, high = histogram.low, histogram.high
    for _ in range(2):
        ends = [(low, histogram.high * share) for share in PERCENTILE_CANDIDATES]
        low, high = min(ends, key=lambda ends: _error(histogram, shares, *ends))
        ends = [(histogram.low * share, high) for share in PERCENTILE_CANDIDATES]
        low, high = min(ends, key=lambda ends: _error(histogram, shares, *ends))
    return low, high


def _error(histogram: Histogram, shares: NDArray[np.float64], low: float, high: float) -> float:
    step = (high - low) / STEPS
    if step <= 0:
        return float("inf")
    outside = np.maximum(histogram.centers - high, 0) + np.maximum(low - histogram.centers, 0)
    inside = outside == 0
    return float(shares @ outside**2 + shares @ inside * step**2 / 12)


def _entropy(histogram: Histogram) -> Range:
    """The least Kullback-Leibler divergence of the quantized histogram from the clipped one.

    As in Migacz, "8-bit inference with TensorRT" (GTC 2017), with both ends shrunk alike.
    """
    counts = histogram.rounded
    ends = [(histogram.low * share, histogram.high * share) for share in PERCENTILE_CANDIDATES]
    return min(ends, key=lambda ends: _divergence(histogram, counts, *ends))


def _divergence(
    histogram: Histogram, counts: NDArray[np.float64], low: float, high: float
) -> float:
    bins = len(counts)
    width = (histogram.high - histogram.low) / bins
    first = int(np.floor((low - histogram.low) / width + 1e-6))
    last = min(max(int(np.ceil((high - histogram.low) / width - 1e-6)), first + 1), bins)
    inner = counts[first:last]
    clipped = inner.copy()
    clipped[0] += counts[:first].sum()
    clipped[-1] += counts[last:].sum()
    level = np.arange(len(inner)) * (STEPS + 1) // len(inner)
    filled = inner > 0
    total = np.bincount(level, inner, STEPS + 1)
    members = np.bincount(level, filled, STEPS + 1)
    spread = np.where(filled, (total / np.maximum(members, 1))[level], 0)
    p, q = clipped / clipped.sum(), spread / max(spread.sum(), 1)
    both = (p > 0) & (q > 0)
    missing = p[(p > 0) & (q == 0)].sum()  # values clipped into a bin that was empty
    return float((p[both] * np.log(p[both] / q[both])).sum() + missing * np.log(1e6))


METHODS: Mapping[Method, Callable[[Histogram], Range]] = {
    "minmax": _minmax,
    "percentile": _percentile,
    "mse": _mse,
    "entropy": _entropy,
}
"""From what cuts off nothing to what cuts off most."""
