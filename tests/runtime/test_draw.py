"""Drawing: on a copy of the frame, where it belongs, whatever the result or the size."""

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.draw import PALETTE, Canvas, font_size, thickness
from edgecnn_runtime.sinks.annotator import Annotator
from edgecnn_runtime.tasks import TASKS
from edgecnn_runtime.text import TextRenderer
from edgecnn_runtime.types import (
    Box,
    Classification,
    Detection,
    Embedding,
    Frame,
    FrameResult,
    Reading,
    Timings,
)

COLORS = Annotator(["red", "green", "blue", "gray"])
SCORES = np.array([0.1, 0.7, 0.15, 0.05], np.float32)
ANYTHING = [
    Classification("green", 1, 0.7, SCORES),
    Classification("on", 0, 0.7, np.array([0.7], np.float32)),
    Reading("AB 123", 0.93, (0.93,) * 6),
    Reading("苏A·12345", 0.93, (0.93,) * 8),
    Reading("", 1.0),
    Embedding(np.zeros(128, np.float32)),
    [],
    [Detection(Box(10, 10, 40, 50), 0.9, "face", 0, ((20.0, 20.0), (30.0, 20.0)))],
]


TASK_OF = {Classification: "classify", Reading: "ocr", list: "detect", Embedding: "embed"}


def annotate(
    annotator: Annotator, pixels: np.ndarray, result: Any, *, caption: str = ""
) -> np.ndarray:
    frame = Frame(pixels, 0, 0.0, None, "camera")
    timings = Timings(0.0, 0.0, 0.0, 0.0)
    annotated = FrameResult(frame, TASK_OF[type(result)], result, None, timings)
    return annotator.annotate(annotated, caption=caption)


def gray(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


@pytest.mark.parametrize("result", ANYTHING, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("size", [(1, 1), (28, 28), (480, 640), (640, 360), (2160, 3840)])
def test_anything_is_drawn_on_any_size(result: Any, size: tuple[int, int]) -> None:
    pixels = annotate(COLORS, gray(*size), result, caption="25.0 fps   8.1 ms   age 63 ms")
    assert pixels.shape == (*size, 3)
    assert (pixels != 128).any()


def test_the_frame_itself_stays_as_it_was() -> None:
    frame = gray(240, 320)
    frame.setflags(write=False)
    drawing = annotate(COLORS, frame, ANYTHING[-1])
    assert (frame == 128).all()
    assert (drawing != 128).any()
    assert annotate(COLORS, frame, []) is drawing  # one buffer for all frames of a size
    assert (drawing == 128).all()


@given(
    st.tuples(*[st.floats(width=32)] * 4),
    st.lists(st.tuples(*[st.floats(width=32)] * 2), max_size=5),
    st.text(max_size=20),
    st.integers(0, 1000),
)
def test_results_outside_the_picture_do_no_harm(
    corners: tuple[float, ...], points: list[tuple[float, float]], label: str, index: int
) -> None:
    box = Box(*corners)
    annotate(COLORS, gray(120, 160), [Detection(box, 0.5, label, index, tuple(points))])


def test_a_box_is_where_it_was_found_in_the_color_of_its_class() -> None:
    for index in (0, 1, len(PALETTE)):
        detection = Detection(Box(200, 150, 400, 350), 0.9, "x", index)
        pixels = annotate(COLORS, gray(480, 640), [detection])
        colored = np.abs(pixels.astype(int) - PALETTE[index % len(PALETTE)]).max(axis=2) < 8
        rows, columns = np.nonzero(colored[151:])  # below its tag
        assert columns.min() == pytest.approx(200, abs=4)
        assert columns.max() == pytest.approx(400, abs=4)
        assert rows.max() + 151 == pytest.approx(350, abs=4)
        assert (pixels[180:320, 230:370] == 128).all()


def test_a_tag_stays_in_the_picture() -> None:
    """Of a box at the upper right corner: inside it, and moved to the left."""
    detection = Detection(Box(560, 2, 640, 200), 0.9, "a long class name", 0)
    pixels = annotate(COLORS, gray(480, 640), [detection])
    assert (pixels[:100, 300:556] != 128).any()


def test_a_roi_is_framed_and_its_reading_stands_below() -> None:
    annotator = Annotator(roi=(100, 100, 200, 80))
    pixels = annotate(annotator, gray(480, 640), Reading("123", 0.9))
    assert (pixels[100, 100:120] == 255).any()
    assert (pixels[130:150, 130:270] == 128).all()
    assert (pixels[190:230, 110:200] != 128).any()


def test_a_polygon_runs_through_its_corners_and_is_closed() -> None:
    pixels = gray(240, 320)
    canvas = Canvas(pixels)
    canvas.polygon([(50, 50), (250, 80), (200, 200)], (0, 0, 255))
    canvas.polygon([(float("nan"), 0), (100, 0), (100, 100)], (0, 255, 0))
    red = (pixels == (0, 0, 255)).all(axis=2)
    assert all(red[y, x] for x, y in [(50, 50), (250, 80), (200, 200), (125, 125)])
    assert not red[120, 180]
    assert not (pixels == (0, 255, 0)).all(axis=2).any()


def test_without_letters_only_outlines_are_drawn() -> None:
    pixels = gray(240, 320)
    canvas = Canvas(pixels, labels=["a", "b"])
    canvas.size = 0
    TASKS["classify"].draw(canvas, ANYTHING[0])
    assert (pixels == 128).all()
    TASKS["detect"].draw(canvas, [Detection(Box(60, 60, 200, 200), 0.9, "face", 0)])
    assert (pixels != 128).any()
    assert (pixels[:50] == 128).all()  # where the tag would be


@pytest.mark.parametrize("text", ["face 0.93", "苏A88888", "ÄÖ", ""])
def test_text_is_as_wide_as_said(text: str) -> None:
    letters = TextRenderer()
    pixels = np.zeros((100, 600, 3), np.uint8)
    letters.put(pixels, text, (50, 70), 32, (255, 255, 255))
    columns = np.nonzero(pixels.any(axis=(0, 2)))[0]
    width = letters.width(text, 32)
    if not text:
        assert (len(columns), width) == (0, pytest.approx(0, abs=2))
        return
    assert columns.min() >= 46
    assert columns.max() == pytest.approx(50 + width, abs=8)


def test_strokes_stand_in_for_letters_where_opencv_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OpenCV 4, or OpenCV 5 without its fonts."""
    monkeypatch.delattr(cv2, "FontFace", raising=False)
    annotator = Annotator(["red", "green", "blue", "gray"])
    for result in ANYTHING:
        assert (annotate(annotator, gray(480, 640), result, caption="8.1 ms") > 200).any()


def test_lines_and_letters_grow_with_the_picture() -> None:
    sizes = [gray(h, w) for h, w in ((120, 160), (480, 640), (1080, 1920), (2160, 3840))]
    assert [font_size(size) for size in sizes] == [12, 13, 28, 57]
    assert [thickness(size) for size in sizes] == [2, 2, 4, 7]
