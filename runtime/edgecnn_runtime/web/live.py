"""The live view: each frame is encoded once, while somebody watches, and sent with its result.

    any thread: wake(camera) ─▶ pump of each watched channel ─▶ message ─▶ every viewer of it

A channel is a camera's pipeline at one size. A viewer holds no queue: of each channel it is sent
the newest message whenever its connection takes one, so a slow one sees fewer frames and none that
are old.

A message, all numbers in network byte order:

    float64  now on the server's monotonic clock
    uint32   bytes of the header
    uint32   bytes of the picture
    header   JSON, see ``_header``; ``{}`` in a message without a picture, which says "still here"
    picture  JPEG
"""

import asyncio
import logging
import struct
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np

from edgecnn_runtime.errors import UnknownCameraError
from edgecnn_runtime.sinks.serialize import result_records, wall_time
from edgecnn_runtime.tasks import TASKS
from edgecnn_runtime.types import Pixels, PoseDetection, Result, Skeleton, Track
from edgecnn_runtime.web.operations import LiveView, Operations

ViewSize: TypeAlias = Literal["grid", "full"]
WIDTHS: dict[ViewSize, int] = {"grid": 640, "full": 1280}
"""Pixels that a picture is wide at most."""
RATES: dict[ViewSize, float] = {"grid": 10.0, "full": 25.0}
"""Frames per second at most."""
QUALITY = 80
"""Of the JPEG."""
HEARTBEAT = 5.0
"""Seconds of silence after which a viewer is told that the connection lives."""
ENCODERS = 2
"""Threads that encode."""

log = logging.getLogger(__name__)

Key: TypeAlias = tuple[str, ViewSize, str]
"""Camera, size, pipeline."""


