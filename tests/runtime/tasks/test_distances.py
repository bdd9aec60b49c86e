"""How far apart the boxes of two runs are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.tasks.detect import distances
from edgecnn_runtime.tasks.findings import LOST
from edgecnn_runtime.types import Box, Detection


def face(x: float, score: float = 0.9, index: int = 0, nose: float | None = None) -> Detection:
    points = () if nose is None else ((nose, 5.0),)
    return Detection(Box(x, 0, x + 10, 10), score, "face", index, points)


def mean(ours: list[Detection], reference: list[Detection], threshold: float = 0.0) -> float:
    values = distances(ours, reference, threshold)
    return sum(values) / len(values) if values else 0.0


def test_the_same_boxes_in_any_order_are_not_apart() -> None:
    assert distances([face(0), face(50)], [face(50), face(0)], 0.0) == [0.0] * 4
    assert distances([], [], 0.0) == []


def test_at_the_limit_of_equality_it_is_about_one() -> None:
    assert mean([face(0)], [face(0, 0.9 - 0.05)]) == pytest.approx(0.5)
    assert mean([face(0)], [face(10 / 9)]) == pytest.approx(0.5)  # an IoU of 0.8
    assert mean([face(0)], [face(10 / 9, 0.85)]) == pytest.approx(1.0)


@pytest.mark.parametrize("other", [[], [face(80)], [face(0, index=1)]])
def test_a_lost_box_counts_most(other: list[Detection]) -> None:
    assert mean([face(0)], other) == LOST


def test_a_lost_box_that_barely_passed_counts_as_a_score_that_differs() -> None:
    assert mean([face(0, 0.3)], [], 0.25) == pytest.approx(0.5)
    assert mean([face(0, 0.9)], [], 0.25) == LOST


def test_a_landmark_that_moves_counts() -> None:
    assert mean([face(0, nose=5)], [face(0, nose=5)]) == 0.0
    assert mean([face(0, nose=5)], [face(0, nose=7.5)]) == pytest.approx(1 / 3)


boxes = st.lists(st.builds(face, st.floats(0, 500), st.floats(0, 1), st.integers(0, 2)), max_size=6)


@given(boxes, boxes)
def test_it_is_symmetric_and_bounded(ours: list[Detection], reference: list[Detection]) -> None:
    value = mean(ours, reference)
    assert value == pytest.approx(mean(reference, ours))
    assert 0 <= value <= LOST
