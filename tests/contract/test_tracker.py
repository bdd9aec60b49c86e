"""What every tracker must do, whoever writes the next one."""

import itertools
import math
from collections.abc import Iterable, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.config import from_plain
from edgecnn_runtime.errors import ConfigError
from edgecnn_runtime.track import TRACKERS, Tracker, TrackerKind, fake
from edgecnn_runtime.types import Box, Detection, Track

KINDS: dict[str, TrackerKind] = {**TRACKERS, "fake": fake.KIND}
GAP = 1.0
every_kind = pytest.mark.parametrize("name", KINDS)

boxes = st.tuples(
    st.floats(-2000, 4000), st.floats(-2000, 4000), st.floats(0.5, 2000), st.floats(0.5, 2000)
)
found = st.builds(
    lambda box, score, index: Detection(
        Box(box[0], box[1], box[0] + box[2], box[1] + box[3]), score, "thing", index
    ),
    boxes,
    st.floats(0, 1),
    st.integers(0, 2),
)
steps = st.lists(st.tuples(st.floats(-3, 3), st.lists(found, max_size=5)), min_size=1, max_size=30)


def make(name: str) -> Tracker:
    kind = KINDS[name]
    return kind.make(kind.settings(max_gap=GAP))


def thing(x: float, y: float = 200.0, *, size: float = 80.0, score: float = 0.9, index: int = 0):
    """A detection with its center at x and y."""
    half = size / 2
    return Detection(Box(x - half, y - half, x + half, y + half), score, f"class {index}", index)


def follow(tracker: Tracker, frames: Iterable[Sequence[Detection]], fps: float = 25.0):
    """The tracks after each frame."""
    return [list(tracker.update(each, i / fps)) for i, each in enumerate(frames)]


def ids(tracks: Iterable[Track], *states: str) -> list[int]:
    return [track.id for track in tracks if track.state in (states or ("confirmed",))]


@every_kind
def test_its_settings_all_have_defaults_and_refuse_what_makes_no_sense(name: str) -> None:
    kind = KINDS[name]
    kind.make(from_plain({}, kind.settings, "recipe"))
    for wrong in ({"max_gap": 0}, {"max_gap": -1}, {"max_gaps": 1}):
        with pytest.raises(ConfigError):
            from_plain(wrong, kind.settings, "recipe")


@every_kind
@pytest.mark.parametrize("fps", [25.0, 5.0])
def test_a_moving_object_keeps_its_id(name: str, fps: float) -> None:
    """At every rate of results: its speed is per second."""
    tracks = follow(make(name), ([thing(100 + 80 * i / fps)] for i in range(20)), fps)
    believed = [ids(each) for each in tracks[5:]]
    assert believed == [believed[0]] * len(believed)
    assert len(believed[0]) == 1
    last = tracks[-1][0]
    assert last.hits == 20
    assert (last.first, last.last) == (0.0, 19 / fps)
    assert last.detection == thing(100 + 80 * 19 / fps)
    assert abs(last.box.x1 - last.detection.box.x1) < 20


@every_kind
def test_objects_keep_their_ids_in_whatever_order_they_are_reported(name: str) -> None:
    places = [100, 300, 500, 700]
    orders = list(itertools.permutations(range(4)))
    tracks = follow(
        make(name), ([thing(places[i] + step) for i in order] for step, order in enumerate(orders))
    )
    by_id = {track.id: track for track in tracks[-1]}
    assert len(by_id) == 4
    for frame in tracks[5:]:
        assert ids(frame) == sorted(by_id)
        for track in frame:
            assert abs(track.detection.box.x1 - by_id[track.id].detection.box.x1) < 50


@every_kind
def test_the_box_of_what_is_seen_is_where_it_was_seen(name: str) -> None:
    """However sharply it turns: a smoothed box would be drawn beside it, and blur beside it."""
    frames = [[thing(100 + 6 * min(i, 20 - i))] for i in range(20)]
    for (detection,), (track,) in zip(frames, follow(make(name), frames), strict=True):
        assert track.box == detection.box


@every_kind
def test_an_object_that_was_hidden_comes_back_with_its_id(name: str) -> None:
    seen, hidden = [[thing(300)]] * 10, [[]] * 15  # 0.6 s
    tracks = follow(make(name), [*seen, *hidden, *seen])
    assert [ids(each, "lost") for each in tracks[10:25]] == [[tracks[0][0].id]] * 15
    assert tracks[20][0].detection == thing(300)
    assert tracks[20][0].last == 9 / 25
    assert ids(tracks[-1]) == [tracks[0][0].id]
    assert len(tracks[-1]) == 1


