"""Tracks are read a few times each, when it is worth it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from msgspec.structs import replace

from edgecnn_runtime.model import load
from edgecnn_runtime.preprocess import Region, Warp
from edgecnn_runtime.stages.crop import CROPS
from edgecnn_runtime.stages.model_reader import ModelReader
from edgecnn_runtime.stages.quality import PROFILE, QualityMeter, exposure, pose
from edgecnn_runtime.stages.recognize import Recognizer
from edgecnn_runtime.types import Box, Classification, Detection, Frame, Pixels, Reading, Track


def texture(side: int = 120) -> Pixels:
    """Letters: sharp edges of every direction."""
    picture = np.full((side, side, 3), 210, np.uint8)
    for i, text in enumerate(("KA12", "34XY", "Z987")):
        at, scale = (4, (i + 1) * side // 3 - 8), side / 90
        cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, (20, 20, 20), 3)
    return picture


def frame_of(*pictures: Pixels, index: int = 0) -> Frame:
    """Pictures side by side on gray, 200 pixels each."""
    pixels = np.full((200, 200 * max(1, len(pictures)), 3), 128, np.uint8)
    for i, picture in enumerate(pictures):
        height, width = picture.shape[:2]
        pixels[20 : 20 + height, 200 * i + 20 : 200 * i + 20 + width] = picture
    pixels.setflags(write=False)
    return Frame(pixels, index, index / 5, None, "camera")


def track_of(number: int, side: int = 120, state: str = "confirmed", **fields: object) -> Track:
    """The track of the picture with that number."""
    x = 200.0 * number + 20
    detection = Detection(Box(x, 20.0, x + side, 20.0 + side), 0.9, "plate", 0, **fields)
    return Track(number, state, detection, detection.box, (0.0, 0.0), 0.0, 0.0, 3)


class Log:
    """A reader that notes what it is asked."""

    size = 100, 100

    def __init__(self) -> None:
        self.calls: list[list[Region]] = []

    def __call__(self, frame: Frame, regions: Sequence[Region]) -> list[Reading]:
        self.calls.append([*regions])
        return [Reading("A", 0.9, (0.9,)) for _ in regions]


def blur(picture: Pixels, sigma: float) -> Pixels:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma)) if sigma else picture


def test_a_track_that_does_not_change_is_read_for_half_of_its_budget() -> None:
    log = Log()
    recognizer = Recognizer(log, per_track=6)
    for index in range(20):
        recognizer(frame_of(texture(), index=index), [track_of(0)])
    assert len(log.calls) == 3


def test_better_crops_are_read_until_the_budget_is_spent() -> None:
    log = Log()
    recognizer = Recognizer(log, per_track=4)
    qualities = []
    for sigma in (6, 4, 3, 2.2, 1.5, 0.8, 0, 0, 0):
        observations = recognizer(frame_of(blur(texture(), sigma)), [track_of(0)])
        qualities += [each.quality for each in observations]
    assert len(qualities) == 4
    assert qualities == sorted(qualities)


def test_a_much_worse_crop_is_not_read() -> None:
    log = Log()
    recognizer = Recognizer(log)
    recognizer(frame_of(texture()), [track_of(0)])
    recognizer(frame_of(blur(texture(), 3)), [track_of(0)])
    assert len(log.calls) == 1


def test_new_tracks_come_first_then_those_that_improve_most() -> None:
    log = Log()
    recognizer = Recognizer(log, per_frame=2)
    bad, good = blur(texture(), 3), texture()
    recognizer(frame_of(bad, bad, good, good), [track_of(i) for i in range(2)])
    tracks = [track_of(i) for i in range(4)]
    assert [each.track for each in recognizer(frame_of(bad, good, good, good), tracks)] == [2, 3]
    assert recognizer(frame_of(bad, good, good, good), tracks)[0].track == 1


def test_all_crops_of_a_frame_are_read_at_once() -> None:
    log = Log()
    Recognizer(log)(frame_of(texture(), texture(), texture()), [track_of(i) for i in range(3)])
    assert [len(call) for call in log.calls] == [3]


def test_an_ended_track_is_forgotten() -> None:
    log = Log()
    recognizer = Recognizer(log, per_track=2)
    recognizer(frame_of(texture()), [track_of(0)])
    recognizer(frame_of(texture()), [track_of(0, state="ended")])
    recognizer(frame_of(texture()), [track_of(0)])
    assert len(log.calls) == 2


def test_crops_come_from_the_larger_stream_which_is_asked_for_only_then() -> None:
    """The frame shows the same at half the size; boxes are those of the frame that was read."""
    large, asked = frame_of(texture(), texture(), index=7), []

    def enlarge(small: Frame) -> Frame:
        asked.append(small)
        return large

    small = Frame(np.asarray(cv2.resize(large.pixels, None, fx=0.5, fy=0.5)), 0, 0.0, None, "sub")
    tracks = []
    for number in range(2):
        track = track_of(number)
        box = Box(*(value / 2 for value in track.box))
        tracks.append(replace(track, box=box, detection=replace(track.detection, box=box)))
    log = Log()
    recognizer = Recognizer(log, per_track=2, enlarge=enlarge)
    observations = recognizer(small, tracks)
    assert log.calls == [[(20, 20, 120, 120), (220, 20, 120, 120)]]
    assert {each.box for each in observations} == {track_of(i).box for i in range(2)}
    for each in observations:
        assert each.frame is large
        assert each.boxes == tuple(track_of(i).box for i in range(2))
        assert each.quality > 0.8, "measured where it was read"
    recognizer(small, tracks)
    assert len(asked) == 1, "nothing better to read"


def test_where_there_is_no_larger_frame_nothing_is_read() -> None:
    log = Log()
    recognizer = Recognizer(log, enlarge=lambda _: None)
    assert recognizer(frame_of(texture()), [track_of(0)]) == []
    assert log.calls == []


def test_a_crop_in_which_nothing_can_be_seen_is_not_read() -> None:
    log = Log()
    black = np.zeros((120, 120, 3), np.uint8)
    assert Recognizer(log)(frame_of(black), [track_of(0)]) == []
    assert log.calls == []


def test_what_the_points_cannot_shape_is_not_read() -> None:
    log = Log()
    one_place = track_of(0, points=((30.0, 30.0),) * 4)
    assert Recognizer(log, crop="corners")(frame_of(texture()), [one_place]) == []


def test_corners_and_landmarks_become_warps() -> None:
    corners = ((22.0, 22.0), (138.0, 30.0), (136.0, 136.0), (20.0, 130.0))
    for kind, points in (("corners", corners), ("landmarks", FACE), ("box", ())):
        log = Log()
        Recognizer(log, crop=kind)(frame_of(texture()), [track_of(0, points=points)])
        assert isinstance(log.calls[0][0], Warp) == (kind != "box")
        assert CROPS[kind].points == len(points)


FACE = ((50.0, 60.0), (100.0, 60.0), (75.0, 85.0), (55.0, 110.0), (95.0, 110.0))


def quality(picture: Pixels, points: tuple[tuple[float, float], ...] = ()) -> float:
    height, width = picture.shape[:2]
    return QualityMeter(100, 100)(picture, (0, 0, width, height), points).score


def test_quality_falls_with_blur_darkness_glare_and_distance() -> None:
    best = quality(texture())
    assert best > 0.9
    blurred = [quality(blur(texture(), sigma)) for sigma in (1, 2, 4, 8)]
    assert best >= blurred[0] > blurred[1] > blurred[2] > blurred[3]
    assert blurred[3] < 0.2 * best
    assert quality((texture() * 0.1).astype(np.uint8)) < 0.6 * best
    assert quality(np.maximum(texture(), 249)) < 0.1
    assert quality(texture(60)) < 0.75 * best
    assert quality(np.full((120, 120, 3), 128, np.uint8)) == 0.0


def test_contrast_is_not_taken_for_sharpness() -> None:
    pale = (texture() * 0.3 + 90).astype(np.uint8)
    sharp, blurry = (QualityMeter(100, 100)(each, (0, 0, 120, 120)) for each in (
        pale, blur(texture(), 3),
    ))  # fmt: skip
    assert sharp.sharpness > 1.3 * blurry.sharpness


def test_a_face_that_looks_away_is_worth_less() -> None:
    assert pose(FACE) > 0.9
    turned = [pose((*FACE[:2], (75.0 + dx, 85.0), *FACE[3:])) for dx in (0, 8, 16, 26)]
    assert turned == sorted(turned, reverse=True)
    assert turned[-1] == PROFILE
    assert pose((*FACE[:2], (75.0, 58.0), *FACE[3:])) == PROFILE, "it looks up"
    quarter = tuple((200 - y, x) for x, y in FACE)
    assert pose(quarter) == pytest.approx(pose(FACE)), "turned in the picture: aligned anyway"


def test_a_plate_seen_askew_is_worth_less() -> None:
    straight = ((0.0, 0.0), (100.0, 0.0), (100.0, 20.0), (0.0, 20.0))
    askew = ((0.0, 0.0), (100.0, 6.0), (100.0, 18.0), (0.0, 24.0))
    assert pose(straight) == 1
    assert pose(askew) < 0.6
    assert pose(()) == pose(((1.0, 1.0),)) == 1


@pytest.mark.parametrize(
    "points", [((5.0, 5.0),) * 5, ((5.0, 5.0),) * 4, ((float("nan"),) * 2,) * 5]
)
def test_points_in_one_place_have_no_pose(points: tuple[tuple[float, float], ...]) -> None:
    assert pose(points) == PROFILE


def test_exposure_is_lost_at_both_ends() -> None:
    assert exposure(0, 0) == exposure(255, 0) == 0
    assert exposure(128, 60) == 1


@pytest.mark.parametrize("kind", CROPS)
def test_a_real_model_reads_what_it_would_read_of_the_crop_alone(
    make_bundle: Callable[..., Path], kind: str
) -> None:
    with load(make_bundle("reader"), backend="onnxruntime") as model:
        recognizer = Recognizer(ModelReader(model), crop=kind)
        corners = ((20.0, 20.0), (140.0, 20.0), (140.0, 140.0), (20.0, 140.0))
        points = {"box": (), "corners": corners, "landmarks": FACE}[kind]
        frame = frame_of(texture())
        (observation,) = recognizer(frame, [track_of(0, points=points)])
        assert isinstance(observation.result, Classification)
        if kind == "landmarks":
            return
        alone = model(np.ascontiguousarray(frame.pixels[20:140, 20:140]))
        assert isinstance(alone, Classification)
        np.testing.assert_allclose(observation.result.scores, alone.scores, atol=0.02)
