"""What the two-pass tracker does beyond what every tracker must."""

import math

import pytest

from edgecnn_runtime.track import TwoPass, TwoPassTracker
from edgecnn_runtime.types import Box, Detection, Track


def thing(
    x: float, y: float = 200.0, *, size: float = 60.0, score: float = 0.9, index: int = 0
) -> Detection:
    half = size / 2
    return Detection(Box(x - half, y - half, x + half, y + half), score, "thing", index)


def run(tracker: TwoPassTracker, frames: list[list[Detection]], fps: float) -> list[list[Track]]:
    return [list(tracker.update(each, i / fps)) for i, each in enumerate(frames)]


def id_at(tracks: list[Track], x: float) -> int:
    """The id of the track nearest to x."""
    return min(tracks, key=lambda t: abs((t.detection.box.x1 + t.detection.box.x2) / 2 - x)).id


@pytest.mark.parametrize("fps", [25.0, 5.0])
@pytest.mark.parametrize("apart", [0.0, 20.0])
def test_two_that_pass_each_other_keep_their_ids(fps: float, apart: float) -> None:
    """Each goes on where it was going; for a moment both are in the same place."""
    count = round(4 * fps)
    frames = [
        [thing(100 + 200 * i / fps), thing(900 - 200 * i / fps, 200.0 + apart)]
        for i in range(count)
    ]
    tracks = run(TwoPassTracker(), frames, fps)
    left, right = id_at(tracks[3], 100), id_at(tracks[3], 900)
    assert left != right
    assert (id_at(tracks[-1], 900), id_at(tracks[-1], 100)) == (left, right)
    assert {track.id for each in tracks for track in each} == {left, right}


@pytest.mark.parametrize("fps", [25.0, 5.0])
def test_who_is_hidden_while_moving_comes_back_where_it_is_expected(fps: float) -> None:
    frames = [[thing(100 + 250 * i / fps)] for i in range(round(3 * fps))]
    hidden = range(round(1.5 * fps), round(2.3 * fps))
    tracks = run(TwoPassTracker(), [[] if i in hidden else f for i, f in enumerate(frames)], fps)
    assert {track.id for each in tracks for track in each} == {1}
    (lost,) = tracks[hidden[-1]]
    assert lost.state == "lost"
    assert lost.velocity[0] == pytest.approx(250, rel=0.05)
    center = (lost.box.x1 + lost.box.x2) / 2
    assert center == pytest.approx(100 + 250 * hidden[-1] / fps, abs=20)


def test_a_doubtful_detection_continues_a_track_and_begins_none() -> None:
    sure, doubtful = [thing(300)], [thing(300, score=0.2), thing(700, score=0.4)]
    tracks = run(TwoPassTracker(), [sure] * 5 + [doubtful] * 20, 25.0)
    assert [track.id for track in tracks[-1]] == [1]
    assert tracks[-1][0].state == "confirmed"
    assert tracks[-1][0].hits == 25


def test_a_confident_detection_goes_first() -> None:
    """A doubtful one beside it, even if better placed, does not take its track."""
    tracker = TwoPassTracker()
    run(tracker, [[thing(300)]] * 5, 25.0)
    (track,) = tracker.update([thing(300, score=0.3), thing(303)], 0.2)
    assert track.detection == thing(303)


def test_below_the_lowest_score_nothing_counts() -> None:
    tracks = run(TwoPassTracker(), [[thing(300)]] * 5 + [[thing(300, score=0.05)]], 25.0)
    assert tracks[-1][0].state == "lost"


def test_a_track_is_believed_once_it_was_seen_often_enough() -> None:
    tracks = run(TwoPassTracker(TwoPass(confirm=3)), [[thing(300)]] * 4, 25.0)
    states = [each[0].state for each in tracks]
    assert states == ["tentative", "tentative", "confirmed", "confirmed"]


def test_what_flashes_up_once_is_never_believed_and_soon_over() -> None:
    tracks = run(TwoPassTracker(), [[thing(300)]] + [[]] * 50, 25.0)
    states = [track.state for each in tracks for track in each]
    assert set(states) == {"tentative", "ended"}
    assert states.count("ended") == 1
    assert len(states) / 25 < 1.0


def test_a_detector_that_wavers_between_classes_may_be_followed() -> None:
    frames = [[thing(300, index=i % 2)] for i in range(10)]
    wavering = run(TwoPassTracker(TwoPass(by_class=False)), frames, 25.0)
    assert {track.id for each in wavering for track in each} == {1}
    assert wavering[-1][0].detection.index == 1


@pytest.mark.parametrize("box", [
    Box(10.0, 10.0, 10.0, 20.0), Box(20.0, 10.0, 10.0, 20.0), Box(math.nan, 0.0, 10.0, 10.0),
    Box(0.0, 0.0, math.inf, 10.0), Box(-math.inf, 0.0, 10.0, 10.0),
])  # fmt: skip
def test_a_box_that_is_none_is_ignored(box: Box) -> None:
    tracks = run(TwoPassTracker(), [[Detection(box, 0.9, "thing", 0), thing(300)]] * 3, 25.0)
    assert [track.id for track in tracks[-1]] == [1]
    assert tracks[-1][0].detection == thing(300)


def test_a_frame_without_anything_is_fine_from_the_start() -> None:
    assert run(TwoPassTracker(), [[], []], 25.0) == [[], []]


def test_what_leaves_the_picture_is_gone_and_not_what_comes_in_there() -> None:
    size, fps = (640, 480), 25.0
    leaving = [[thing(400 + 10 * i)] for i in range(24)]
    entering = [[thing(630 - 10 * i)] for i in range(10)]
    tracker = TwoPassTracker()
    frames = [*leaving, [], [], [], *entering]
    tracks = [tracker.update(each, i / fps, size) for i, each in enumerate(frames)]
    assert [track.id for each in tracks[:27] for track in each if track.state == "ended"] == [1]
    assert {track.id for each in tracks[27:] for track in each} == {2}


def test_what_is_still_seen_at_the_edge_stays_the_same() -> None:
    """Some detectors report boxes that reach out of the picture by more than half."""
    frames = [[thing(600 + 2 * i)] for i in range(30)]
    tracker = TwoPassTracker()
    tracks = [tracker.update(each, i / 25, (640, 480)) for i, each in enumerate(frames)]
    assert {track.id for each in tracks for track in each} == {1}
    assert tracks[-1][0].hits == 30