@every_kind
def test_an_object_that_stays_away_ends_once_and_comes_back_as_another(name: str) -> None:
    seen, gone = [[thing(300)]] * 10, [[]] * 50  # 2 s
    tracks = follow(make(name), [*seen, *gone, *seen])
    ends = [index for index, each in enumerate(tracks) if ids(each, "ended")]
    assert len(ends) == 1
    assert 9 / 25 + GAP < ends[0] / 25 <= 9 / 25 + GAP + 0.1
    assert tracks[ends[0] + 1] == []
    assert ids(tracks[-1])[0] > ids(tracks[9])[0]


@every_kind
def test_the_gap_is_in_seconds_whatever_the_rate(name: str) -> None:
    """One frame may be all that comes within a second: that alone ends nothing."""
    tracker = make(name)
    for at in (0.0, 0.9, 1.8, 2.7):
        tracks = tracker.update([thing(300)], at)
    assert len(tracks) == 1
    assert tracks[0].hits == 4


@every_kind
def test_objects_of_different_classes_are_not_the_same(name: str) -> None:
    tracks = follow(make(name), [[thing(300)]] * 5 + [[thing(300, index=1)]] * 5)
    assert ids(tracks[4]) != ids(tracks[-1])
    assert len(ids(tracks[-1])) == 1


@every_kind
def test_after_a_reset_everything_is_new(name: str) -> None:
    """Even the clock."""
    tracker = make(name)
    before = follow(tracker, [[thing(300)]] * 5)[-1]
    tracker.reset()
    after = follow(tracker, [[thing(300)]] * 5)
    assert len(after[0]) == 1
    assert ids(after[-1])[0] > before[0].id
    assert after[-1][0].hits == 5


@every_kind
def test_a_frame_that_is_older_than_the_last_one_changes_nothing(name: str) -> None:
    tracker = make(name)
    before = follow(tracker, [[thing(300)]] * 5)[-1]
    assert list(tracker.update([thing(600)], 0.0)) == before
    (track,) = tracker.update([thing(300)], 0.2)
    assert track.id == before[0].id


@every_kind
def test_where_the_clock_was_set_back_every_track_ends(name: str) -> None:
    tracker = make(name)
    tracker.update([thing(300)], 1000.0)
    before = list(tracker.update([thing(300)], 1000.1))
    tracks = list(tracker.update([thing(300)], 3.0))
    assert ids(tracks, "ended") == [before[0].id]
    assert len(tracks) == 2
    assert tracks[1].id > before[0].id
    assert tracks[1].first == 3.0


@every_kind
@pytest.mark.parametrize("at", [math.nan, math.inf, -math.inf])
def test_a_time_that_is_none_is_refused(name: str, at: float) -> None:
    tracker = make(name)
    tracker.update([thing(300)], 1.0)
    with pytest.raises(ValueError, match="finite"):
        tracker.update([thing(300)], at)
    assert tracker.update([thing(300)], 1.1)[0].hits == 2


@every_kind
@given(steps=steps)
def test_whatever_comes_a_track_lives_once_and_a_detection_belongs_to_one(
    name: str, steps: list[tuple[float, list[Detection]]]
) -> None:
    """Ids only grow, no track comes back after its end, and states and times fit together."""
    tracker, at, over, latest = make(name), 100.0, set(), 0
    alive: dict[int, Track] = {}
    for step, detections in steps:
        at += step
        tracks = list(tracker.update(detections, at))
        numbers = [track.id for track in tracks]
        assert numbers == sorted(set(numbers))
        assert not over.intersection(numbers)
        assert set(alive) <= set(numbers)
        assert all(number > latest for number in set(numbers) - set(alive))
        seen = [id(track.detection) for track in tracks if track.last == at]
        assert len(seen) == len(set(seen))
        for track in tracks:
            assert all(map(math.isfinite, (*track.box, *track.velocity)))
            assert track.box.x2 > track.box.x1
            assert track.box.y2 > track.box.y1
            assert track.first <= track.last
            assert track.hits >= 1
            if track.id in alive:
                assert track.first == alive[track.id].first
                assert track.hits - alive[track.id].hits in {0, 1}
        over |= set(ids(tracks, "ended"))
        latest = max([latest, *numbers])
        alive = {track.id: track for track in tracks if track.state != "ended"}


@every_kind
def test_a_track_is_a_plain_value(name: str) -> None:
    """It goes to other threads and into events; numbers of NumPy would not."""
    tracks = follow(make(name), [[thing(300)]] * 3)[-1]
    plain = msgspec.json.decode(msgspec.json.encode(tracks))  # which refuses NumPy's
    assert [(each["id"], tuple(each["box"])) for each in plain] == [(t.id, t.box) for t in tracks]


@every_kind
def test_it_takes_the_size_of_the_picture_and_keeps_what_can_be_seen(name: str) -> None:
    tracker, size = make(name), (640, 480)
    for i in range(20):
        tracks = tracker.update([thing(400 + 10 * i)], i / 25, size)
    assert len(ids(tracks)) == 1
    assert tracks[0].hits == 20
