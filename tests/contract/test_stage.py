"""What every second stage must do, whoever writes the next one: it adds itself to STAGES."""

import tracemalloc
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from edgecnn_runtime.preprocess import Region
from edgecnn_runtime.stages.base import Stage
from edgecnn_runtime.stages.recognize import Recognizer
from edgecnn_runtime.types import Box, Detection, Frame, Reading, Result, Track

RNG = np.random.default_rng(3)


def make_frame(index: int = 0, size: tuple[int, int] = (480, 640)) -> Frame:
    pixels = RNG.integers(0, 255, (*size, 3), np.uint8)
    pixels.setflags(write=False)
    return Frame(pixels, index, index / 25, None, "camera")


def make_track(number: int, state: str = "confirmed", **fields: object) -> Track:
    x = 40.0 + 60 * number
    detection = Detection(Box(x, 60.0, x + 90.5, 130.25), 0.9, "plate", 0)
    values = {
        "id": number, "state": state, "detection": detection, "box": detection.box,
        "velocity": (0.0, 0.0), "first": 0.0, "last": 0.0, "hits": 3,
    }  # fmt: skip
    return Track(**{**values, **fields})


class FakeReader:
    size = 94, 24

    def __call__(self, frame: Frame, regions: Sequence[Region]) -> Sequence[Result]:
        return [Reading("AB123", 0.9, (0.9,) * 5) for _ in regions]


STAGES: dict[str, Callable[[], Stage]] = {"recognize": lambda: Recognizer(FakeReader())}
everyone = pytest.mark.parametrize("name", STAGES)


@everyone
def test_it_observes_tracks_of_the_frame_with_their_evidence(name: str) -> None:
    stage, frame = STAGES[name](), make_frame(7)
    tracks = [make_track(1), make_track(2)]
    observations = stage(frame, tracks)
    assert {each.track for each in observations} == {1, 2}
    for each in observations:
        (track,) = (track for track in tracks if track.id == each.track)
        assert 0 < each.quality <= 1
        assert each.captured == frame.captured
        assert each.frame is frame
        assert each.box == track.detection.box
        assert each.boxes == tuple(track.box for track in tracks)
        assert each.crop.dtype == np.uint8
        assert each.crop.ndim == 3
        assert not np.shares_memory(each.crop, frame.pixels), "the receiver owns it"


@everyone
def test_it_leaves_tracks_alone_that_are_not_in_the_frame(name: str) -> None:
    tracks = [make_track(i, state) for i, state in enumerate(("tentative", "lost", "ended"))]
    assert list(STAGES[name]()(make_frame(), tracks)) == []


@everyone
def test_nothing_in_the_frame_is_no_observation(name: str) -> None:
    assert list(STAGES[name]()(make_frame(), [])) == []


@everyone
def test_after_a_reset_every_track_is_new(name: str) -> None:
    stage, frame = STAGES[name](), make_frame()
    while stage(frame, [make_track(1)]):
        pass
    stage.reset()
    assert stage(frame, [make_track(1)])


@everyone
def test_boxes_that_leave_the_frame_are_observed_where_they_are_in_it(name: str) -> None:
    stage, frame = STAGES[name](), make_frame()
    for number, box in enumerate((
        Box(-50, -20, 60, 40), Box(600, 450, 900, 700), Box(-9, -9, -5, -5), Box(5, 5, 5, 5),
        Box(-1e9, -1e9, 1e9, 1e9),
    )):  # fmt: skip
        detection = Detection(box, 0.9, "plate", 0)
        for each in stage(frame, [make_track(number, detection=detection)]):
            assert each.crop.size


@everyone
def test_it_allocates_no_picture_per_frame(name: str) -> None:
    """Crops that are worth keeping, but nothing of the frame's size."""
    stage = STAGES[name]()
    frames = [make_frame(index, (1080, 1920)) for index in range(6)]
    stage(frames[0], [make_track(1)])
    tracemalloc.start()
    for frame in frames[1:]:
        start, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        stage(frame, [make_track(number) for number in range(6)])
        assert tracemalloc.get_traced_memory()[1] - start < 300_000
    tracemalloc.stop()
