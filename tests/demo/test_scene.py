from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecnn.demo.clip import write_clip
from edgecnn.demo.scene import AFTER, FPS, HEIGHT, WIDTH, WINDOW, Scene
from edgecnn.demo.tiles import MATERIALS, PATCH, TILE, draw_tile
from edgecnn_runtime.errors import EdgecnnError


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(5, 10)


def test_every_digit_comes_as_often_as_every_other(scene: Scene) -> None:
    assert sorted(tile.digit for tile in scene.tiles) == list(range(10))
    frames = [tile.frame for tile in scene.tiles]
    assert frames == sorted(frames)
    assert min(np.diff(frames)) > 15
    assert scene.length == frames[-1] + AFTER


def test_a_frame_is_the_same_whenever_it_is_drawn(scene: Scene) -> None:
    first = scene.frame(30)
    scene.frame(3)
    assert first.shape == (HEIGHT, WIDTH, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, scene.frame(30))
    assert np.array_equal(first, Scene(5, 10).frame(30))
    assert not np.array_equal(first, Scene(6, 10).frame(30))


def test_the_truth_is_when_a_tile_is_in_the_middle_of_the_window() -> None:
    """What differs from the empty belt is the tile."""
    scene = Scene(8, 3)
    x, y, w, h = WINDOW
    empty = scene.frame(0)[y : y + h, x : x + w].astype(int)
    for tile in scene.tiles:
        shown = scene.frame(tile.frame)[y : y + h, x : x + w].astype(int)
        changed = np.abs(cv2.blur((shown - empty).astype(np.float32), (9, 9))).max(axis=2) > 25
        columns = np.flatnonzero(changed[h // 3 : 2 * h // 3].mean(axis=0) > 0.3)
        middle = (columns[0] + columns[-1]) / 2
        assert abs(middle - w / 2) < 14


def test_between_two_tiles_the_window_shows_none_whole(scene: Scene) -> None:
    first, second = scene.tiles[2], scene.tiles[3]
    assert (second.frame - first.frame) / 2 * 11 > TILE / 2


def test_a_tile_stays_in_its_patch() -> None:
    for seed in range(12):
        patch = draw_tile(seed % 10, np.random.default_rng(seed))
        assert patch.color.shape == (PATCH, PATCH, 3)
        assert patch.alpha.shape == (PATCH, PATCH, 1)
        assert 0 <= patch.alpha.min() <= patch.alpha.max() <= 1.001
        rim = np.concatenate([patch.alpha[0], patch.alpha[-1], patch.alpha[:, 0]])
        assert rim.max() < 0.01


def test_every_material_is_used() -> None:
    assert len(MATERIALS) >= 5
    for make in MATERIALS:
        surface, ink = make(np.random.default_rng(0))
        assert surface.shape == (TILE, TILE, 3)
        # what is written on it can be seen
        assert np.abs(surface.mean(axis=(0, 1)) - ink).max() > 60


def test_a_clip_is_a_video_that_plays(scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(scene, path, range(10, 22))
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(FPS, rel=0.05)
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    assert len(frames) == 12
    difference = np.abs(frames[0].astype(int) - scene.frame(10).astype(int)).mean()
    assert difference < 8


def test_a_clip_that_cannot_be_written_says_so(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(EdgecnnError):
        write_clip(scene, tmp_path / "absent" / "clip.mp4", range(1))
