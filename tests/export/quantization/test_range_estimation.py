"""Ranges from histograms: each method does what it is for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_export.quantization.range_estimation import (
    BINS,
    METHODS,
    Histogram,
    Method,
    choose_range,
)


def histogram(values: np.ndarray) -> Histogram:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    counts, _ = np.histogram(values, BINS, (low, high))
    return Histogram(counts.astype(np.int64), low, high)


def rounding_error(values: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / 255
    zero = np.round(-low / step)
    rounded = (np.clip(np.round(values / step) + zero, 0, 255) - zero) * step
    return float(((rounded - values) ** 2).mean())


@pytest.mark.parametrize("method", list(METHODS))
@given(seed=st.integers(0, 10_000), scale=st.floats(1e-4, 1e4), shift=st.floats(-3, 3))
def test_a_range_lies_within_what_was_seen_and_holds_zero(
    method: Method, seed: int, scale: float, shift: float
) -> None:
    values = np.random.default_rng(seed).normal(shift, 1, 500) * scale
    observed = histogram(values)
    low, high = choose_range(observed, method)
    slack = 1e-6 * (observed.high - observed.low)
    assert observed.low - slack <= low <= 0 <= high <= observed.high + slack
    assert high > low


@pytest.mark.parametrize("method", list(METHODS))
def test_a_tensor_that_is_always_zero_has_an_empty_range(method: Method) -> None:
    assert choose_range(Histogram(np.zeros(BINS, np.int64), 0.0, 0.0), method) == (0.0, 0.0)


def test_minmax_keeps_everything() -> None:
    assert choose_range(histogram(np.array([-2.0, 0.5, 7.0])), "minmax") == (-2.0, 7.0)


def test_percentile_cuts_off_a_stray_value() -> None:
    values = np.append(np.random.default_rng(0).uniform(0, 1, 1_000_000), 50.0)
    assert choose_range(histogram(values), "percentile")[1] < 1.1


def test_mse_loses_less_than_minmax_on_a_heavy_tail() -> None:
    values = np.random.default_rng(0).standard_t(3, 200_000)
    observed = histogram(values)
    assert rounding_error(values, *choose_range(observed, "mse")) < 0.8 * rounding_error(
        values, *choose_range(observed, "minmax")
    )


def test_mse_is_near_the_best_range_of_a_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(0, 1, 400_000)
    error = rounding_error(values, *choose_range(histogram(values), "mse"))
    least = min(rounding_error(values, -end, end) for end in np.linspace(2, 5, 61))
    assert error < 1.03 * least


@pytest.mark.parametrize("method", ["mse", "entropy"])
def test_the_zeros_of_a_relu_do_not_shrink_the_range(method: Method) -> None:
    values = np.maximum(np.random.default_rng(1).normal(0, 1, 400_000), 0)
    assert choose_range(histogram(values), method)[1] > 2.5
