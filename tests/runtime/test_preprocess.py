"""Frames into slots and boxes back to frames, on generated sizes."""

import tracemalloc

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.bundle.manifest import Input, Normalization
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.preprocess import (
    Preprocessor,
    Warp,
    compute_geometry,
    identity_geometry,
    prepare,
)

RAW = Normalization(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), origin="graph")
sizes = st.integers(1, 4096)
small = st.integers(1, 96)


def spec(width=64, height=48, **fields) -> Input:
    return Input(width=width, height=height, color="bgr", normalization=RAW, **fields)


@st.composite
def inputs(draw, side=sizes, resizes=("stretch", "letterbox", "crop")) -> Input:
    return spec(
        draw(side),
        draw(side),
        resize=draw(st.sampled_from(resizes)),
        interpolation=draw(st.sampled_from(("linear", "area"))),
        crop_pct=draw(st.floats(0.05, 1.0)),
        pad_position=draw(st.sampled_from(("center", "corner"))),
        pad=(1, 2, 3),
    )


@st.composite
def rois(draw, width, height):
    if draw(st.booleans()):
        return None
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y))


@given(st.data(), inputs(), sizes, sizes)
def test_geometry_stays_inside_frame_and_input(data, spec, width, height):
    roi = data.draw(rois(width, height))
    geometry = compute_geometry(spec, width, height, roi)
    x1, y1, x2, y2 = geometry.source
    x, y, w, h = roi or (0, 0, width, height)
    assert x <= x1 < x2 <= x + w
    assert y <= y1 < y2 <= y + h
    left, top, right, bottom = geometry.target
    assert 0 <= left < right <= spec.width
    assert 0 <= top < bottom <= spec.height


@given(st.data(), inputs(), sizes, sizes)
def test_the_corners_of_the_target_are_the_corners_of_the_source(data, spec, width, height):
    geometry = compute_geometry(spec, width, height, data.draw(rois(width, height)))
    left, top, right, bottom = geometry.target
    corners = np.array([[left, top], [right, bottom]], np.float32)
    found = geometry.points_to_frame(corners)
    expected = np.array(geometry.source, np.float32).reshape(2, 2)
    scale = max(width / (right - left), height / (bottom - top))
    rounding = 4 * np.finfo(np.float32).eps * scale * max(spec.width, spec.height)
    assert np.abs(found - expected).max() < 0.01 + rounding


@given(st.data(), inputs(), sizes, sizes)
def test_points_come_back(data, spec, width, height):
    geometry = compute_geometry(spec, width, height, data.draw(rois(width, height)))
    points = np.array([[0.3 * width, 0.7 * height], [0, 0], [width, height]], np.float32)
    back = geometry.points_to_frame((points - geometry.shift[:2]) / geometry.gain[:2])
    assert np.abs(back - points).max() <= 1e-3 * max(width, height, spec.width, spec.height)


@st.composite
def warps(draw, perspective=False):
    """A picture that is turned, scaled and moved, perhaps seen in perspective."""
    width, height = draw(st.integers(8, 400)), draw(st.integers(8, 400))
    angle, scale = draw(st.floats(-3.2, 3.2)), draw(st.floats(0.1, 8))
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    x, y = draw(st.floats(-200, 2000)), draw(st.floats(-200, 2000))
    matrix = np.array([[cos, -sin, x], [sin, cos, y], [0.0, 0.0, 1.0]])
    if perspective:
        tilt = st.floats(-0.4, 0.4)
        matrix[2, :2] = draw(tilt) / width, draw(tilt) / height
    return Warp(width, height, matrix)


def load_warp(spec, warp, frame):
    buffer = np.empty((1, spec.height, spec.width, 3), np.uint8)
    return buffer[0], Preprocessor(spec, buffer).load_frame(frame, 0, warp)


