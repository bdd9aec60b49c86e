"""Objects that are turned or seen in perspective, cut out upright and back."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.stages.align import FACE_LAYOUT, FACE_SIDE, align_face, clockwise, rectify
from edgecnn_runtime.types import Point

coordinate = st.floats(allow_nan=True, allow_infinity=True, width=32)
angles = st.floats(-math.pi, math.pi)


def to_frame(matrix: np.ndarray, x: float, y: float) -> tuple[float, float]:
    u, v, w = matrix @ (x, y, 1.0)
    return float(u / w), float(v / w)


@given(angles, st.floats(0.1, 20), st.floats(-500, 3000), st.floats(-500, 3000))
def test_a_face_anywhere_comes_to_the_layout(
    angle: float, scale: float, x: float, y: float
) -> None:
    turn = scale * complex(math.cos(angle), math.sin(angle))
    points = []
    for layout_x, layout_y in FACE_LAYOUT:
        where = turn * complex(layout_x + 0.5, layout_y + 0.5) + complex(x, y)
        points.append((where.real, where.imag))
    warp = align_face(points)
    assert warp is not None
    assert (warp.width, warp.height) == (FACE_SIDE, FACE_SIDE)
    for (layout_x, layout_y), point in zip(FACE_LAYOUT, points, strict=True):
        back = to_frame(warp.matrix, layout_x + 0.5, layout_y + 0.5)
        assert math.dist(back, point) < 1e-6 * (1 + abs(x) + abs(y) + 112 * scale)


def umeyama(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The paper's formulas (40) to (42), for points [N,2]; the textbook way to compare with."""
    mean_s, mean_t = source.mean(0), target.mean(0)
    covariance = (target - mean_t).T @ (source - mean_s) / len(source)
    u, d, vt = np.linalg.svd(covariance)
    s = np.diag([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ s @ vt
    scale = np.trace(np.diag(d) @ s) / ((source - mean_s) ** 2).sum(1).mean()
    matrix = np.eye(3)
    matrix[:2, :2] = scale * rotation
    matrix[:2, 2] = mean_t - scale * rotation @ mean_s
    return matrix


@given(st.integers(0, 10_000))
def test_it_is_umeyamas_transform(seed: int) -> None:
    """Of points that no similarity transform takes to the layout."""
    rng = np.random.default_rng(seed)
    layout = np.array(FACE_LAYOUT) + 0.5
    points = layout * rng.uniform(0.5, 3) + rng.uniform(0, 900, 2) + rng.normal(0, 4, (5, 2))
    warp = align_face([(float(x), float(y)) for x, y in points])
    assert warp is not None
    expected = np.linalg.inv(umeyama(points, layout))
    np.testing.assert_allclose(warp.matrix, expected, rtol=1e-9, atol=1e-6)


def test_a_margin_shows_more_around_the_same_face() -> None:
    points = [(x * 2 + 300, y * 2 + 200) for x, y in FACE_LAYOUT]
    tight, wide = align_face(points), align_face(points, 0.25)
    assert tight is not None
    assert wide is not None
    assert wide.width == 1.5 * FACE_SIDE
    border = 0.25 * FACE_SIDE
    assert to_frame(wide.matrix, border, border) == pytest.approx(to_frame(tight.matrix, 0, 0))


@pytest.mark.parametrize("points", [
    [], [(1.0, 2.0)] * 5, [(math.nan, 0.0)] * 5, [(1.0, 1.0)] * 4,
    [(-x, y) for x, y in FACE_LAYOUT],  # mirrored: the eyes are exchanged
])  # fmt: skip
def test_what_is_no_face_is_not_aligned(points: list[Point]) -> None:
    assert align_face(points) is None


@given(st.lists(st.tuples(coordinate, coordinate), min_size=5, max_size=5))
def test_any_landmarks_are_aligned_or_not(points: list[Point]) -> None:
    warp = align_face(points)
    assert warp is None or np.isfinite(warp.matrix).all()


@given(st.lists(st.tuples(coordinate, coordinate), min_size=4, max_size=4), st.floats(0, 1))
def test_any_corners_are_rectified_or_not(corners: list[Point], margin: float) -> None:
    warp = rectify(corners, margin)
    if warp is not None:
        assert np.isfinite(warp.matrix).all()
        assert 1 <= warp.width <= 4096
        assert 1 <= warp.height <= 4096


@st.composite
def quads(draw: st.DrawFn) -> list[Point]:
    """A plate as a camera may see it: wide, a little turned, sheared and in perspective."""
    x, y = draw(st.floats(0, 1500)), draw(st.floats(0, 900))
    width, height = draw(st.floats(20, 400)), draw(st.floats(10, 120))
    wobble = st.floats(-0.15, 0.15)
    side = min(width, height)
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    return [(cx + side * draw(wobble), cy + side * draw(wobble)) for cx, cy in corners]


@given(quads(), st.sampled_from((0.0, 0.1)), st.permutations(range(4)))
def test_the_corners_of_the_picture_are_the_corners_in_the_frame(
    corners: list[Point], margin: float, order: list[int]
) -> None:
    """In whichever order the model gives them."""
    warp = rectify([corners[i] for i in order], margin)
    assert warp is not None
    side = 1 + 2 * margin
    left, top = margin / side * warp.width, margin / side * warp.height
    right, bottom = warp.width - left, warp.height - top
    for (x, y), corner in zip(
        ((left, top), (right, top), (right, bottom), (left, bottom)), corners, strict=True
    ):
        assert math.dist(to_frame(warp.matrix, x, y), corner) < 0.01


def test_a_plate_that_is_seen_askew_is_read_upright() -> None:
    plate = np.full((40, 160, 3), 255, np.uint8)
    plate[8:32, 16:32] = 0
    plate[8:32, 100:140] = (0, 0, 200)
    corners = [(205.0, 110.0), (350.0, 132.0), (342.0, 178.0), (210.0, 150.0)]
    matrix = cv2.getPerspectiveTransform(
        np.array([(0, 0), (160, 0), (160, 40), (0, 40)], np.float32), np.array(corners, np.float32)
    )
    frame = cv2.warpPerspective(plate, matrix, (640, 360))
    warp = rectify(corners)
    assert warp is not None
    upright = cv2.warpPerspective(
        frame, warp.matrix, (warp.width, warp.height), flags=cv2.WARP_INVERSE_MAP
    )
    expected = cv2.resize(plate, (warp.width, warp.height), interpolation=cv2.INTER_AREA)
    assert np.abs(upright.astype(int) - expected).mean() < 8


@pytest.mark.parametrize("corners", [
    [(0.0, 0.0), (100.0, 0.0), (50.0, 10.0), (50.0, 100.0)],  # an arrow's head
    [(0.0, 0.0), (100.0, 100.0), (200.0, 200.0), (300.0, 300.0)],
    [(5.0, 5.0)] * 4,
    [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)],
])  # fmt: skip
def test_what_is_no_quadrangle_is_not_rectified(corners: list[Point]) -> None:
    assert rectify(corners) is None


def test_corners_are_put_in_order() -> None:
    corners = [(10.0, 12.0), (90.0, 8.0), (95.0, 40.0), (8.0, 44.0)]
    assert clockwise([corners[i] for i in (2, 0, 3, 1)]) == corners
