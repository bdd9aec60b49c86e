"""The measure that says whether an artifact may be emitted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from edgecnn_runtime.parity import (
    LIMIT_DB,
    cosine_of_snr,
    cosine_text,
    input_sensitivity,
    parity,
    percent_text,
    snr_db,
)

RNG = np.random.default_rng(0)


def outputs(pictures: int = 16, size: int = 40, common: float = 0.0) -> np.ndarray:
    own = np.random.default_rng(1).standard_normal((pictures, size))
    return (own + common * np.random.default_rng(2).standard_normal(size)).astype(np.float32)


def test_the_same_outputs_are_as_close_as_can_be() -> None:
    measured = parity(outputs(), outputs())
    assert (measured.max_abs, measured.snr_db) == (0.0, LIMIT_DB)
    assert measured.cosine == pytest.approx(1.0, abs=1e-12)


def test_what_all_pictures_have_in_common_does_not_count() -> None:
    truth = outputs(common=100.0)
    other = truth[::-1].copy()
    plain = (truth * other).sum(1) / np.linalg.norm(truth, axis=1) / np.linalg.norm(other, axis=1)
    assert plain.min() > 0.999
    assert parity(truth, other).cosine < 0.5


@pytest.mark.parametrize("count", [1, 5])
def test_outputs_that_do_not_vary_are_compared_with_some_that_do(count: int) -> None:
    equal = np.repeat(outputs(1, common=3.0), count, 0)
    noise = np.float32(1e-3) * np.random.default_rng(4).standard_normal(equal.shape)
    got = equal + noise.astype(np.float32)
    assert parity(equal, got).snr_db < 20
    assert parity(equal, got, typical=outputs(common=3.0)).snr_db == pytest.approx(60, abs=2)


def test_one_wrong_picture_is_enough() -> None:
    truth = outputs()
    other = truth.copy()
    other[3] = -other[3]
    assert parity(truth, other).cosine < -0.9


@pytest.mark.parametrize("size", [1, 2])
def test_one_number_per_picture_is_judged_by_its_error(size: int) -> None:
    truth = outputs(size=1)
    if size == 2:
        truth = np.concatenate([truth, 1 - truth], 1)
    for wrong in (truth * 1.2, truth + 0.3, truth + 0.3 * outputs(size=size)[::-1], truth**3):
        measured = parity(truth, wrong)
        assert measured.cosine < 0.99
        assert measured.cosine <= cosine_of_snr(measured.snr_db)
    assert parity(truth, truth).cosine == 1.0
    assert parity(truth, truth * np.float32(1 + 1e-6)).cosine > 0.9999


def test_a_cosine_stands_for_an_error() -> None:
    assert cosine_of_snr(37.0) == pytest.approx(0.9999, abs=1e-5)
    assert cosine_of_snr(16.9) == pytest.approx(0.99, abs=1e-3)
    assert cosine_of_snr(-LIMIT_DB) == pytest.approx(0.0, abs=1e-9)


def test_snr_is_that_of_the_centered_signal() -> None:
    truth = outputs(common=50.0)
    noise = RNG.standard_normal(truth.shape)
    centered = truth - truth.mean(0)
    noise *= 0.01 * np.linalg.norm(centered) / np.linalg.norm(noise)
    assert snr_db(truth, truth + noise) == pytest.approx(40.0, abs=0.01)


def test_a_constant_output_is_held_against_its_size() -> None:
    truth = np.full((4, 10), 5.0, np.float32)
    assert parity(truth, truth).cosine == 1.0
    assert parity(truth, truth * np.float32(1 + 1e-6)).cosine > 0.9999
    assert parity(truth, truth * 1.01).cosine < 0.9999
    zeros = np.zeros_like(truth)
    assert parity(zeros, zeros).cosine == 1.0
    assert parity(zeros, truth).snr_db == -LIMIT_DB


def test_a_picture_that_gives_the_mean_output_is_not_judged_by_its_rounding() -> None:
    truth = outputs()
    truth[5] = np.delete(truth, 5, 0).mean(0)
    other = truth + 1e-6 * RNG.standard_normal(truth.shape)
    assert parity(truth, other).cosine > 0.9999


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_as_far_off_as_can_be(bad: float) -> None:
    other = outputs()
    other[0, 0] = bad
    assert parity(outputs(), other).cosine == -1.0
    assert snr_db(outputs(), other) == -LIMIT_DB


def test_another_shape_is_as_far_off_as_can_be() -> None:
    assert parity(outputs(), outputs(size=39)).snr_db == -LIMIT_DB


def test_distinctness_tells_outputs_that_stand_still() -> None:
    assert input_sensitivity(outputs()) > 1
    assert input_sensitivity(outputs(common=1e6)) < 1e-3
    assert input_sensitivity(np.zeros((4, 3), np.float32)) == 0.0


def test_a_cosine_is_never_rounded_up_to_one() -> None:
    assert cosine_text(1.0) == "0.99999999"
    assert cosine_text(0.99989999999) == "0.99989999"
    assert cosine_text(-1.0) == "-1.00000000"
    assert cosine_text(0.98996, 4) == "0.9899"
    assert cosine_text(0.99, 4) == "0.9900"


def test_a_share_is_never_rounded_up() -> None:
    assert percent_text(0.9896) == "98%"
    assert percent_text(0.9896, 1) == "98.9%"
    assert percent_text(0.99999, 1) == "99.9%"
    assert [percent_text(n / 100) for n in range(101)] == [f"{n}%" for n in range(101)]
    assert [percent_text(n / 1000, 1) for n in (570, 990, 1000)] == ["57.0%", "99.0%", "100.0%"]


finite = st.floats(-1e6, 1e6, width=32)
pairs = array_shapes(min_dims=2, max_dims=3, max_side=6).flatmap(
    lambda shape: st.tuples(*[arrays(np.float32, shape, elements=finite)] * 2)
)


@given(pairs)
def test_measures_stay_in_their_ranges(pair: tuple[np.ndarray, np.ndarray]) -> None:
    measured = parity(*pair)
    assert -1.0000001 <= measured.cosine <= 1.0000001
    assert -LIMIT_DB <= measured.snr_db <= LIMIT_DB
    assert measured.max_abs >= 0
