"""A camera that is opened again whenever it is lost."""

import logging
import math
import queue
import random
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from edgecnn_runtime.errors import SourceLostError, SourceRefusedError
from edgecnn_runtime.source.capture import READER_GRACE, Capture, Reader
from edgecnn_runtime.source.connection import (
    CameraEvent,
    CameraProblem,
    Connection,
    Limits,
    advance,
    connect,
)
from edgecnn_runtime.source.latest import Deferred, LatestSlot
from edgecnn_runtime.source.orientation import Flip, Rotation
from edgecnn_runtime.source.picture_check import PictureCheck
from edgecnn_runtime.types import Frame, Pixels

T = TypeVar("T")

MAX_HANGING = 4
"""Threads of one camera that may hang in a read; while there are more, it is not opened again."""

UNTAKEN_INTERVAL = 1.0
"""Seconds between two looks at pictures that nobody takes."""

OnChange = Callable[[Connection, Connection], None]
"""Told of a change: where a camera stood and where it stands, in the camera's own thread."""

log = logging.getLogger(__name__)


class ReconnectingSource:
    """Frames of a camera, whatever happens to it; the surface is that of ``capture.Source``.

    It is opened in the background and need not be there yet. Where it is lost it is opened again,
    until ``close``; ``Frame.index`` goes on, and ``Frame.connection`` tells the connections apart.
    A file that is not played in real time, also one from the network, is read once and ends.

    Attributes:
        name: What is opened, with any password removed.
        live: Whether the newest frame counts; until it is open, True.
        fps: Nominal frames per second; 0.0 where unknown.
        frames: Where the newest frame lies; a scheduler takes it from there.
        dropped: How many frames were replaced by a newer one before anybody took them.
        abandoned: How many opens and reads did not return in time and were left alone.
        size: Width and height of the newest frame in pixels; zeros before the first one.
        connection: Where it stands now.
    """

    def __init__(
        self,
        name: str,
        open_reader: Callable[[], Reader],
        *,
        rotate: Rotation = 0,
        flip: Flip = "",
        realtime: bool = False,
        mask: Callable[[Pixels], Pixels] | None = None,
        retry: bool = True,
        paused: bool = False,
        limits: Limits | None = None,
        on_change: OnChange = lambda _before, _after: None,
        too_slow: Callable[[], bool] = lambda: False,
    ) -> None:
        """Begin to open it; does not wait.

        Args:
            name: What is opened, with any password removed.
            open_reader: Opens it once; called by a thread of its own each time.
            rotate: Degrees clockwise.
            flip: After rotating: "h" left-right, "v" upside down, "hv" both.
            realtime: Play a file at its own pace.
            mask: As ``open_source`` takes it.
            retry: Open it again where it is lost.
            paused: Do not open it before ``resume``.
            limits: What the camera is given; None for the defaults.
            on_change: Told of each change of state, reason or problem. Attempts of which each ends
                like the one before are one change. An error that it raises ends the source.
            too_slow: Asked every few seconds whether the model is too slow for this camera.
        """
        self.name = name
        self.live = True
        self.fps = 0.0
        self.frames: LatestSlot[Frame] = LatestSlot()
        self.dropped = self.abandoned = 0
        self.size = (0, 0)
        self._limits = limits or Limits()
        now = time.monotonic()
        self.connection = Connection("paused", now) if paused else connect(now, self._limits)
        self._reported = self.connection
        self._new_capture = partial(
            Capture, name, open_reader, opened=self._open_now, deliver=self._put,
            skip=self.frames.skip, ended=self._end,
            rotate=rotate, flip=flip, realtime=realtime, mask=mask,
        )  # fmt: skip
        self._retry = retry
        self._on_change, self._too_slow = on_change, too_slow
        self._happenings: queue.SimpleQueue[_Happening] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._capture: Capture | None = None
        self._hanging: list[Capture] = []
        self._check = PictureCheck(self._limits)
        self._seen: CameraProblem = ""
        self._picture: float | None = None
        self._newest: Frame | Deferred[Frame] | None = None
        self._looked = -math.inf
        self._next_index = 0
        self._error: Exception | None = None
        self._was_open = False
        self._decided = threading.Event()
        """Whether it was open once, or will never be."""
        self._thread = threading.Thread(target=self._run, name=f"camera {name}", daemon=True)
        self._thread.start()

    def wait_open(self) -> bool:
        """Wait until it is open for the first time; False where it was closed before.

        Raises:
            SourceLostError: It was given up, with the reason of the last attempt.
            EdgecnnError: It can never be opened: something is not installed, for instance.
        """
        self._decided.wait()
        if not self._was_open and self.frames.error is not None:
            raise self.frames.error
        return self._was_open

    def wait_for(self, slot: LatestSlot[T]) -> T | None:
        """The next value of a slot that this source's frames lead to, None at the end.

        Raises:
            Exception: What the slot was finished with.
        """
        return slot.take()

    def pause(self) -> None:
        """Hang up until ``resume``."""
        self._happenings.put(_Happening("pause"))

    def resume(self) -> None:
        """Open it again after ``pause``."""
        self._happenings.put(_Happening("resume"))

    def give_up(self) -> None:
        """End it, with the reason of its last failure where there was one."""
        self._finish(self._error)

    def close(self, *, wait: float = READER_GRACE) -> None:
        """Stop and release. A read that does not return within ``wait`` seconds is abandoned."""
        capture = self._capture
        self._finish(None)
        self.frames.clear()
        if capture is not None:
            capture.abandon(wait)

    def __enter__(self) -> "ReconnectingSource":
        return self

    def __exit__(self, *_problem: object) -> None:
        self.close()

    def _run(self) -> None:
        """The camera's own thread: what happens, and time that passes, one after the other."""
        try:
            if self.connection.state != "paused":
                self._open()
            while not self.frames.finished:
                self._step(self._next())
        except Exception as error:  # a defect: whoever takes the frames is told
            self._finish(error)
        finally:
            self._abandon()

    def _next(self) -> "_Happening":
        """What happens next; a file may take its time."""
        remaining = self.connection.deadline - time.monotonic() if self.live else math.inf
        try:
            return self._happenings.get(
                timeout=None if remaining == math.inf else max(0, remaining)
            )
        except queue.Empty:
            return _Happening("time")

    def _step(self, happening: "_Happening") -> None:
        """Let one thing happen, after the picture that came before it."""
        if happening.capture is not None and happening.capture is not self._capture:
            return
        picture, self._picture = self._picture, None
        if picture is not None:
            self._advance(_Happening("picture"), picture)
            problem: CameraProblem = self._seen or ("too slow" if self._too_slow() else "")
            self._advance(_Happening("problem", problem=problem), picture)
            self._report()
        if happening.event != "picture":
            stuck = self._capture is not None and self._capture.stuck
            if happening.event == "time" and stuck:
                happening = happening._replace(problem="frozen")
            self._advance(happening, time.monotonic())
            self._report()

    def _advance(self, happening: "_Happening", now: float) -> None:
        if happening.error is not None:
            self._error = happening.error
        self.connection, action = advance(
            self.connection, happening.event, now, limits=self._limits, reason=happening.reason,
            problem=happening.problem, chance=random.random(),  # noqa: S311 (no secret)
        )  # fmt: skip
        if action == "abandon":
            self.abandoned += self._abandon() and happening.event == "time"
            if happening.event == "time":
                self._error = SourceLostError(f"{self.name}: {self.connection.reason}")
        elif action == "open":
            self._open()

    def _report(self) -> None:
        """Tell of a change, unless it is another attempt like the last one."""
        before, after = self._reported, self.connection
        is_retry = after.failures > 0 and after.state == "connecting"
        if not is_retry and _summary(before) != _summary(after):
            self._reported = after
            self._on_change(before, after)

    def _open(self) -> None:
        self._hanging = [capture for capture in self._hanging if capture.running]
        if len(self._hanging) >= MAX_HANGING:
            reason = f"{len(self._hanging)} attempts to read it do not return"
            self._happenings.put(_Happening("lost", reason))
            return
        self._seen, self._picture = "", None
        self._newest, self._looked = None, -math.inf
        self._check = PictureCheck(self._limits)
        with self._lock:
            self._capture = self._new_capture(
                first_index=self._next_index, connection=self.connection.live_count
            )
        self._capture.start()

    def _abandon(self) -> bool:
        """Expect no more of the connection; whether its thread still hangs in it."""
        with self._lock:
            capture, self._capture = self._capture, None
        if capture is None:
            return False
        capture.abandon()
        self._hanging += [capture] if capture.running else []
        return capture.running

    def _finish(self, error: Exception | None) -> None:
        self.frames.finish(error)
        self._decided.set()
        self._happenings.put(_Happening("time"))  # its thread ends

    def _open_now(self, capture: Capture) -> None:
        """In the thread of a connection: it is open."""
        if capture is not self._capture:
            return
        self.live, self.fps = capture.live, capture.fps
        if self.fps > 0:  # a camera of one picture in 5 s is not stalled after 2 s
            stall = min(max(self._limits.stall, 3 / self.fps), self._limits.read_timeout)
            self._limits = replace(self._limits, stall=stall)
        self._was_open = True
        self._decided.set()
        self._happenings.put(_Happening("opened", capture=capture))

    def _put(self, capture: Capture, frame: Frame | Deferred[Frame]) -> None:
        """In the thread of a connection: a frame."""
        with self._lock:
            if capture is not self._capture:
                return
            self._next_index = capture.next_index
            if capture.live:
                self.dropped += self.frames.put(frame, replace=True)
        if not capture.live:  # this waits until there is room
            self.frames.put(frame, replace=False)
        self._picture = now = time.monotonic()
        seen = self._look(frame, now)
        news = seen is not None and seen != self._seen
        self._seen = self._seen if seen is None else seen
        if news or self.connection.state != "live":
            self._happenings.put(_Happening("picture", capture=capture))

    def _look(self, newest: Frame | Deferred[Frame], now: float) -> CameraProblem | None:
        """What is wrong with the pictures; None where there was nothing to look at.

        One that somebody took costs nothing more. Only where nobody takes any, the newest one is
        converted for this, now and then.
        """
        before, self._newest = self._newest, newest
        if isinstance(newest, Deferred):
            taken = before.value if isinstance(before, Deferred) else None
            if taken is None and now - self._looked < UNTAKEN_INTERVAL:
                return None
            frame = taken or newest.get()
        else:
            frame = newest
        self._looked = now
        height, width = frame.pixels.shape[:2]
        if self.size not in {(0, 0), (width, height)}:
            log.info("%s: its pictures are %dx%d now", self.name, width, height)
        self.size = (width, height)
        return self._check.problem(frame.pixels, now)

    def _end(self, capture: Capture, error: Exception | None) -> None:
        """In the thread of a connection: it ended, or could not be opened."""
        if capture is not self._capture:
            return
        if not self._retry or not self.live or not isinstance(error, SourceLostError):
            self._finish(error)
            return
        event: CameraEvent = "refused" if isinstance(error, SourceRefusedError) else "lost"
        reason = str(error).removeprefix(f"{self.name}: ")
        self._happenings.put(_Happening(event, reason, error, capture=capture))


class _Happening(NamedTuple):
    """What happened to a camera, and in which connection; None where it was in none."""

    event: CameraEvent
    reason: str = ""
    error: Exception | None = None
    problem: CameraProblem = ""
    capture: Capture | None = None


def _summary(connection: Connection) -> tuple[str, str, str]:
    return connection.state, connection.reason, connection.problem
