"""Short videos of events, which begin before the event does.

The newest frames of each camera are held as small JPEG pictures: SIDE pixels wide at most, RATE a
second, for the time before an event, the time after it and SLACK seconds more, and never more than
``memory`` bytes. At 640x360 a picture has 20 to 60 kB, so 5 + 5 + 10 seconds of a camera take 2 to
6 MB. A clip is encoded when its end has come; events of a camera within a clip share it. Frames are
in memory only: for events from before a restart there is no clip.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, NamedTuple

import cv2
import numpy as np
from msgspec import Meta

from edgecnn_runtime.errors import SinkDownError
from edgecnn_runtime.sinks.encoders import open_encoder
from edgecnn_runtime.sinks.events.base import (
    Days,
    EventSinkKind,
    SinkContext,
    SinkSettings,
    Size,
    file_name,
    output_path,
    size_in_bytes,
)
from edgecnn_runtime.sinks.events.folder_limits import FolderLimits
from edgecnn_runtime.types import Event, Frame, Pixels

SIDE = 640
RATE = 5.0
SLACK = 10.0
QUALITY = 80

log = logging.getLogger(__name__)

Seconds = Annotated[float, Meta(ge=0, le=60)]


class ClipSettings(SinkSettings, frozen=True, kw_only=True, tag_field="kind", tag="clips"):
    """Settings of a folder of videos.

    Attributes:
        folder: Relative to the folder of site.yaml; made where there is none.
        before: Seconds of video before an event.
        after: Seconds after it.
        memory: Of the frames of each camera that are held, at most.
        days: Older files are removed; never where it is not given.
        max_size: Of all files together; the oldest are removed.
    """

    folder: str
    before: Seconds = 5.0
    after: Seconds = 5.0
    memory: Size = "8MB"
    days: Days | None = None
    max_size: Size = "5GB"


class _Picture(NamedTuple):
    at: float
    data: bytes


class Clips:
    """Event sink that writes ``CAMERA/DATE/TIME-TYPE-ID.mp4`` (UTC); also watches frames."""

    def __init__(self, settings: ClipSettings, context: SinkContext) -> None:
        self._folder = output_path(settings.folder, "folder", context)
        self._before, self._after = settings.before, settings.after
        self._memory = size_in_bytes(settings.memory)
        self._rings: dict[str, _Ring] = {}
        self._ends: dict[str, float] = {}
        self._stop = threading.Event()
        self._limits = FolderLimits(
            self._folder, days=settings.days, size=size_in_bytes(settings.max_size), suffix=".mp4"
        )

    def start(self) -> None:
        """Nothing takes time."""

    def watch(self, camera: str, frame: Frame, /) -> None:
        """Hold a frame, unless the last one of this camera is too recent."""
        ring = self._rings.get(camera)
        if ring is None:
            seconds = self._before + self._after + SLACK
            ring = self._rings.setdefault(camera, _Ring(seconds, self._memory))
        ring.add(frame)

    def deliver(self, events: Sequence[Event], /) -> None:
        """Wait for the end of each clip, and write it.

        Raises:
            SinkDownError: The folder cannot be written.
        """
        for event in events:
            if event.camera not in self._rings or event.time <= self._ends.get(event.camera, 0.0):
                continue
            end = event.time + self._after
            self._stop.wait(min(max(0.0, end - time.time()), self._after))
            pictures = self._rings[event.camera].between(event.time - self._before, end)
            if pictures:
                self._write(self._folder / clip_name(event), pictures)
                self._ends[event.camera] = end
            else:
                log.info("no frames are left for a clip of event %s", event.id)
        self._limits.apply()

    def close(self) -> None:
        """End any wait: what is there of a clip is written."""
        self._stop.set()

    def _write(self, path: Path, pictures: Sequence[_Picture]) -> None:
        """A whole video or none; the same event again replaces its own."""
        scratch = path.with_name(f".{path.stem}.part.mp4")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            height, width = _decode(pictures[0]).shape[:2]
            encoder = open_encoder(scratch, width, height, RATE)
            try:
                for pixels, at in _frames(pictures, width, height):
                    encoder.write(pixels, at)
            finally:
                encoder.close()
            scratch.replace(path)
        except OSError as error:
            with suppress(OSError):
                scratch.unlink()
            raise SinkDownError(f"{path}: {error.strerror or error}") from None


class _Ring:
    """The newest frames of a camera, as JPEG pictures with the wall clock's time."""

    def __init__(self, seconds: float, memory: int) -> None:
        self._seconds = seconds
        self._memory = memory
        self._pictures: deque[_Picture] = deque()
        self._bytes = 0
        self._last = -np.inf
        self._lock = threading.Lock()

    def add(self, frame: Frame) -> None:
        """Hold a frame, and let go what is too old or too much."""
        if frame.captured < self._last + 0.9 / RATE:
            return
        self._last = frame.captured
        at = time.time() - (time.monotonic() - frame.captured)
        picture = _Picture(at, _encode(frame.pixels))
        with self._lock:
            self._pictures.append(picture)
            self._bytes += len(picture.data)
            while self._pictures and (
                self._bytes > self._memory or self._pictures[0].at < at - self._seconds
            ):
                self._bytes -= len(self._pictures.popleft().data)

    def between(self, start: float, end: float) -> list[_Picture]:
        """The pictures of a span of time."""
        with self._lock:
            return [picture for picture in self._pictures if start <= picture.at <= end]


def clip_name(event: Event) -> Path:
    """Where the clip of an event is written."""
    at = datetime.fromtimestamp(event.time, timezone.utc)
    name = f"{at:%H-%M-%S}-{event.type}-{event.id[-12:]}.mp4"
    return Path(file_name(event.camera)) / f"{at:%Y-%m-%d}" / name


def _encode(pixels: Pixels) -> bytes:
    height, width = pixels.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    if scale < 1.0:
        size = (max(2, round(width * scale)), max(2, round(height * scale)))
        # area would be smoother and takes five times as long, more than the JPEG itself
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return data.tobytes()


def _decode(picture: _Picture) -> Pixels:
    pixels = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(pixels, np.uint8)


def _frames(
    pictures: Sequence[_Picture], width: int, height: int
) -> Iterator[tuple[Pixels, float]]:
    """Pixels of one size, and the seconds since the first picture."""
    for picture in pictures:
        pixels = _decode(picture)
        if pixels.shape[:2] != (height, width):  # the camera's resolution changed
            resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
            pixels = np.asarray(resized, np.uint8)
        yield pixels, picture.at - pictures[0].at


KIND = EventSinkKind(settings=ClipSettings, open=Clips)
