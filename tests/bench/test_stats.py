"""Statistics on samples whose truth is known."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_bench.stats import (
    FLOOR,
    MIN_ROUNDS,
    Interval,
    equivalence_verdict,
    median_interval,
    paired_ratio,
    relative_p10_p90,
    summarize,
    unpaired_ratio,
)

positive = st.floats(0.01, 1000.0)
blocks = st.lists(st.lists(positive, min_size=1, max_size=30), min_size=1, max_size=8)


@given(blocks)
def test_a_summary_is_ordered_and_within_its_samples(rounds: list[list[float]]) -> None:
    summary = summarize([np.array(block) for block in rounds])
    pooled = np.concatenate([np.array(block) for block in rounds])
    assert summary.n == len(pooled)
    ordered = [
        summary.min,
        summary.p50.value,
        summary.p90,
        summary.p95.value,
        summary.p99.value,
        summary.max,
    ]
    assert ordered == sorted(ordered)
    assert summary.min == pooled.min()
    assert summary.max == pooled.max()
    assert summary.p50.low <= summary.p50.high
    assert len(summary.quantiles) == 101


@given(st.lists(positive, min_size=2, max_size=40), st.floats(0.1, 10.0))
def test_scaling_the_samples_scales_the_summary(values: list[float], factor: float) -> None:
    one, other = summarize([np.array(values)]), summarize([np.array(values) * factor])
    assert other.p50.value == pytest.approx(one.p50.value * factor)
    assert other.jitter == pytest.approx(one.jitter * factor)


def test_jitter_is_the_mean_step_and_ignores_the_seam_between_rounds() -> None:
    summary = summarize([np.array([1.0, 2.0, 1.0]), np.array([100.0, 101.0])])
    assert summary.jitter == pytest.approx((1 + 1 + 1) / 3)


def test_one_sample_is_enough_to_be_described() -> None:
    summary = summarize([np.array([3.0])])
    assert summary.p50.value == summary.p99.value == 3.0
    assert summary.jitter == 0.0


@given(st.lists(positive, min_size=1, max_size=30), st.integers(0, 9))
def test_a_ratio_of_something_with_itself_is_one(values: list[float], seed: int) -> None:
    ratio = paired_ratio(values, values, seed=seed)
    assert ratio.value == ratio.low == ratio.high == 1.0


@given(st.lists(positive, min_size=1, max_size=20), st.floats(0.1, 10.0))
def test_a_common_factor_is_found_exactly_when_paired(values: list[float], factor: float) -> None:
    ratio = paired_ratio([value * factor for value in values], values)
    assert ratio.value == pytest.approx(factor)
    assert ratio.low <= ratio.value * (1 + 1e-9)
    assert ratio.high >= ratio.value * (1 - 1e-9)


@given(st.floats(0.5, 2.0), st.floats(0.0, 0.3), st.integers(0, MIN_ROUNDS + 20))
def test_a_verdict_never_contradicts_its_interval(value: float, half: float, rounds: int) -> None:
    interval = Interval(value=value, low=value * (1 - half), high=value * (1 + half))
    verdict = equivalence_verdict(interval, rounds)
    if rounds < MIN_ROUNDS:
        assert verdict == "unclear"
    elif verdict == "slower":
        assert interval.low > 1 + FLOOR
    elif verdict == "faster":
        assert interval.high < 1
    elif verdict == "same":
        assert abs(interval.value - 1) <= FLOOR


@pytest.mark.parametrize("noise", [0.02, 0.10, 0.30])
def test_nothing_changed_is_never_called_different(
    planted: Callable[..., object], noise: float
) -> None:
    for seed in range(30):
        machine = planted(seed, noise=noise)
        one, other = ([np.median(t) for t in machine.samples(5.0).times] for _ in range(2))
        verdict = equivalence_verdict(paired_ratio(other, one, seed=seed), 20)
        assert verdict in {"same", "unclear"}


@pytest.mark.parametrize("noise", [0.02, 0.10, 0.30])
@pytest.mark.parametrize(("factor", "expected"), [(1.2, "slower"), (1 / 1.2, "faster")])
def test_a_planted_change_of_a_fifth_is_always_called(
    planted: Callable[..., object], noise: float, factor: float, expected: str
) -> None:
    for seed in range(30):
        machine = planted(seed, noise=noise)
        base = [np.median(t) for t in machine.samples(5.0).times]
        new = [np.median(t) for t in machine.samples(5.0 * factor).times]
        assert equivalence_verdict(paired_ratio(new, base, seed=seed), 20) == expected


def test_ratios_to_the_reference_survive_a_machine_that_halves_its_speed(
    planted: Callable[..., object],
) -> None:
    quiet, slow = planted(1), planted(2)
    slow.drift = slow.drift * 2.0
    ratios = []
    for machine in (quiet, slow):
        reference = [moment.reference_ms for moment in machine.moments()]
        times = [np.median(t) for t in machine.samples(5.0).times]
        ratios.append([time / ref for time, ref in zip(times, reference, strict=True)])
    assert equivalence_verdict(unpaired_ratio(ratios[1], ratios[0]), 20, floor=0.05) == "same"


def width(interval: Interval) -> float:
    return (interval.high - interval.low) / interval.value


def test_intervals_narrow_with_more_rounds(planted: Callable[..., object]) -> None:
    few, many = (
        median_interval([np.median(t) for t in planted(3, rounds=rounds).samples(5.0).times])
        for rounds in (6, 200)
    )
    assert width(many) < width(few)


def test_noise_within_a_round_does_not_pass_for_evidence(planted: Callable[..., object]) -> None:
    """Ten times the samples in the same rounds may not make the interval much narrower."""
    machine = planted(4, noise=0.2)
    few, many = (summarize(machine.samples(5.0, runs).times).p50 for runs in (60, 600))
    assert width(many) > 0.6 * width(few)


def test_spread_is_the_middle_of_the_rounds() -> None:
    assert relative_p10_p90([1.0] * 10 + [100.0]) == 0.0
    assert relative_p10_p90(list(np.linspace(0.9, 1.1, 101))) == pytest.approx(0.16)