@given(inputs(small), st.booleans().flatmap(lambda perspective: warps(perspective)), st.data())
def test_points_of_a_warp_go_to_the_frame_and_back(spec, warp, data):
    _, geometry = load_warp(spec, warp, np.zeros((48, 64, 3), np.uint8))
    left, top, right, bottom = geometry.target
    u = data.draw(st.floats(left, right)), data.draw(st.floats(top, bottom))
    (x, y) = geometry.points_to_frame(np.array([u], np.float32))[0]
    back = np.linalg.inv(warp.matrix) @ (x, y, 1.0)
    picture = back[:2] / back[2]
    expected = np.array(u) * geometry.gain[:2] + geometry.shift[:2]
    assert np.abs(picture - expected).max() < 1e-3 * (1 + max(warp.width, warp.height) / 8)


@given(inputs(small), warps(), st.lists(st.floats(0, 96, width=32), min_size=4, max_size=4))
def test_a_box_of_a_warp_surrounds_its_corners(spec, warp, values):
    x1, x2 = sorted(values[:2])
    y1, y2 = sorted(values[2:])
    _, geometry = load_warp(spec, warp, np.zeros((1000, 1600, 3), np.uint8))
    corners = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], np.float32)
    box = geometry.boxes_to_frame(np.array([[x1, y1, x2, y2]], np.float32))[0]
    expected = geometry.points_to_frame(corners)
    low = np.clip(expected.min(0), 0, (1600, 1000))
    high = np.clip(expected.max(0), 0, (1600, 1000))
    np.testing.assert_allclose(box, np.concatenate((low, high)), rtol=1e-6, atol=1e-3)


@given(st.data(), inputs(small), st.integers(8, 96), st.integers(8, 96), st.integers(0, 2**32 - 1))
def test_an_upright_warp_shows_what_the_region_shows(data, spec, width, height, seed):
    """The same half pixels, letterbox and crop, whether it is resized or warped."""
    spec = msgspec.structs.replace(spec, interpolation="linear")
    frame = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    frame = cv2.resize(cv2.resize(frame, (4, 4)), (width, height))  # smooth
    x, y = data.draw(st.integers(0, width - 8)), data.draw(st.integers(0, height - 8))
    w, h = data.draw(st.integers(8, width - x)), data.draw(st.integers(8, height - y))
    warp = Warp(w, h, np.array([[1.0, 0, x], [0, 1.0, y], [0, 0, 1.0]]))
    warped, geometry = load_warp(spec, warp, frame)
    buffer = np.empty((1, spec.height, spec.width, 3), np.uint8)
    upright = Preprocessor(spec, buffer).load_frame(frame, 0, (x, y, w, h))
    assert geometry.target == upright.target
    left, top, right, bottom = geometry.target
    if upright.gain.max() < 2:
        x, y = (1 + np.ceil(1 / upright.gain[:2])).astype(int)  # what lies outside blends in
        inner = np.s_[top + y : bottom - y, left + x : right - x]
        difference = np.abs(warped[inner].astype(int) - buffer[0][inner])
        assert difference.max(initial=0) <= 12
    bars = np.ones((spec.height, spec.width), bool)
    bars[top:bottom, left:right] = False
    assert (warped[bars] == spec.pad).all()
    points = np.array([[3.0, 5.0], [20.0, 1.0]], np.float32)
    np.testing.assert_allclose(
        geometry.points_to_frame(points.copy()), upright.points_to_frame(points), atol=1e-3
    )


def test_a_warp_hits_the_very_pixel():
    """A dot comes where its coordinates say, turned by a right angle and in perspective, too."""
    frame = np.zeros((300, 400, 3), np.uint8)
    frame[120:124, 210:214] = 255  # its center is at 212, 122
    turned = np.array([[0.0, -2.0, 260.0], [2.0, 0.0, 60.0], [0.0, 0.0, 1.0]])
    tilted = np.array([[1.5, 0.1, 150.0], [-0.2, 1.4, 60.0], [0.0004, 0.0007, 1.0]])
    for matrix in (turned, tilted):
        picture, geometry = load_warp(spec(96, 96), Warp(96, 96, matrix), frame)
        rows, columns = np.nonzero(picture[:, :, 0] > 127)
        center = np.array([[columns.mean() + 0.5, rows.mean() + 0.5]], np.float32)
        np.testing.assert_allclose(geometry.points_to_frame(center)[0], (212, 122), atol=0.75)


