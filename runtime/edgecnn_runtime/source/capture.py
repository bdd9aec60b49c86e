"""A source: a thread that reads, a slot for one frame, and the caller who iterates."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from numpy.typing import NDArray

from edgecnn_runtime.errors import SourceLostError, UsageError
from edgecnn_runtime.source.clock import StreamClock
from edgecnn_runtime.source.connection import Connection
from edgecnn_runtime.source.latest import Deferred, LatestSlot, SkipReason
from edgecnn_runtime.source.orientation import Flip, Rotation, orient, to_bgr
from edgecnn_runtime.types import Frame, Pixels

T = TypeVar("T")

READER_GRACE = 1.0
"""Seconds beyond its own time-out in which a reader may report its error; then it is abandoned."""
OPEN = Connection("live", live_count=1)
"""Where a source stands that is not opened again."""
NICE = 5
"""By how much more a thread gives way that reads a live source: it has a third of the weight."""
MAX_PAUSE = 10.0
"""Seconds between two pictures of a file that is played in real time, whatever its stamps say."""
MAX_LAG = 0.25
"""Seconds that such a file may lag behind its pace. One that this machine cannot decode as fast
plays slower from then on: otherwise no picture of it would ever be young again."""

SLOW_STAMPS = (
    "%s: its time stamps are not real time, they advance at %.0f %% of it: "
    "the age of a frame is a guess, from the frames that arrived with the least delay"
)
SLOW_DECODING = "%s: this machine cannot decode it at its own pace: it plays slower"

log = logging.getLogger(__name__)


class RawFrame(NamedTuple):
    """One picture from a reader.

    Attributes:
        pixels: As delivered, in any layout that ``to_bgr`` takes; never written to again by the
            reader, and read-only where somebody else has them, too. Or what makes them, in any
            thread, where that takes time that would be wasted on pictures that nobody takes.
        pts: Seconds since the start of the stream; None without a time stamp.
        late: Whether it comes from a buffer in which newer ones wait behind it.
        paced: Whether it was held back until it was due, so that it counts as taken just now.
        file: Path of the picture; empty where the source is one file or stream.
        skipped: How many pictures before this one were not decoded, because there was no time.
        damaged: How many before this one did not arrive whole, or were built on one that did not.
    """

    pixels: NDArray[Any] | Callable[[], NDArray[Any]]
    pts: float | None
    late: bool = False
    paced: bool = False
    file: str = ""
    skipped: int = 0
    damaged: int = 0


class Reader(Protocol):
    """An opened camera, stream or file; used by one thread."""

    @property
    def live(self) -> bool:
        """Whether it delivers at its own pace, so that only the newest picture counts."""

    @property
    def fps(self) -> float:
        """Nominal pictures per second; 0.0 if unknown."""

    def read(self) -> RawFrame | None:
        """The next picture; None at a regular end.

        Raises:
            SourceLostError: It ended in any other way.
        """

    def close(self) -> None:
        """Release it; idempotent."""


class Capture:
    """One opening of a source: a thread that opens its reader, reads it to its end and closes it.

    Attributes:
        live: Whether the newest frame counts, not every frame; known once it is open.
        fps: Nominal frames per second; 0.0 where unknown.
        stuck: Whether the latest picture had the time stamp of the one before.
        next_index: Number of the next frame.
    """

    def __init__(
        self,
        name: str,
        open_reader: Callable[[], Reader],
        *,
        opened: Callable[["Capture"], None],
        deliver: Callable[["Capture", "Frame | Deferred[Frame]"], None],
        skip: Callable[[int, SkipReason], None],
        ended: Callable[["Capture", Exception | None], None],
        rotate: Rotation = 0,
        flip: Flip = "",
        realtime: bool = False,
        mask: Callable[[Pixels], Pixels] | None = None,
        first_index: int = 0,
        connection: int = 0,
    ) -> None:
        """Do nothing yet.

        Args:
            name: What is opened, with any password removed.
            open_reader: Called by the thread.
            opened: Called by it once the reader is open.
            deliver: Called by it with each frame; none comes after ``abandon`` but the one that is
                on its way. Deferred where the reader's pixels are: masks, too, are applied by
                whoever takes it.
            skip: Called by it with how many pictures before the next frame there are none of, and
                why.
            ended: Called by it at the end: with why it could not be opened, why it ended, or None.
            rotate: Degrees clockwise.
            flip: After rotating: "h" left-right, "v" upside down, "hv" both.
            realtime: Play a file at its own pace.
            mask: Blacks out parts of each turned picture, in place where it may be written to.
            first_index: Number of its first frame.
            connection: ``Frame.connection`` of its frames.
        """
        self.live = realtime
        self.fps = 0.0
        self.stuck = False
        self._name = name
        self._open_reader = open_reader
        self._opened, self._deliver, self._skip, self._ended = opened, deliver, skip, ended
        self._rotate: Rotation = rotate
        self._flip: Flip = flip
        self._realtime = realtime
        self._mask = mask
        self.next_index = first_index
        self._connection = connection
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"capture {name}", daemon=True)

    def start(self) -> "Capture":
        """Open it."""
        self._thread.start()
        return self

    @property
    def running(self) -> bool:
        """Whether its thread has not ended, perhaps in a read that does not return."""
        return self._thread.is_alive()

    def abandon(self, wait: float = 0.0) -> None:
        """Expect no more of it. A read that does not return within ``wait`` seconds is left."""
        self._closed.set()
        started = self._thread.ident is not None
        if started and threading.current_thread() is not self._thread:
            self._thread.join(wait)

    def _run(self) -> None:
        if self._closed.is_set():  # before it was started
            return
        try:
            reader = self._open_reader()
        except Exception as error:  # whatever it is, who waits is told
            self._ended(self, error)
            return
        self.live, self.fps = reader.live or self._realtime, reader.fps
        if reader.live:
            _be_nice()
        self._opened(self)
        try:
            self._read_all(reader)
            self._ended(self, None)
        except Exception as error:
            self._ended(self, error)
        finally:
            reader.close()

    def _read_all(self, reader: Reader) -> None:
        clock, pace, real_time = StreamClock(), _FilePace(self._name, self._realtime), True
        shown: float | None = None
        while not self._closed.is_set() and (picture := reader.read()) is not None:
            now, pts = time.monotonic(), picture.pts
            self.stuck = reader.live and pts is not None and pts == shown
            if self.stuck:  # the same picture again, or one of which nothing tells how old it is
                continue
            if picture.paced:
                captured = now
            elif reader.live or pts is None:
                captured = clock.captured(pts, now)
                if real_time and clock.pace < 1:
                    real_time = False
                    log.warning(SLOW_STAMPS, self._name, 100 * clock.pace)
                if reader.live and picture.late:
                    continue
                shown = pts
            else:
                captured = pace.due(pts, now)
            if self._realtime and self._closed.wait(max(0.0, captured - now)):
                return
            make = partial(self._make_frame, picture, captured, self.next_index)
            frame = Deferred(make) if callable(picture.pixels) else make()
            if self._closed.is_set():
                return
            if picture.skipped:
                self._skip(picture.skipped, "not decoded")
            if picture.damaged:
                self._skip(picture.damaged, "damaged")
            self.next_index += 1
            self._deliver(self, frame)

    def _make_frame(self, picture: RawFrame, captured: float, index: int) -> Frame:
        pixels = picture.pixels() if callable(picture.pixels) else picture.pixels
        pixels = orient(to_bgr(pixels), self._rotate, self._flip)
        if self._mask is not None:
            pixels = self._mask(pixels)
        pixels.setflags(write=False)
        return Frame(
            pixels, index, captured, picture.pts, self._name, self.live, picture.file,
            self._connection,
        )  # fmt: skip


def _be_nice() -> None:
    """Let a thread that decodes wait for those that work on what is decoded already.

    Where there is not time for everything, a result is worth more than one more picture.
    """
    if sys.platform == "linux":  # elsewhere a nice value is the process's
        thread = threading.get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICE)


class _FilePace:
    """When each picture of a file is due, if it is played at its own pace from the first one on."""

    def __init__(self, name: str, realtime: bool) -> None:
        self._name, self._realtime = name, realtime
        self._start: float | None = None
        self._lagged = False

    def due(self, pts: float, now: float) -> float:
        start = now - pts if self._start is None else self._start
        if self._realtime:
            start = min(start, now + MAX_PAUSE - pts)
            if now - (start + pts) > MAX_LAG:
                start = now - pts
                if not self._lagged:
                    self._lagged = True
                    log.warning(SLOW_DECODING, self._name)
        self._start = start
        return start + pts


class Source:
    """Frames from a camera, stream or file: use it in ``with`` and iterate.

    A live source is always drained: a frame that is not taken before the next one comes is
    dropped and counted, so what is taken is the newest there is. From a file no frame is dropped.
    Decoding goes on in a thread of its own while the caller works on the frame before.

    One caller at a time may iterate; ``close`` may be called from any thread, and ends the
    iteration.

    Attributes:
        name: What was opened, with any password removed.
        dropped: How many frames were replaced by a newer one before anybody took them.
        frames: Where the newest frame lies; a scheduler takes it from there.
    """

    def __init__(
        self,
        name: str,
        open_reader: Callable[[], Reader],
        *,
        rotate: Rotation = 0,
        flip: Flip = "",
        open_timeout: float | None = 5.0,
        read_timeout: float | None = 10.0,
        realtime: bool = False,
        mask: Callable[[Pixels], Pixels] | None = None,
    ) -> None:
        """Open it, in a thread of its own, and begin to read.

        Args:
            name: What is opened, with any password removed.
            open_reader: Called by that thread.
            rotate: Degrees clockwise.
            flip: After rotating: "h" left-right, "v" upside down, "hv" both.
            open_timeout: Seconds after which a source that does not open is lost; None for a
                file, which takes as long as it takes.
            read_timeout: The same for the next picture.
            realtime: Play a file at its own pace.
            mask: Blacks out, in each picture, what nobody may see, before anybody has it.

        Raises:
            SourceLostError: It is not open in time.
            Exception: Whatever ``open_reader`` raises.
        """
        self.name = name
        self.dropped = 0
        self.frames: LatestSlot[Frame] = LatestSlot()
        self._read_timeout = read_timeout
        self._opened = threading.Event()
        self._refused: Exception | None = None
        self._capture = Capture(
            name, open_reader, opened=self._begin, deliver=self._put,
            skip=self.frames.skip, ended=self._end, rotate=rotate, flip=flip, realtime=realtime,
            mask=mask,
        ).start()  # fmt: skip
        limit = None if open_timeout is None else open_timeout + READER_GRACE
        if not self._opened.wait(limit):
            self._capture.abandon()
            raise SourceLostError(f"{name}: no answer within {open_timeout:g} s")
        if self._refused is not None:
            raise self._refused

    @property
    def live(self) -> bool:
        """Whether the newest frame counts, not every frame."""
        return self._capture.live

    @property
    def fps(self) -> float:
        """Nominal frames per second; 0.0 where unknown."""
        return self._capture.fps

    @property
    def connection(self) -> Connection:
        """Open: a source that is not opened again is never anything else."""
        return OPEN

    def wait_open(self) -> bool:
        """True: it is open."""
        return True

    def give_up(self) -> None:
        """End it."""
        self.close(wait=0.0)

    def read(self) -> Frame | None:
        """The next frame (of a live source: the newest), None at the end or once closed.

        Raises:
            SourceLostError: The source ended in any other way, or gave nothing for
                ``read_timeout`` seconds: the read is then abandoned.
        """
        return self.wait_for(self.frames)

    def wait_for(self, slot: LatestSlot[T]) -> T | None:
        """The next value of a slot that this source's frames lead to, None at the end.

        Args:
            slot: ``frames``, or the results that a scheduler makes of them.

        Raises:
            SourceLostError: As ``read`` does; also while nobody takes the frames any more.
        """
        if self._read_timeout is None:
            return slot.take()
        while True:
            try:
                return slot.take(self._read_timeout + READER_GRACE)
            except TimeoutError:
                if (
                    not self.frames
                    and time.monotonic() - self.frames.last_change > self._read_timeout
                ):
                    error = SourceLostError(
                        f"{self.name}: no picture for {self._read_timeout:g} s; "
                        "is it connected, and is the network up?"
                    )
                    self.frames.finish(error)  # the next read says so too
                    self.close(wait=0.0)
                    raise error from None

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self.read()) is not None:
            yield frame

    def close(self, *, wait: float = READER_GRACE) -> None:
        """Stop and release. A read that does not return within ``wait`` seconds is abandoned."""
        self.frames.finish()
        self.frames.clear()
        self._capture.abandon(wait)

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_problem: object) -> None:
        self.close()

    def _begin(self, _capture: Capture) -> None:
        self._opened.set()

    def _put(self, capture: Capture, frame: Frame | Deferred[Frame]) -> None:
        self.dropped += self.frames.put(frame, replace=capture.live)

    def _end(self, _capture: Capture, error: Exception | None) -> None:
        if self._opened.is_set():
            self.frames.finish(error)
        else:
            self._refused = error
            self._opened.set()


def check_options(rotate: int, flip: str, transport: str, *timeouts: float) -> None:
    """Check the options of ``open_source``.

    Raises:
        UsageError: A value is not allowed; the message lists those that are.
    """
    if rotate not in {0, 90, 180, 270}:
        raise UsageError(f"rotate {rotate}: it is 0, 90, 180 or 270 degrees, clockwise")
    if flip not in {"", "h", "v", "hv"}:
        raise UsageError(f"flip {flip!r}: it is h (left-right), v (upside down) or hv")
    if transport not in {"tcp", "udp"}:
        raise UsageError(f"transport {transport!r}: it is tcp or udp")
    if not all(timeout > 0 for timeout in timeouts):
        raise UsageError("time-outs are seconds, above 0")
