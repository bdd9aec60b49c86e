"""Statistics of samples and their uncertainty: quantiles, round-blocked bootstrap, verdicts.

A run is cut into rounds; in each, every row gets one slot beside a fixed reference workload.
Samples of one slot share whatever the machine was doing at that time, so they are not independent,
and rounds, not samples, are resampled (block bootstrap: Künsch, Annals of
Statistics 17(3), 1989; percentile intervals: Efron & Tibshirani, An Introduction to the
Bootstrap, 1993, ch. 13).
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.float64]
"""float64[n] milliseconds, in the order they were measured."""

Verdict: TypeAlias = Literal["same", "faster", "slower", "unclear"]

CONFIDENCE = 0.99
"""Confidence of the intervals behind verdicts; printed intervals are 95 %."""
FLOOR = 0.03
"""Two rows of one run that differ by less than this are called the same."""
MIN_ROUNDS = 6
"""With fewer rounds an interval means little, and the verdict is "unclear"."""
DRAWS, POOLED_DRAWS = 2000, 400
"""Bootstrap draws: of one value per round, and of all samples."""
MAX_RESAMPLED = 6_000
"""A row with more samples is thinned for resampling."""

GRID = np.linspace(0.0, 100.0, 101)


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate and the interval around it.

    Attributes:
        value: The estimate.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A row's latency, in milliseconds per run.

    Attributes:
        n: Number of runs.
        mean: Mean of the runs.
        min: The shortest run.
        p50: Median with its 95 % interval.
        p90: 90th percentile.
        p95: 95th percentile with its 95 % interval.
        p99: 99th percentile with its 95 % interval.
        max: The longest run.
        jitter: Mean absolute difference between consecutive runs (RFC 3550's D, unsmoothed).
        quantiles: p0, p1 … p100, for drawing.
    """

    n: int
    mean: float
    min: float
    p50: Interval
    p90: float
    p95: Interval
    p99: Interval
    max: float
    jitter: float
    quantiles: tuple[float, ...]


def summarize(rounds: Sequence[Samples], *, seed: int = 0) -> Summary:
    """Pool the rounds' samples and describe them.

    Args:
        rounds: float64[n] milliseconds of each round; at least one sample in all.
        seed: Of the bootstrap.
    """
    pooled = np.concatenate(rounds)
    grid = np.percentile(pooled, GRID)
    low, high = _pooled_intervals(rounds, (50.0, 95.0, 99.0), seed=seed)
    jumps = np.concatenate([np.abs(np.diff(samples)) for samples in rounds])
    p50, p95, p99 = (
        Interval(value=float(grid[q]), low=float(low[i]), high=float(high[i]))
        for i, q in enumerate((50, 95, 99))
    )
    return Summary(
        n=len(pooled),
        mean=float(pooled.mean()),
        min=float(grid[0]),
        p50=p50,
        p90=float(grid[90]),
        p95=p95,
        p99=p99,
        max=float(grid[100]),
        jitter=float(jumps.mean()) if len(jumps) else 0.0,
        quantiles=tuple(round(float(value), 5) for value in grid),
    )


def median_interval(
    values: Sequence[float], *, seed: int = 0, confidence: float = 0.95
) -> Interval:
    """The median of one value per round, and its bootstrap interval."""
    array = np.asarray(values, dtype=np.float64)
    medians = _resampled_medians(array, seed)
    return _interval(float(np.median(array)), medians, confidence)


def paired_ratio(new: Sequence[float], base: Sequence[float], *, seed: int = 0) -> Interval:
    """new / base, where value i of both is of the same round.

    Returns:
        The median of the ratios and its 99 % bootstrap interval.
    """
    logs = np.log(np.asarray(new, dtype=np.float64)) - np.log(np.asarray(base, dtype=np.float64))
    return _interval_exp(float(np.median(logs)), _resampled_medians(logs, seed))


def unpaired_ratio(new: Sequence[float], base: Sequence[float], *, seed: int = 0) -> Interval:
    """new / base from two runs, each resampled by itself.

    Returns:
        The ratio of the medians and its 99 % bootstrap interval.
    """
    logs = [np.log(np.asarray(values, dtype=np.float64)) for values in (new, base)]
    draws = _resampled_medians(logs[0], seed) - _resampled_medians(logs[1], seed + 1)
    return _interval_exp(float(np.median(logs[0]) - np.median(logs[1])), draws)


def equivalence_verdict(ratio: Interval, rounds: int, *, floor: float = FLOOR) -> Verdict:
    """The verdict that an interval around new / base allows.

    Args:
        ratio: new / base with its interval.
        rounds: How many rounds it comes from.
        floor: The smallest difference that counts.

    Returns:
        "slower" or "faster" only where the whole interval is beyond the floor, "same" only where
        all of it is within, otherwise "unclear": the machine was too noisy.
    """
    if rounds < MIN_ROUNDS:
        return "unclear"
    if ratio.low > 1 + floor:
        return "slower"
    if ratio.high < 1 / (1 + floor):
        return "faster"
    if ratio.low >= 1 / (1 + floor) and ratio.high <= 1 + floor:
        return "same"
    return "unclear"


def relative_p10_p90(values: Sequence[float]) -> float:
    """Distance from the 10th to the 90th percentile, over the median."""
    low, middle, high = np.percentile(np.asarray(values, dtype=np.float64), (10, 50, 90))
    return float((high - low) / middle)


def _resampled_medians(values: Samples, seed: int) -> Samples:
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(values), (DRAWS, len(values)))
    medians: Samples = np.median(values[picks], axis=1)
    return medians


def _interval(value: float, draws: Samples, confidence: float) -> Interval:
    tail = 50 * (1 - confidence)
    low, high = np.percentile(draws, (tail, 100 - tail))
    return Interval(value=value, low=float(low), high=float(high))


def _interval_exp(value: float, draws: Samples) -> Interval:
    logs = _interval(value, draws, CONFIDENCE)
    low, high = float(np.exp(logs.low)), float(np.exp(logs.high))
    return Interval(value=float(np.exp(value)), low=low, high=high)


def _pooled_intervals(
    rounds: Sequence[Samples], quantiles: tuple[float, ...], *, seed: int
) -> tuple[Samples, Samples]:
    """95 % intervals of quantiles of the pooled samples.

    A draw is a count of how often each round was picked, so the samples are sorted once and each
    draw only weights them.
    """
    blocks = [_thinned(samples, MAX_RESAMPLED // len(rounds)) for samples in rounds]
    pooled = np.concatenate(blocks)
    order = np.argsort(pooled, kind="stable")
    label = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])[order]
    rng = np.random.default_rng(seed)
    picks = rng.multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), POOLED_DRAWS)
    below = np.cumsum(picks[:, label], axis=1, dtype=np.int32)
    draws = np.empty((POOLED_DRAWS, len(quantiles)))
    for i, quantile in enumerate(quantiles):
        index = (below < quantile / 100 * below[:, -1:]).sum(axis=1)
        draws[:, i] = pooled[order][index]
    low, high = np.percentile(draws, (2.5, 97.5), axis=0)
    return low, high


def _thinned(samples: Samples, most: int) -> Samples:
    """At most ``most`` of the samples, evenly by rank, so that their quantiles stay."""
    if len(samples) <= most:
        return samples
    ranks = np.linspace(0, len(samples) - 1, max(most, 1)).round().astype(int)
    subset: Samples = np.sort(samples)[ranks]
    return subset