class LiveHub:
    """Sends the live views of a daemon to any number of viewers; lives in one event loop."""

    def __init__(self, operations: Operations) -> None:
        """Nobody watches yet, and nothing is subscribed to.

        Args:
            operations: The daemon.
        """
        self._operations = operations
        self._channels: dict[Key, _Channel] = {}
        self._pool = ThreadPoolExecutor(ENCODERS, thread_name_prefix="live-view")
        self._unsubscribe: Callable[[], None] | None = None

    async def watch(
        self, cameras: Sequence[str], size: ViewSize, pipeline: str = ""
    ) -> AsyncGenerator[bytes, None]:
        """The newest messages of these cameras until the viewer leaves.

        Args:
            cameras: Their names; there may be any number of viewers of each.
            size: Of the pictures.
            pipeline: Its name; empty for the first one of each camera.

        Yields:
            Messages, as the module describes them; the buffer is shared with other viewers.
        """
        loop, viewer = asyncio.get_running_loop(), _Viewer()
        keys: list[Key] = [(camera, size, pipeline) for camera in dict.fromkeys(cameras)]
        channels = [self._join(key, viewer) for key in keys]
        try:
            while True:
                heartbeat = loop.call_later(HEARTBEAT, viewer.wake.set)
                await viewer.wake.wait()
                heartbeat.cancel()
                viewer.wake.clear()
                if not viewer.fresh:
                    yield _message(b"{}", b"")
                while viewer.fresh:
                    channel = next(iter(viewer.fresh))
                    del viewer.fresh[channel]
                    yield channel.message
        finally:
            for channel in channels:
                self._leave(channel, viewer)

    def close(self) -> None:
        """End all pumps; the viewers' connections end by themselves."""
        for channel in list(self._channels.values()):
            channel.pump.cancel()
        self._channels.clear()
        self._end_subscription()
        self._pool.shutdown(wait=False)

    def _join(self, key: Key, viewer: "_Viewer") -> "_Channel":
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = _Channel(key)
            channel.pump = asyncio.create_task(self._pump(channel))
        if self._unsubscribe is None:
            loop = asyncio.get_running_loop()

            def wake(camera: str) -> None:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(self._wake, camera)

            self._unsubscribe = self._operations.subscribe(wake)
        channel.viewers.add(viewer)
        if channel.message:
            viewer.offer(channel)
        return channel

    def _leave(self, channel: "_Channel", viewer: "_Viewer") -> None:
        channel.viewers.discard(viewer)
        if not channel.viewers and self._channels.get(channel.key) is channel:
            channel.pump.cancel()
            del self._channels[channel.key]
        if not self._channels:
            self._end_subscription()

    def _end_subscription(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def _wake(self, camera: str) -> None:
        for key, channel in self._channels.items():
            if key[0] == camera:
                channel.changed.set()

    async def _pump(self, channel: "_Channel") -> None:
        """Encode the newest view whenever there is one, no faster than anybody needs."""
        loop, period = asyncio.get_running_loop(), 1 / RATES[channel.key[1]]
        channel.changed.set()
        while True:
            await channel.changed.wait()
            channel.changed.clear()
            start = loop.time()
            try:
                message = await loop.run_in_executor(self._pool, self._encode, channel)
            except Exception:  # a defect: this frame is not shown, the next one may be
                log.exception("%s: a view cannot be encoded", channel.key[0])
                continue
            if message:
                channel.message = message
                for viewer in channel.viewers:
                    viewer.offer(channel)
                await asyncio.sleep(max(0.0, start + period - loop.time()))

    def _encode(self, channel: "_Channel") -> bytes:
        """The message of the newest view; empty where it was sent already, or there is none."""
        camera, size, pipeline = channel.key
        try:
            view = self._operations.view(camera, after=channel.index, pipeline=pipeline)
        except UnknownCameraError:  # it was removed while somebody watches
            return b""
        if view is None or view.result.frame.index == channel.index:
            return b""
        channel.index = view.result.frame.index
        picture = channel.shrink(view.result.frame.pixels, WIDTHS[size])
        return _message(
            msgspec.json.encode(_header(camera, view), enc_hook=float), encode_jpeg(picture)
        )


class _Viewer:
    """One open page.

    Attributes:
        fresh: Channels with a message that it was not sent, the one that waits longest first.
        wake: Set when there is one.
    """

    def __init__(self) -> None:
        self.fresh: dict[_Channel, None] = {}
        self.wake = asyncio.Event()

    def offer(self, channel: "_Channel") -> None:
        self.fresh.setdefault(channel)
        self.wake.set()


@dataclass(eq=False)
class _Channel:
    """A camera at one size, which somebody watches.

    Attributes:
        message: The newest one; empty before the first.
        index: Of the frame in it.
        buffer: The picture that is encoded, used again for the next one.
    """

    key: Key
    viewers: set[_Viewer] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    pump: "asyncio.Task[None]" = field(init=False)
    message: bytes = b""
    index: int = -1
    buffer: Pixels = field(default_factory=lambda: np.empty((0, 0, 3), np.uint8))

    def shrink(self, pixels: Pixels, width: int) -> Pixels:
        """At most so wide; the frame itself where it is already."""
        import cv2

        height, full = pixels.shape[:2]
        if full <= width:
            return pixels
        size = (width, max(1, round(height * width / full)))
        if self.buffer.shape[1::-1] != size:
            self.buffer = np.empty((size[1], size[0], 3), np.uint8)
        # area would be smoother and takes five times as long, more than the JPEG itself
        cv2.resize(pixels, size, dst=self.buffer, interpolation=cv2.INTER_LINEAR)
        return self.buffer


def encode_jpeg(pixels: Pixels, quality: int = QUALITY) -> bytes:
    """A picture as JPEG.

    Args:
        pixels: uint8[H,W,3] BGR.
        quality: 0..100.
    """
    import cv2

    encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return encoded.tobytes()


def _message(header: bytes, picture: bytes) -> bytes:
    lengths = struct.pack("!dII", time.monotonic(), len(header), len(picture))
    return b"".join((lengths, header, picture))


def _header(camera: str, view: LiveView) -> dict[str, Any]:
    """What belongs to a frame; coordinates in pixels of the frame, not of the picture."""
    result, frame = view.result, view.result.frame
    height, width = frame.pixels.shape[:2]
    timings = result.timings
    records = [] if result.task == "embed" else _shown(result_records(result))
    entries = result.result if isinstance(result.result, list) else []
    shapes = {id(entry): record for entry, record in zip(entries, records, strict=False)}
    tracks = [track for track in view.tracks if track.state != "ended"]
    return {
        "camera": camera,
        "pipeline": view.pipeline,
        "index": frame.index,
        "width": width,
        "height": height,
        "captured": frame.captured if result.age is not None else None,
        "time": wall_time(frame.captured) if result.age is not None else None,
        "age": result.age,
        "timings": [timings.wait, timings.prepare, timings.infer, timings.decode],
        "task": result.task,
        "results": records,
        "skeleton": _skeleton(result.result),
        "tracks": [_track_record(track, view, shapes) for track in tracks],
    }


def _shown(records: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """What the page draws: a mask's polygons, and not its many run lengths."""
    return [{key: record[key] for key in record if key != "mask"} for record in records]


def _skeleton(result: Result) -> Skeleton:
    """The lines between keypoints; those of every pose are the same."""
    first = result[0] if isinstance(result, list) and result else None
    return first.skeleton if isinstance(first, PoseDetection) else ()


def _track_record(
    track: Track, view: LiveView, shapes: Mapping[int, Mapping[str, object]]
) -> dict[str, Any]:
    """A track with what is known of its shape in this frame; ``shapes``: records, by the id."""
    found, result = track.detection, view.result
    record: Mapping[str, object] = {}
    if found.shape is not None and track.last == result.frame.captured:
        # A track may be followed that does not count as a result.
        known = shapes.get(id(found.shape))
        record = _shown(TASKS[result.task].serialize([found.shape]))[0] if known is None else known
    return {
        **record,
        "id": track.id,
        "state": track.state,
        "label": found.label,
        "index": found.index,
        "score": round(found.score, 4),
        "box": [round(value, 1) for value in track.box],
        "points": found.points,
        "name": view.names.get(track.id, ""),
    }
