"""The life of a camera, on paper: what happens to it, and what becomes of it."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.source.connection import (
    FIRST_RETRY_REFUSED,
    LONGEST_RETRY,
    LONGEST_RETRY_REFUSED,
    STEADY,
    CameraEvent,
    Connection,
    Limits,
    advance,
    connect,
)

LIMITS = Limits(open_timeout=10.0, read_timeout=10.0, stall=2.0, grace=1.0)
T = 1000.0

CONNECTING = connect(T, LIMITS)
LIVE = Connection("live", since=T, picture=T, deadline=T + 2, live_count=1)
STALLED = Connection(
    "stalled", T + 2, "no picture for 2 s", picture=T, deadline=T + 11, live_count=1
)
BACKING_OFF = Connection(
    "backing-off", T, "gone", deadline=T + 0.1, picture=T - 1, live_count=1, failures=1
)
PAUSED = Connection("paused", T, live_count=1)


@pytest.mark.parametrize(
    ("before", "event", "seconds", "state", "action", "deadline"),
    [
        (CONNECTING, "time", 10.9, "connecting", None, T + 11),
        (CONNECTING, "time", 11.0, "backing-off", "abandon", T + 11.1),
        (CONNECTING, "opened", 1.0, "connecting", None, T + 12),
        (CONNECTING, "picture", 2.0, "live", None, T + 4),
        (CONNECTING, "lost", 1.0, "backing-off", None, T + 1.1),
        (CONNECTING, "refused", 1.0, "backing-off", None, T + 31),
        (CONNECTING, "resume", 1.0, "connecting", None, T + 11),
        (CONNECTING, "pause", 1.0, "paused", "abandon", math.inf),
        (LIVE, "picture", 1.0, "live", None, T + 3),
        (LIVE, "time", 1.9, "live", None, T + 2),
        (LIVE, "time", 2.0, "stalled", None, T + 11),
        (LIVE, "time", 11.0, "backing-off", "abandon", T + 11.1),  # this machine was suspended
        (LIVE, "lost", 1.0, "backing-off", None, T + 1.1),
        (LIVE, "refused", 1.0, "backing-off", None, T + 31),
        (LIVE, "opened", 1.0, "live", None, T + 2),
        (LIVE, "pause", 1.0, "paused", "abandon", math.inf),
        (STALLED, "picture", 5.0, "live", None, T + 7),
        (STALLED, "time", 10.9, "stalled", None, T + 11),
        (STALLED, "time", 11.0, "backing-off", "abandon", T + 11.1),
        (STALLED, "lost", 5.0, "backing-off", None, T + 5.1),
        (STALLED, "pause", 5.0, "paused", "abandon", math.inf),
        (BACKING_OFF, "time", 0.05, "backing-off", None, T + 0.1),
        (BACKING_OFF, "time", 0.1, "connecting", "open", T + 11.1),
        (BACKING_OFF, "lost", 0.05, "backing-off", None, T + 0.1),
        (BACKING_OFF, "refused", 0.05, "backing-off", None, T + 0.1),
        (BACKING_OFF, "picture", 0.05, "backing-off", None, T + 0.1),
        (BACKING_OFF, "pause", 0.05, "paused", "abandon", math.inf),
        (PAUSED, "resume", 1.0, "connecting", "open", T + 12),
        (PAUSED, "pause", 1.0, "paused", None, math.inf),
        (PAUSED, "picture", 1.0, "paused", None, math.inf),
        (PAUSED, "lost", 1.0, "paused", None, math.inf),
        (PAUSED, "time", 99.0, "paused", None, math.inf),
    ],
)
def test_what_becomes_of_a_camera(
    before: Connection, event: CameraEvent, seconds: float, state: str, action: Any, deadline: float
) -> None:
    after, todo = advance(before, event, T + seconds, limits=LIMITS, reason="gone")
    assert (after.state, todo, after.deadline) == (state, action, pytest.approx(deadline))
    if after.state != before.state:
        assert after.since == T + seconds
    if state in {"live", "paused"}:
        assert after.reason == ""
    elif state != "connecting":
        assert after.reason


@pytest.mark.parametrize(
    ("before", "event", "says"),
    [
        (CONNECTING, "time", "no answer within 10 s"),
        (msgspec.structs.replace(CONNECTING, answered=True), "time", "no picture for 10 s"),
        (STALLED, "time", "no picture for 10 s"),
        (LIVE, "lost", "unplugged"),
    ],
)
def test_the_reason_is_told(before: Connection, event: CameraEvent, says: str) -> None:
    after, _ = advance(before, event, T + 99, limits=LIMITS, reason="unplugged")
    assert says in after.reason


def fail(camera: Connection, event: CameraEvent, times: int) -> list[float]:
    """Seconds that a camera waits after each of so many failures."""
    waits, now = [], T
    for _ in range(times):
        camera, _ = advance(camera, event, now, limits=LIMITS, reason="gone")
        waits.append(camera.deadline - now)
        now = camera.deadline
        camera, action = advance(camera, "time", now, limits=LIMITS)
        assert action == "open"
    return waits


def test_an_unreachable_camera_is_tried_about_once_a_second() -> None:
    waits = fail(CONNECTING, "lost", 2000)
    assert waits[:5] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0])
    assert max(waits) <= LONGEST_RETRY


def test_a_wrong_password_is_tried_rarely() -> None:
    """Cameras lock an account after a few failures, for minutes."""
    waits = fail(CONNECTING, "refused", 2000)
    assert waits[0] == FIRST_RETRY_REFUSED
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_RETRY_REFUSED


def test_a_refusal_after_other_failures_is_the_first_one() -> None:
    camera = CONNECTING
    for _ in range(10):
        camera, _ = advance(camera, "lost", T, limits=LIMITS, reason="gone")
        camera, _ = advance(camera, "time", camera.deadline, limits=LIMITS)
    assert fail(camera, "refused", 1) == pytest.approx([FIRST_RETRY_REFUSED])


def test_only_a_camera_that_stays_is_forgiven() -> None:
    """One that shows a picture and dies is not opened ten times a second."""
    camera, now, waits = CONNECTING, T, []
    for live_for in (0.5, 0.5, 0.5, STEADY + 1):
        camera, _ = advance(camera, "picture", now, limits=LIMITS)
        camera, _ = advance(camera, "picture", now + live_for, limits=LIMITS)
        now += live_for
        camera, _ = advance(camera, "lost", now, limits=LIMITS, reason="gone")
        waits.append(camera.deadline - now)
        now = camera.deadline
        camera, _ = advance(camera, "time", now, limits=LIMITS)
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.1])
    assert (camera.live_count, camera.reconnects) == (4, 3)


def test_many_cameras_are_not_opened_at_one_moment() -> None:
    deadlines = {
        advance(LIVE, "lost", T, limits=LIMITS, reason="", chance=chance)[0].deadline
        for chance in (0.0, 0.25, 0.5, 0.99)
    }
    assert len(deadlines) == 4
    assert all(T + 0.05 <= deadline <= T + 0.1 for deadline in deadlines)


def test_a_problem_stands_until_it_is_over_or_the_camera_is_lost() -> None:
    frozen, _ = advance(LIVE, "problem", T + 1, limits=LIMITS, problem="frozen")
    assert (frozen.state, frozen.problem) == ("live", "frozen")
    assert advance(frozen, "picture", T + 1.5, limits=LIMITS)[0].problem == "frozen"
    assert advance(frozen, "problem", T + 1.5, limits=LIMITS)[0].problem == ""
    assert advance(frozen, "lost", T + 1.5, limits=LIMITS, reason="gone")[0].problem == ""
    stuck, _ = advance(LIVE, "time", T + 2, limits=LIMITS, problem="frozen")
    assert (stuck.state, stuck.problem) == ("stalled", "frozen")
    assert "stand still" in stuck.reason


events = st.sampled_from(
    ["opened", "picture", "lost", "refused", "time", "problem", "pause", "resume"]
)


@given(st.lists(st.tuples(events, st.floats(0, 40)), max_size=60), st.floats(0, 1))
def test_whatever_happens_a_camera_is_opened_once_at_a_time_and_never_given_up(
    story: list[tuple[CameraEvent, float]], chance: float
) -> None:
    camera, now, is_open = CONNECTING, T, True
    for event, seconds in story:
        now += seconds
        if event in {"lost", "refused"} and camera.state in {"connecting", "live", "stalled"}:
            is_open = False
        camera, action = advance(
            camera, event, now, limits=LIMITS, reason="gone", problem="black", chance=chance
        )
        assert not (action == "open" and is_open)
        is_open = action == "open" or (is_open and action != "abandon")
        assert is_open == (camera.state in {"connecting", "live", "stalled"})
        assert (camera.deadline == math.inf) == (camera.state == "paused")
        assert camera.problem == "" or camera.state in {"live", "stalled"}
        longest = LONGEST_RETRY_REFUSED if camera.refusals else LONGEST_RETRY
        assert camera.state != "backing-off" or camera.deadline - camera.since <= longest + 1e-6
