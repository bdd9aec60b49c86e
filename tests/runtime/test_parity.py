"""The measure that says whether an artifact may be emitted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from edgecnn_runtime.parity import LIMIT_DB, cosine_text, input_sensitivity, parity, snr_db
from edgecnn_runtime.types import Box, Classification, Detection, Embedding, Reading, Result
from edgecnn_runtime.verification.result_matching import agreement_rate, iou, results_match

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


def test_one_wrong_picture_is_enough() -> None:
    truth = outputs()
    other = truth.copy()
    other[3] = -other[3]
    assert parity(truth, other).cosine < -0.9


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


def found(x: float, score: float = 0.9, index: int = 0) -> Detection:
    return Detection(Box(x, 0, x + 10, 10), score, "face", index)


SCORES = np.array([0.9, 0.1], np.float32)
CASES: list[tuple[Result, Result, bool]] = [
    (Classification("a", 0, 0.9, SCORES), Classification("a", 0, 0.6, SCORES), True),
    (Classification("a", 0, 0.9, SCORES), Classification("b", 1, 0.9, SCORES), False),
    (Reading("AB12", 0.9), Reading("AB12", 0.5), True),
    (Reading("AB12", 0.9), Reading("A812", 0.9), False),
    (Reading("AB", 0.5, (0.9, 0.5)), Reading("A8", 0.5, (0.9, 0.5)), True),
    (Reading("AB", 0.5, (0.9, 0.5)), Reading("A8", 0.7, (0.9, 0.7)), False),
    (Reading("AB", 0.5, (0.9, 0.5)), Reading("A", 0.9, (0.9,)), False),
    (Embedding(SCORES), Embedding(SCORES * 2), True),
    (Embedding(SCORES), Embedding(SCORES[::-1]), False),
    ([], [], True),
    ([found(0), found(50)], [found(50), found(0.5)], True),
    ([found(0)], [found(3)], False),
    ([found(0)], [found(0, index=1)], False),
    ([found(0, 0.9)], [found(0, 0.8)], False),
    ([found(0)], [], False),
    ([found(0), found(0.2)], [found(0)], False),
    ([found(0)], [found(0), found(80, 0.53)], True),
    ([found(0)], [found(0), found(80, 0.60)], False),
    ([], Reading("", 1.0), False),
]


@pytest.mark.parametrize(("one", "other", "same"), CASES)
def test_equal_results_are_what_a_person_would_call_equal(
    one: Result, other: Result, same: bool
) -> None:
    assert results_match(one, other, threshold=0.5) is same
    assert results_match(other, one, threshold=0.5) is same


def test_boxes_are_counted_one_by_one_and_pictures_where_there_are_none() -> None:
    pairs = [
        ([found(0), found(50), found(99)], [found(0), found(50)]),  # 4 of 5
        ([], []),  # 1 of 1
        ([found(0)], [found(0), found(80, 0.53)]),  # 2 of 2: what barely passes needs no partner
    ]
    assert agreement_rate(pairs, threshold=0.5) == pytest.approx(7 / 8)
    texts = [(Reading("A", 1.0), Reading("A", 1.0)), (Reading("A", 1.0), Reading("B", 1.0))]
    assert agreement_rate(texts) == 0.5


@pytest.mark.parametrize(("off", "same"), [(2.4, True), (2.6, False)])
def test_a_landmark_may_move_a_quarter_of_the_side(off: float, same: bool) -> None:
    one, other = (
        Detection(Box(0, 0, 10, 10), 0.9, "face", 0, ((4.0, 4.0), (4.0 + x, 8.0))) for x in (0, off)
    )
    assert results_match([one], [other]) is same
    assert not results_match([one], [found(0)])


def test_iou() -> None:
    assert iou(Box(0, 0, 2, 2), Box(1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert iou(Box(0, 0, 1, 1), Box(1, 0, 2, 1)) == 0.0
    assert iou(Box(0, 0, 0, 0), Box(0, 0, 0, 0)) == 0.0
