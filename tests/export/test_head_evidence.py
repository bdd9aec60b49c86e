"""What numbers say about the layout they are in."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgecnn_export.head_evidence import (
    are_corners,
    are_logits,
    columns_of,
    coordinate_unit,
    corners_share,
    keypoint_columns,
    nonzero_rows,
    sum_to_one,
    whole_numbers,
)

SEEDS = st.integers(0, 2**32 - 1)
ANYTHING = arrays(
    np.float32, st.tuples(st.integers(0, 6), st.just(5)), elements=st.floats(width=32)
)
SIDE = 320


def boxes(seed: int, rows: int = 60, side: float = SIDE) -> Any:
    """Centers and sizes all over a square picture."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.02, 0.4, (rows, 4))
    values[:, :2] = rng.uniform(0.05, 0.95, (rows, 2))
    values[0] = (0.9, 0.9, 0.4, 0.4)
    return (values * side).astype(np.float32)


@given(rows=ANYTHING)
def test_no_value_is_too_odd(rows: Any) -> None:
    columns = columns_of(rows)
    assert np.isfinite(columns.reach).all()
    assert (columns.low <= columns.high).all()
    assert corners_share(rows[:, :4]) is None or len(nonzero_rows(rows[:, :4]))
    assert coordinate_unit(rows[:, :4], SIDE, SIDE) in {"nothing", "fractions", "cells", "pixels"}
    assert isinstance(whole_numbers(rows[:, 4]), bool)
    assert isinstance(sum_to_one(rows), bool)
    assert isinstance(are_logits(rows), bool)


@given(seed=SEEDS, value=st.floats(1.02, 1e6), column=st.integers(0, 6), negative=st.booleans())
def test_a_single_value_outside_is_seen(
    seed: int, value: float, column: int, negative: bool
) -> None:
    rows = np.random.default_rng(seed).uniform(0, 1, (50, 7)).astype(np.float32)
    assert not columns_of(rows).outside.any()
    rows[seed % 50, column] = -value if negative else value
    assert columns_of(rows).outside.nonzero()[0].tolist() == [column]


@given(seed=SEEDS)
def test_the_unit_of_boxes(seed: int) -> None:
    centers = boxes(seed)
    assert coordinate_unit(centers, SIDE, SIDE) == "pixels"
    assert coordinate_unit(centers / SIDE, SIDE, SIDE) == "fractions"
    assert coordinate_unit(centers / 8, SIDE, SIDE) == "cells"
    assert coordinate_unit(centers * 0, SIDE, SIDE) == "nothing"
    offsets = np.random.default_rng(seed).normal(0.5, 1, (60, 4)).astype(np.float32)
    assert coordinate_unit(offsets, SIDE, SIDE) == "cells"


@given(seed=SEEDS, padding=st.integers(0, 200))
def test_corners_are_told_from_centers(seed: int, padding: int) -> None:
    centers = boxes(seed)
    half = centers[:, 2:] / 2
    corners = np.concatenate([centers[:, :2] - half, centers[:, :2] + half], 1)
    padded = np.concatenate([corners, np.zeros((padding, 4), np.float32)])
    assert are_corners(padded)
    assert not are_corners(centers)
    assert not are_corners(np.zeros((padding, 4), np.float32))


@given(seed=SEEDS)
def test_scores_by_their_sums_and_signs(seed: int) -> None:
    logits = np.random.default_rng(seed).normal(-5, 2, (80, 4)).astype(np.float32)
    logits[0] -= 1
    sigmoid = 1 / (1 + np.exp(-logits))
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert (are_logits(logits), are_logits(sigmoid), are_logits(softmax)) == (True, False, False)
    assert (sum_to_one(softmax), sum_to_one(sigmoid)) == (True, False)
    assert not sum_to_one(np.ones((5, 1), np.float32))


@pytest.mark.parametrize(
    ("column", "whole"),
    [([0, 1, 79], True), ([0, 0.4, 2], False), ([-1, 3], True), ([np.nan, 2], True), ([], True)],
)
def test_class_numbers_are_whole(column: list[float], whole: bool) -> None:
    assert whole_numbers(np.array(column, np.float32)) == whole


@pytest.mark.parametrize(
    ("outside", "expected"),
    [("110" * 17, (17, 3)), ("11" * 5, (5, 2)), ("111" * 2, (3, 2)), ("1" * 7, None), ("", None)],
)
def test_key_points_by_the_columns_that_are_coordinates(
    outside: str, expected: tuple[int, int] | None
) -> None:
    assert keypoint_columns(np.array([digit == "1" for digit in outside], bool)) == expected
