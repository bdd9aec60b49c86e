"""Where a camera stands, and what is to be done when something happens to it.

    connecting ──picture──▶ live ◀──picture── stalled
        │ ▲                  │ │                 ▲ │
        │ └──────────┐       │ └──no picture─────┘ │ lost, or nothing for read_timeout
        └──lost──▶ backing-off ◀──lost─────────────┘        any ──pause──▶ paused

Here is no thread, no clock and no camera: ``advance`` is a function of values, and
``reconnecting.ReconnectingSource`` does what it says.
"""

import math
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace

CameraState: TypeAlias = Literal["connecting", "live", "stalled", "backing-off", "paused"]
"""Of a camera: it is being opened, or its first picture is waited for; pictures come; none has come
for a while; it is lost and will be opened again; nobody wants it now."""

CameraProblem: TypeAlias = Literal["", "frozen", "black", "too slow"]
"""What is wrong with a camera whose pictures come: they do not change, not even by noise, or their
time stamps do not; they are black; the model cannot keep up with them."""

CameraEvent: TypeAlias = Literal[
    "opened", "picture", "lost", "refused", "time", "problem", "pause", "resume"
]
"""What happens to a camera: it answered; a picture came; it cannot be opened or has ended; it does
not accept user and password; nothing but that time has passed; a problem began or is over."""

Action: TypeAlias = Literal["open", "abandon"]
"""What is to be done: open it in a thread of its own; expect nothing more of that thread."""

FIRST_RETRY, LONGEST_RETRY = 0.1, 1.0
"""Seconds until a lost camera is opened again, at first and at most; doubled with each failure."""
FIRST_RETRY_REFUSED, LONGEST_RETRY_REFUSED = 30.0, 300.0
"""The same for one that refuses user and password: many lock the account after a few failures."""
STEADY = 5.0
"""Seconds that a camera has to be live until earlier failures are forgotten."""


class Limits(msgspec.Struct, frozen=True):
    """Seconds that a camera is given.

    Attributes:
        open_timeout: To answer.
        read_timeout: To deliver the next picture; then it is opened again.
        stall: The same, until it counts as stalled.
        grace: Beyond its time-outs, in which the reader itself may say what is wrong.
        frozen: That its pictures may be identical to the last bit.
        black: That they may be black.
    """

    open_timeout: float = 10.0
    read_timeout: float = 10.0
    stall: float = 2.0
    grace: float = 1.0
    frozen: float = 30.0
    black: float = 10.0


class Connection(msgspec.Struct, frozen=True):
    """Where a camera stands. Times are seconds on the monotonic clock.

    Attributes:
        state: What it is.
        since: When that began.
        reason: Why, for a person; empty while it is live.
        problem: What is wrong while pictures come.
        deadline: When time alone changes something; infinite where it does not.
        picture: When the last picture came; None before the first one.
        live_count: How often it became live after it was opened.
        failures: How often in a row it could not be opened, or was lost at once.
        refusals: How often in a row it refused user and password.
        answered: Whether it was opened and only its first picture is still to come.
    """

    state: CameraState = "connecting"
    since: float = 0.0
    reason: str = ""
    problem: CameraProblem = ""
    deadline: float = math.inf
    picture: float | None = None
    live_count: int = 0
    failures: int = 0
    refusals: int = 0
    answered: bool = False

    @property
    def reconnects(self) -> int:
        """How often it became live again."""
        return max(0, self.live_count - 1)

    @property
    def unreachable(self) -> bool:
        """Whether it has never been live, and at least one attempt has failed."""
        return not self.live_count and self.failures > 0


def connect(now: float, limits: Limits) -> Connection:
    """A camera that is being opened for the first time."""
    return Connection(since=now, deadline=now + limits.open_timeout + limits.grace)


def advance(
    camera: Connection,
    event: CameraEvent,
    now: float,
    *,
    limits: Limits,
    reason: str = "",
    problem: CameraProblem = "",
    chance: float = 0.0,
) -> tuple[Connection, Action | None]:
    """What becomes of a camera to which something happened.

    Args:
        camera: Where it stands.
        event: What happened.
        now: When, in seconds on the monotonic clock.
        limits: What it is given.
        reason: Why it was lost or refused.
        problem: What began, empty when it is over. With "time", "frozen" says that pictures come
            and their time stamps stand still.
        chance: 0..1, by which the next attempt comes earlier than it has to, down to half: many
            cameras that are lost together are not opened together.

    Returns:
        Where it stands now, and what is to be done.
    """
    after: Connection = camera
    action: Action | None = None
    if camera.state == "paused":
        if event == "resume":
            after = replace(connect(now, limits), live_count=camera.live_count)
            action = "open"
    elif event == "pause":
        after, action = Connection("paused", now, live_count=camera.live_count), "abandon"
    elif event == "time":
        after, action = _time_passed(camera, now, limits, problem, chance)
    elif camera.state == "backing-off":
        pass  # whatever comes now is of the connection that was lost
    elif event in {"lost", "refused"}:
        after = _back_off(camera, now, reason, chance, refused=event == "refused")
    elif event == "picture":
        after = _picture(camera, now, limits)
    elif event == "opened" and camera.state == "connecting":
        deadline = now + limits.read_timeout + limits.grace
        after = replace(camera, answered=True, deadline=deadline)
    elif event == "problem" and camera.state != "connecting":
        after = replace(camera, problem=problem)
    return after, action


def _picture(camera: Connection, now: float, limits: Limits) -> Connection:
    camera = replace(camera, picture=now, deadline=now + limits.stall)
    if camera.state == "live":
        steady = now - camera.since >= STEADY
        return replace(camera, failures=0, refusals=0) if steady else camera
    count = camera.live_count + (camera.state == "connecting")
    return replace(camera, state="live", since=now, reason="", problem="", live_count=count)


def _time_passed(
    camera: Connection, now: float, limits: Limits, problem: CameraProblem, chance: float
) -> tuple[Connection, Action | None]:
    if now < camera.deadline:
        return camera, None
    if camera.state == "backing-off":
        deadline = now + limits.open_timeout + limits.grace
        opening = replace(camera, state="connecting", since=now, deadline=deadline, answered=False)
        return opening, "open"
    if camera.state == "live":
        deadline = camera.deadline - limits.stall + limits.read_timeout + limits.grace
        reason = f"no picture for {limits.stall:g} s"
        if problem == "frozen":
            reason = "its time stamps stand still"
        camera = replace(
            camera, state="stalled", since=now, reason=reason, problem=problem, deadline=deadline
        )
        if now < deadline:
            return camera, None
    if camera.state == "connecting" and not camera.answered:
        reason = f"no answer within {limits.open_timeout:g} s"
    else:
        reason = (
            f"no picture for {limits.read_timeout:g} s; is it connected, and is the network up?"
        )
    return _back_off(camera, now, reason, chance, refused=False), "abandon"


def _back_off(
    camera: Connection, now: float, reason: str, chance: float, *, refused: bool
) -> Connection:
    failures = camera.failures + 1
    refusals = camera.refusals + 1 if refused else 0
    first, longest, count = FIRST_RETRY, LONGEST_RETRY, failures
    if refused:
        first, longest, count = FIRST_RETRY_REFUSED, LONGEST_RETRY_REFUSED, refusals
    wait = min(longest, first * 2.0 ** min(count - 1, 30)) * (1 - chance / 2)
    return replace(
        camera, state="backing-off", since=now, reason=reason, problem="", deadline=now + wait,
        failures=failures, refusals=refusals,
    )  # fmt: skip