def test_outside_of_the_frame_a_warp_shows_the_color_of_the_bars():
    shifted = np.array([[1.0, 0.0, -32.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    frame = np.full((48, 64, 3), 200, np.uint8)
    picture, _ = load_warp(spec(64, 48, pad=(7, 8, 9)), Warp(64, 48, shifted), frame)
    assert (picture[:, :31] == (7, 8, 9)).all()
    assert (picture[:, 33:] == 200).all()


@given(inputs(), sizes, sizes, st.lists(st.floats(-1e4, 1e4, width=32), min_size=4, max_size=4))
def test_boxes_end_at_the_frame(spec, width, height, box):
    geometry = compute_geometry(spec, width, height)
    x1, y1, x2, y2 = geometry.boxes_to_frame(np.array([box], np.float32))[0]
    assert 0 <= x1 <= width
    assert 0 <= x2 <= width
    assert 0 <= y1 <= height
    assert 0 <= y2 <= height


@given(inputs(small, ("letterbox",)), small, small)
def test_letterbox_keeps_the_aspect_ratio_and_fills_one_side(spec, width, height):
    left, top, right, bottom = compute_geometry(spec, width, height).target
    assert right - left == spec.width or bottom - top == spec.height
    scale = min(spec.width / width, spec.height / height)
    assert abs((right - left) - width * scale) <= 1
    assert abs((bottom - top) - height * scale) <= 1
    if spec.pad_position == "corner":
        assert (left, top) == (0, 0)
    else:
        assert 0 <= (spec.width - right) - left <= 1
        assert 0 <= (spec.height - bottom) - top <= 1


def test_crop_shows_what_resize_then_center_crop_shows():
    """The textbook way: short side to 224 / 0.875 = 256, then the middle 224."""
    ramp = np.linspace(0, 255, 1920, dtype=np.float32)[None].repeat(1080, 0)
    frame = np.repeat(ramp[..., None], 3, 2).astype(np.uint8)
    resized = cv2.resize(frame, (455, 256))
    textbook = resized[16:240, 115:339]
    found = prepare(spec(224, 224, resize="crop", crop_pct=0.875), [frame])[0]
    assert np.abs(found.astype(int) - textbook).max() <= 1


@given(st.data(), inputs(small), small, small, st.integers(0, 2**32 - 1))
def test_a_slot_holds_the_resized_part_and_the_pad(data, spec, width, height, seed):
    frame = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    roi = data.draw(rois(width, height))
    buffer = np.full((2, spec.height, spec.width, 3), 77, np.uint8)
    geometry = Preprocessor(spec, buffer).load_frame(frame, 1, roi)
    x1, y1, x2, y2 = geometry.source
    left, top, right, bottom = geometry.target
    size = (right - left, bottom - top)
    shrinks = x2 - x1 >= size[0] and y2 - y1 >= size[1]
    area = spec.interpolation == "area" and shrinks
    part = np.ascontiguousarray(frame[y1:y2, x1:x2])
    expected = np.empty_like(buffer[1])
    expected[:] = spec.pad
    expected[top:bottom, left:right] = cv2.resize(
        part, size, interpolation=cv2.INTER_AREA if area else cv2.INTER_LINEAR
    ).reshape(size[1], size[0], 3)
    assert (buffer[1] == expected).all()
    assert (buffer[0] == 77).all(), "another slot was touched"


def test_the_pad_is_painted_again_when_the_shape_changes():
    letterbox = spec(64, 64, resize="letterbox", pad=(9, 9, 9))
    buffer = np.zeros((1, 64, 64, 3), np.uint8)
    preprocessor = Preprocessor(letterbox, buffer)
    wide, tall = np.full((20, 80, 3), 200, np.uint8), np.full((80, 20, 3), 100, np.uint8)
    for frame in (wide, tall, wide, wide, tall):
        preprocessor.load_frame(frame)
        assert (buffer == prepare(letterbox, [frame])).all()


def test_pixels_at_the_models_own_size_pass_unchanged():
    frame = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    for resize in ("stretch", "letterbox", "crop"):
        assert (prepare(spec(resize=resize), [frame])[0] == frame).all()


def test_strided_frames_are_read_in_place():
    big = np.random.default_rng(0).integers(0, 256, (100, 120, 3)).astype(np.uint8)
    view = big[10:90, 5:105]
    assert (prepare(spec(), [view]) == prepare(spec(), [view.copy()])).all()


def test_whole_is_the_identity():
    points = np.array([[3.0, 4.0]], np.float32)
    assert (
        identity_geometry(spec(resize="crop", crop_pct=0.5)).points_to_frame(points.copy())
        == points
    ).all()


def test_nothing_the_size_of_a_picture_is_allocated():
    for resize in ("stretch", "letterbox", "crop"):
        made = spec(320, 256, resize=resize)
        preprocessor = Preprocessor(made, np.empty((1, 256, 320, 3), np.uint8))
        frame = np.zeros((720, 1280, 3), np.uint8)
        tilted = np.array([[1.5, 0.1, 150.0], [-0.2, 1.4, 60.0], [0.0004, 0.0, 1.0]])
        flat = np.diag([1.5, 1.5, 1.0])
        regions = None, Warp(300, 200, tilted), Warp(300, 200, flat)
        for region in regions:
            preprocessor.load_frame(frame, 0, region)
        tracemalloc.start()
        for region in regions * 3:
            preprocessor.load_frame(frame, 0, region)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20_000, resize


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (None, "could not be read"),
        ("picture.jpg", "not str"),
        (np.zeros((4, 4, 3), np.float32), "the camera's bytes"),
        (np.zeros((4, 4, 3), np.uint16), "the camera's bytes"),
        (np.zeros((4, 4), np.uint8), "GRAY2BGR"),
        (np.zeros((4, 4, 1), np.uint8), "GRAY2BGR"),
        (np.zeros((4, 4, 4), np.uint8), "BGRA2BGR"),
        (np.zeros((1, 4, 4, 3), np.uint8), "batch()"),
        (np.zeros((3, 4, 4), np.uint8), "BGRA2BGR"),
        (np.zeros((3, 4, 9), np.uint8), "transpose(1, 2, 0)"),
        (np.zeros((4, 4, 2), np.uint8), "blue, green, red"),
        (np.zeros((0, 4, 3), np.uint8), "empty"),
        (np.uint8(3), "not uint8"),
    ],
)
def test_anything_but_a_picture_is_refused_with_the_remedy(frame, says):
    with pytest.raises(UsageError, match="frame is") as caught:
        prepare(spec(), [frame])
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "roi", [(0, 0, 0, 5), (-1, 0, 5, 5), (60, 0, 5, 5), (0, 47, 1, 2), (0, 0, 65, 1)]
)
def test_a_region_outside_the_frame_is_refused(roi):
    with pytest.raises(UsageError, match="not inside the 64x48 frame"):
        Preprocessor(spec(), np.empty((1, 48, 64, 3), np.uint8)).load_frame(
            np.zeros((48, 64, 3), np.uint8), 0, roi
        )


def test_a_buffer_of_another_shape_is_a_bug():
    with pytest.raises(ValueError, match="the buffer is"):
        Preprocessor(spec(), np.empty((1, 64, 48, 3), np.uint8))
