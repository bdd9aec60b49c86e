"""Scenes agree with their truth, whatever their seed."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn.train.plates.scenes import Scene, SceneMaker, box_of
from edgecnn.train.plates.scenes_backgrounds import read_backgrounds
from edgecnn.train.plates.scenes_faces import Face
from edgecnn.train.plates.scenes_painter import Painter
from edgecnn.train.plates.scenes_view import choose_view, shift_to
from edgecnn_runtime.errors import UsageError

SIZE = (320, 192)
GREEN, RED = (40, 220, 40), (40, 40, 220)


def two_colored(number: int) -> Face:
    """A plate that is green on its left and red on its right."""
    h = (48, 64, 100)[number % 3]
    pixels = np.empty((h, 200, 3), np.uint8)
    pixels[:, :100], pixels[:, 100:] = GREEN, RED
    return Face(pixels, np.full((h, 200), 255, np.uint8))


@pytest.fixture(scope="module")
def maker() -> SceneMaker:
    return SceneMaker(two_colored, [])


def plates_of(maker: SceneMaker, count: int) -> list[Scene]:
    return [maker.scene(seed, SIZE) for seed in range(count)]


@given(seed=st.integers(0, 1 << 62))
@settings(max_examples=40, deadline=None)
def test_every_plate_is_whole_and_its_corners_go_clockwise(seed: int) -> None:
    scene = SceneMaker(two_colored, []).scene(seed, SIZE)
    assert scene.pixels.shape == (SIZE[1], SIZE[0], 3)
    assert scene.pixels.dtype == np.uint8
    for corners in scene.plates:
        x1, y1, x2, y2 = box_of(corners)
        assert 0 <= x1 < x2 <= SIZE[0]
        assert 0 <= y1 < y2 <= SIZE[1]
        assert cv2.contourArea(corners, oriented=True) > 0
        assert cv2.isContourConvex(corners)


def test_a_seed_gives_one_scene(maker: SceneMaker) -> None:
    for seed in range(6):
        one, other = maker.scene(seed, SIZE), maker.scene(seed, SIZE)
        assert np.array_equal(one.pixels, other.pixels)
        assert np.array_equal(one.plates, other.plates)
    assert not np.array_equal(maker.scene(1, SIZE).pixels, maker.scene(2, SIZE).pixels)


def test_there_are_empty_scenes_and_small_and_large_plates(maker: SceneMaker) -> None:
    scenes = plates_of(maker, 60)
    widths = [np.ptp(corners[:, 0]) for scene in scenes for corners in scene.plates]
    assert any(not len(scene.plates) for scene in scenes)
    assert min(widths) < 24
    assert max(widths) > 110


def test_the_first_corner_is_the_upper_left_one_of_the_plate_itself(maker: SceneMaker) -> None:
    greener = total = 0
    for scene in plates_of(maker, 40):
        for corners in scene.plates:
            if np.ptp(corners[:, 0]) < 40:
                continue
            shares = np.array([[0.25, 0.5], [0.75, 0.5]])
            left, right = (_color(scene, corners, share) for share in shares)
            total += 1
            greener += int(left[1]) - int(left[2]) > int(right[1]) - int(right[2])
    assert total > 10
    assert greener > 0.75 * total  # infrared and darkness have no colors


def _color(scene: Scene, corners: np.ndarray, share: np.ndarray) -> np.ndarray:
    top = corners[0] + share[0] * (corners[1] - corners[0])
    low = corners[3] + share[0] * (corners[2] - corners[3])
    x, y = (top + share[1] * (low - top)).astype(int)
    return np.asarray(scene.pixels[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].mean((0, 1)))


@given(
    seed=st.integers(0, 1 << 31),
    x=st.floats(-1, 1),
    y=st.floats(-1, 1),
    at=st.tuples(st.floats(0, 320), st.floats(0, 192)),
)
def test_a_view_puts_a_point_where_it_is_asked_to(
    seed: int, x: float, y: float, at: tuple[float, float]
) -> None:
    view = shift_to(choose_view(np.random.default_rng(seed), 50.0), (x, y), at)
    placed = Painter(np.zeros((8, 8, 3), np.uint8), view).place([(x, y)])
    assert placed[0] == pytest.approx(at, abs=0.01)


def test_photographs_are_read_and_other_files_are_not(tmp_path: Path) -> None:
    photograph = np.random.default_rng(0).integers(0, 256, (600, 2400, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "street.png"), photograph)
    cv2.imwrite(str(tmp_path / "icon.png"), photograph[:64, :64])
    (tmp_path / "notes.jpg").write_text("no picture")
    (read,) = read_backgrounds([str(tmp_path)])
    assert read.shape[1] == 1000
    scene = SceneMaker(two_colored, [read]).scene(3, SIZE)
    assert scene.pixels.std() > 5


def test_a_folder_without_photographs_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no photographs"):
        read_backgrounds([str(tmp_path)])
    with pytest.raises(UsageError, match="no such folder"):
        read_backgrounds([str(tmp_path / "missing")])
