"""How far rotated boxes cover each other, and limits that the numbers of all overlaps keep."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgecnn_runtime.evaluation.dataset import LabeledObject
from edgecnn_runtime.evaluation.overlaps import (
    box_overlaps,
    point_similarities,
    rotated_overlaps,
    sigmas,
)
from edgecnn_runtime.geometry import box_around, corners_of
from edgecnn_runtime.types import Box, RotatedBox

SIDES = st.floats(1.0, 60.0)
PLACES = st.floats(-30.0, 30.0)
ROTATED = st.builds(RotatedBox, PLACES, PLACES, SIDES, SIDES, st.floats(-math.pi / 2, math.pi / 2))


def rectangle(box: RotatedBox) -> tuple[tuple[float, float], tuple[float, float], float]:
    return (box.x, box.y), (box.width, box.height), math.degrees(box.angle)


def labeled(box: RotatedBox, *, crowd: bool = False, backwards: bool = False) -> LabeledObject:
    corners = corners_of(box)
    return LabeledObject(
        0, box_around(corners), corners=corners[::-1] if backwards else corners, crowd=crowd
    )


@given(ROTATED, ROTATED, st.booleans())
def test_rotated_boxes_overlap_as_opencv_has_it(
    ours: RotatedBox, other: RotatedBox, backwards: bool
) -> None:
    # where edges lie on each other, OpenCV may find nothing; the tests below have parallel boxes
    assume(abs(math.sin(2 * (ours.angle - other.angle))) > 0.01)
    _, points = cv2.rotatedRectangleIntersection(rectangle(ours), rectangle(other))
    shared = 0.0 if points is None else cv2.contourArea(cv2.convexHull(points))
    area, other_area = ours.width * ours.height, other.width * other.height
    expected = shared / (area + other_area - shared)
    overlaps = rotated_overlaps(
        [corners_of(ours)], [labeled(other, backwards=backwards), labeled(other, crowd=True)]
    )
    assert overlaps[0] == pytest.approx([expected, shared / area], abs=2e-3)


@given(ROTATED)
def test_a_rotated_box_covers_itself(box: RotatedBox) -> None:
    assert rotated_overlaps([corners_of(box)], [labeled(box)]) == pytest.approx(1.0)


@given(PLACES, PLACES, SIDES, SIDES, ROTATED)
def test_rotated_by_nothing_is_upright(
    x: float, y: float, width: float, height: float, other: RotatedBox
) -> None:
    upright = RotatedBox(x, y, width, height, 0.0)
    straight = other._replace(angle=0.0)
    boxes = box_overlaps([box_around(corners_of(upright))], [labeled(straight)])
    turned = rotated_overlaps([corners_of(upright)], [labeled(straight)])
    assert turned == pytest.approx(boxes, abs=1e-9)


def test_nothing_covers_nothing() -> None:
    flat = LabeledObject(0, Box(3, 3, 3, 9), corners=((3, 3), (3, 3), (3, 9), (3, 9)))
    assert box_overlaps([Box(3, 3, 3, 9)], [flat]).tolist() == [[0.0]]
    assert rotated_overlaps([flat.corners], [flat]).tolist() == [[0.0]]
    assert rotated_overlaps([], [flat]).shape == (0, 1)
    assert point_similarities([], [flat]).shape == (0, 1)


def test_other_skeletons_have_equal_sigmas() -> None:
    """A point that is off by its sigma, doubled, has exp(-1/2)."""
    assert sigmas(4) == (0.25,) * 4
    box = Box(0, 0, 10, 10)
    truth = LabeledObject(0, box, points=((5.0, 5.0, 2),) * 4, area=100.0)
    off = np.full((4, 2), 5.0)
    off[:, 0] += 2 * 0.25 * 10
    assert point_similarities([off], [truth]) == pytest.approx(math.exp(-0.5))
