"""How far apart the boxes of two runs are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_export.quantization.detection_distance import LOST, detection_distance
from edgecnn_runtime.types import Box, Detection, Reading


def found(x: float, score: float = 0.9, index: int = 0, nose: float | None = None) -> Detection:
    points = () if nose is None else ((nose, 5.0),)
    return Detection(Box(x, 0, x + 10, 10), score, "face", index, points)


def test_the_same_boxes_in_any_order_do_not_deviate() -> None:
    one, other = [found(0), found(50)], [found(50), found(0)]
    assert detection_distance([one, []], [other, []]) == 0.0


def test_at_the_limit_of_equality_it_is_about_one() -> None:
    score = detection_distance([[found(0)]], [[found(0, 0.9 - 0.05)]])
    place = detection_distance([[found(0)]], [[found(10 / 9)]])  # an IoU of 0.8
    assert score == pytest.approx(0.5)
    assert place == pytest.approx(0.5)
    both = detection_distance([[found(0)]], [[found(10 / 9, 0.85)]])
    assert both == pytest.approx(1.0)


@pytest.mark.parametrize("other", [[], [found(80)], [found(0, index=1)]])
def test_a_lost_box_counts_most(other: list[Detection]) -> None:
    assert detection_distance([[found(0)]], [other]) == LOST


def test_a_lost_box_that_barely_passed_counts_as_a_score_that_differs() -> None:
    barely = detection_distance([[found(0, 0.3)]], [[]], threshold=0.25)
    assert barely == pytest.approx(0.5)
    assert detection_distance([[found(0, 0.9)]], [[]], threshold=0.25) == LOST


def test_a_landmark_that_moves_counts() -> None:
    still = detection_distance([[found(0, nose=5)]], [[found(0, nose=5)]])
    moved = detection_distance([[found(0, nose=5)]], [[found(0, nose=7.5)]])
    assert still == 0.0
    assert moved == pytest.approx(1 / 3)


def test_what_is_no_list_of_boxes_does_not_count() -> None:
    assert detection_distance([Reading("A", 1.0)], [Reading("B", 1.0)]) == 0.0


boxes = st.lists(
    st.builds(found, st.floats(0, 500), st.floats(0, 1), st.integers(0, 2)), max_size=6
)


@given(boxes, boxes)
def test_it_is_symmetric_and_bounded(one: list[Detection], other: list[Detection]) -> None:
    value = detection_distance([one], [other])
    assert value == pytest.approx(detection_distance([other], [one]))
    assert 0 <= value <= LOST
