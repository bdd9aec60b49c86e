"""A video file: every whole frame in order, and whether any was damaged."""

import re
from collections import deque
from pathlib import Path
from types import ModuleType
from typing import Any

from edgecnn_runtime.device.cpu import usable_cores
from edgecnn_runtime.errors import SourceLostError
from edgecnn_runtime.source.access import forbidden
from edgecnn_runtime.source.capture import RawFrame, Reader
from edgecnn_runtime.source.decoder import VideoDecoder, import_pyav, open_container
from edgecnn_runtime.source.truncation import missing_bytes

MAX_UNREADABLE = 250
"""Read errors in a row after which the rest of a damaged file is given up."""
MAX_KEYFRAME_WAIT = 60.0
"""Seconds of the video after a damaged frame after which frames are returned again in any case."""
MAX_SHORTFALL = 0.1
"""The share of a video's declared length that may be missing at its end. Twice the longest gap
between its frames may be missing, too: cameras slow down at night."""
PROTOCOLS = "file,crypto,data"
"""What a file may lead to: never the network."""


def open_video(path: Path, *, loop: bool = False) -> Reader:
    """Open a video file with PyAV, or with OpenCV where PyAV is not installed.

    Args:
        path: Of any bytes, UTF-8 or not; OpenCV takes UTF-8 only.
        loop: Begin anew at the end, time stamps going on, for demonstrations and endurance tests.

    Raises:
        SourceLostError: There is no video in it, or it may not be read.
    """
    av = import_pyav()
    if av is not None:
        return VideoFile(av, path, loop=loop)
    from edgecnn_runtime.source.opencv import OpenCvVideo

    return OpenCvVideo(path, loop=loop)


class VideoFile:
    """What PyAV reads of a video file: every whole frame, in order, with the file's time stamps.

    Where there are none (raw H.264), or they stand still, frames follow at its nominal rate.

    Attributes:
        fps: Nominal frames per second; 0.0 if unknown.
    """

    live = False

    def __init__(self, av: ModuleType, path: Path, *, loop: bool = False) -> None:
        """Open it with ``av``, as ``open_video`` does."""
        self._path, self._loop, self._av = path, loop, av
        self._pts = self._position = self._gap = 0.0
        self._open()
        self.fps = self._decoder.fps

    def read(self) -> RawFrame | None:
        """The next whole frame; None at the end of a complete file.

        Raises:
            SourceLostError: The file ended, and it is cut short or damaged.
        """
        while not self._waiting:
            packet = self._next_packet()
            if packet is not None:
                seconds = self._decoder.seconds(packet) or 0.0
                self._gap = max(self._gap, seconds - self._position)
                self._position = max(self._position, seconds)
                self._waiting.extend(self._decoder.decode(packet, self._position))
                continue
            self._check_whole()
            if not self._loop or not self._count:
                return None
            self._rewind()
        frame = self._waiting.popleft()
        self._pts = self._stamp(frame)
        self._count += 1
        return RawFrame(self._decoder.to_bgr(frame), self._pts)

    def close(self) -> None:
        """Release the decoder."""
        self._waiting.clear()
        self._decoder.close()
        self._container.close()

    def _open(self) -> None:
        self._base, self._count = self._pts, 0
        self._position = self._gap = 0.0
        self._first: float | None = None
        self._waiting: deque[Any] = deque()
        try:
            # A relative name with a colon in it would be taken for a protocol.
            target = str(self._path.absolute())
            self._container = open_container(self._av, target, {"protocol_whitelist": PROTOCOLS})
            self._decoder = VideoDecoder(
                self._av, self._container, threads=usable_cores(), max_wait=MAX_KEYFRAME_WAIT
            )
        except PermissionError:
            raise SourceLostError(forbidden(self._path)) from None
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            cut = missing_bytes(self._path)
            reason = f"it {error}" if type(error) is ValueError else "no video is found in it"
            reason = f"it is cut short, {cut} bytes are missing" if cut else reason
            raise SourceLostError(f"{self._path} cannot be read: {reason}") from None
        self._packets = self._container.demux(self._decoder.stream)

    def _next_packet(self) -> Any:
        for _ in range(MAX_UNREADABLE):
            try:
                return next(self._packets, None)
            except (self._av.error.FFmpegError, OSError):
                self._decoder.lose(self._position)
                self._packets = self._container.demux(self._decoder.stream)
        return None

    def _stamp(self, frame: Any) -> float:
        step = 1 / (self.fps or 25.0)
        follows = self._pts + step if self._count else self._base
        seconds = self._decoder.seconds(frame)
        if seconds is None:
            return follows
        self._first = seconds if self._first is None else self._first
        pts = self._base + seconds - self._first
        return pts if pts > self._pts or not self._count else follows

    def _check_whole(self) -> None:
        cut = missing_bytes(self._path)
        early = self._position + 2 * self._gap < (1 - MAX_SHORTFALL) * _end(self._decoder.stream)
        if not cut and not early and not self._decoder.damaged and self._count:
            return
        what = f"ends in mid-frame, {cut} bytes are missing" if cut else "is damaged"
        expected = self._decoder.stream.frames or self._decoder.packets
        raise SourceLostError(
            f"{self._path} {what}: {self._count} of about {expected} frames were read"
        )

    def _rewind(self) -> None:
        self.close()
        self._pts += 1 / (self.fps or 25.0)
        self._open()


def _end(stream: Any) -> float:
    """When a Matroska file says that its video ends, in seconds; 0.0 where it does not.

    Its reader passes over what it cannot parse, however much that is, without an error. Other
    formats report it, or count their frames.
    """
    found = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d*)?)", stream.metadata.get("DURATION", ""))
    return 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3]) if found else 0.0
