"""Whole scenes: a rendered world with occlusion and crossing, and people in a street."""

from pathlib import Path
from types import ModuleType

import cv2
import pytest

from edgecnn_runtime import load
from edgecnn_runtime.track import Tracker, TwoPass, TwoPassTracker
from edgecnn_runtime.track.fake import OverlapTracker
from edgecnn_runtime.types import Detection

FPS, FRAMES = 25, 105
SIZE = (1920, 1080)


@pytest.fixture
def world(root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The worlds of bench/experiments/tracking.py."""
    monkeypatch.syspath_prepend(str(root / "bench" / "experiments"))
    from lib import moving_world

    return moving_world


def switches(world: ModuleType, tracker: Tracker, share: float, seed: int) -> int:
    from lib.identities import count

    sights = list(world.drop(world.render(12, 20.0, seed), share, seed))
    outputs = []
    for sight in sights:
        tracks = tracker.update(sight.detections, sight.at, (world.WIDTH, world.HEIGHT))
        outputs.append([[*t.detection.box, t.id] for t in tracks if t.state == "confirmed"])
    result = count(sights, outputs)
    assert result.missing < 0.1 * result.detections
    return int(result.switches)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_objects_that_cross_and_hide_each_other_are_not_mistaken(
    world: ModuleType, share: float
) -> None:
    """Some 9,000 detections of 130 objects at 25 fps; dropped frames change little."""
    ours = sum(switches(world, TwoPassTracker(), share, seed) for seed in range(2))
    overlaps = sum(switches(world, OverlapTracker(), share, seed) for seed in range(2))
    assert ours <= 20
    assert overlaps > 10 * ours, "the world is too easy to show anything"


def test_who_counts_the_switches_sees_them(world: ModuleType) -> None:
    from lib.identities import count

    sights = [sight for sight in world.render(12, 2.0, 0) if sight.detections]
    true = [
        [[*each.box, number] for each, number in zip(s.detections, s.truth, strict=True)]
        for s in sights
    ]
    perfect = count(sights, true)
    assert (perfect.switches, perfect.missing) == (0, 0)
    anew = [[[*row[:4], row[4] + 1000 * (i > 20)] for row in rows] for i, rows in enumerate(true)]
    before = {number for sight in sights[:21] for number in sight.truth}
    after = {number for sight in sights[21:] for number in sight.truth}
    assert count(sights, anew).switches == len(before & after)
    assert count(sights, [[] for _ in sights]).missing == perfect.detections


@pytest.fixture(scope="module")
def faces(assets: Path, yunet: Path, tmp_path_factory: pytest.TempPathFactory):
    """The detections of every frame of the street scene."""
    video = cv2.VideoCapture(str(assets / "faces" / "video.mp4"))
    with load(yunet, cache_dir=tmp_path_factory.mktemp("cache")) as model:
        detections = [model(video.read()[1]) for _ in range(FRAMES)]
    video.release()
    return detections


@pytest.mark.parametrize("rate", [25, 5])
def test_people_in_a_street_keep_their_ids(faces: list[list[Detection]], rate: int) -> None:
    """Those who are there from beginning to end, or nearly; and few ids are given in all."""
    tracker = TwoPassTracker(TwoPass(confident=0.6, doubtful=0.3))
    hits: dict[int, int] = {}
    for index in range(0, FRAMES, FPS // rate):
        for track in tracker.update(faces[index], index / FPS, SIZE):
            hits[track.id] = track.hits
    frames = len(range(0, FRAMES, FPS // rate))
    assert sum(count >= 0.8 * frames for count in hits.values()) >= 3
    assert sum(count > 2 for count in hits.values()) <= 16
