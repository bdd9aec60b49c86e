"""What PyAV decodes, of a file or of a network stream: whole pictures, upright, in BGR."""

import threading
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from edgecnn_runtime.source.orientation import ROTATIONS
from edgecnn_runtime.types import Pixels

KEYFRAME_WAIT = 5.0
"""Seconds after a loss in which only a key frame is trusted; a stream without them mends slowly."""
KEYFRAME_SLACK = 1.5
"""The same in intervals between key frames, for streams that have them more rarely."""
NO_TIMESTAMPS = 0x80
"""FFmpeg's AVFMT_NOTIMESTAMPS: the stamps such a format shows are made up from a nominal rate."""
COLOR_MATRICES = {1: 1, 4: 4, 7: 7, 9: 9, 10: 9}
"""FFmpeg's AVCOL_SPC_… → swscale's SWS_CS_… (ITU-T H.273, table 4); BT.601 for all others."""
BT601 = 5
MAX_PIXEL_ASPECT = 4.0
"""Pixels that claim to be wider or higher than this are not believed."""
MAX_PIXELS = 8192 * 8192
"""Of a picture: a small one may claim to be 16384x16384, which is 1 GB once it is decoded."""


def import_pyav() -> ModuleType | None:
    """PyAV; None where it is not installed."""
    try:
        import av
    except ImportError:
        return None
    module: ModuleType = av
    return module


def open_container(av: ModuleType, target: str, options: dict[str, str], **more: Any) -> Any:
    """Open an input, whatever the encoding of its metadata.

    Args:
        av: PyAV.
        target: A URL or the absolute path of a file.
        options: FFmpeg's.
        more: Further arguments of ``av.open``.

    Raises:
        FFmpegError: It cannot be opened.
    """
    # As plain options, PyAV 17.0 crashes with formats that name their streams late, such as FLV.
    more = {"container_options": options, **more}
    try:
        return av.open(target, **more)
    except UnicodeDecodeError:
        return av.open(target, metadata_errors="replace", **more)


class VideoDecoder:
    """Packets of a video stream → its whole pictures.

    From a loss to the key frame that mends it no picture is returned, because each one repeats the
    damage of the one before. A stream without key frames is trusted again after a while.

    Attributes:
        stream: PyAV's stream.
        fps: Nominal pictures per second; 0.0 if unknown.
        stamped: Whether the container has time stamps of its own.
        packets: How many packets were decoded; one holds one picture in most formats.
        skipped: How many losses there were, and pictures that followed one.
        damaged: How many pictures were damaged, or followed a damaged one. What comes before the
            first key frame does not count: a recording that begins in between is whole.
    """

    def __init__(self, av: ModuleType, container: Any, *, threads: int, max_wait: float) -> None:
        """Choose the stream that a player would show.

        Args:
            av: PyAV.
            container: The opened input.
            threads: Of the decoder; each one beyond the first holds a picture back.
            max_wait: Seconds after a loss until pictures are returned again, key frame or not.

        Raises:
            ValueError: There is no video in it, or none that this PyAV can decode; the message
                says which.
        """
        self.stream = container.streams.best("video")
        if self.stream is None:
            raise ValueError("carries no video")
        if self.stream.codec_context is None:
            raise ValueError("is encoded in a way that this PyAV cannot decode")
        width, height = self.stream.codec_context.width, self.stream.codec_context.height
        if width * height > MAX_PIXELS:
            raise ValueError(
                f"has pictures of {width}x{height} pixels; those of more than "
                f"{MAX_PIXELS / 1e6:.3g} million are not decoded, because each fills the memory: "
                "choose a smaller stream"
            )
        self.stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        self.stream.codec_context.thread_count = threads
        # Threads per slice, the other kind, turn FFmpeg's reports of damage off.
        self.stream.codec_context.thread_type = "FRAME"
        rate = self.stream.average_rate or self.stream.guessed_rate
        self.fps = float(rate) if rate else 0.0
        self.packets = self.skipped = self.damaged = 0
        self._errors = av.error.FFmpegError
        self._converter = av.video.reformatter.VideoReformatter()
        self._converting = threading.Lock()
        self.stamped = not container.format.flags & NO_TIMESTAMPS
        self._tick = float(self.stream.time_base or 0)
        self._pixel_aspect: float | None = None
        self._begun = False
        self._wait, self._max_wait = KEYFRAME_WAIT, max_wait
        self._last_key: float | None = None
        self._lossy_until = 0.0
        self._last_loss: int | None = None

    def lose(self, now: float, stamp: int | None = None, *, counts: bool = True) -> None:
        """Something was lost on the way.

        Args:
            now: Seconds, on the clock of ``decode``.
            stamp: The last picture that may be damaged by it, be it a key frame, in the stream's
                own units; None for the one that is being decoded.
            counts: Whether it is a picture of its own, and not of one that is counted itself.
        """
        self._lossy_until = now + min(self._wait, self._max_wait)
        self.skipped += 1
        self.damaged += counts and self._begun
        if stamp is not None:
            self._last_loss = stamp

    def decode(self, packet: Any, now: float) -> list[Any]:
        """Decode one packet.

        Args:
            packet: PyAV's, with the next part of the stream.
            now: Seconds on a clock that does not go back.

        Returns:
            PyAV's frames, whole ones only.
        """
        self.packets += bool(packet.size)
        if packet.is_keyframe:
            self._begun = True
            if self._last_key is not None:
                self._wait = max(self._wait, KEYFRAME_SLACK * (now - self._last_key))
            self._last_key = now
        if packet.is_corrupt:  # known to MPEG-TS, and not to every decoder
            self.lose(now, packet.pts, counts=False)
        try:
            frames = packet.decode()
        except (self._errors, ValueError):  # the latter of a stream whose codec stayed unknown
            self.lose(now)
            return []
        if frames and self._pixel_aspect is None:  # a stream may not tell before its first picture
            # Not in `to_bgr`: PyAV reads freed memory once the container is closed.
            context = self.stream.codec_context
            ratios = self.stream.sample_aspect_ratio, context.sample_aspect_ratio
            self._pixel_aspect = float(next(filter(None, ratios), 1))
        whole = []
        for frame in frames:
            if frame.is_corrupt:
                self.lose(now)
            elif now >= self._lossy_until or self._mends(frame):
                self._lossy_until = 0.0
                whole.append(frame)
            else:
                self.skipped += 1
                self.damaged += self._begun
        return whole

    def seconds(self, item: Any) -> float | None:
        """The time stamp of a packet or a frame; None where there is none."""
        stamp = item.dts if item.pts is None else item.pts
        return None if stamp is None or not self.stamped else float(stamp) * self._tick

    def to_bgr(self, frame: Any) -> Pixels:
        """Convert a frame as a player shows it; any thread may call this.

        The frame's own color matrix and range count (BT.601 where it names none), pixels that are
        not square are stretched, never shrunk, and the picture is turned as its container says.

        Returns:
            uint8[H,W,3] BGR, C-contiguous. Its memory is used for nothing else.
        """
        width, height = frame.width, frame.height
        aspect = self._pixel_aspect or 1.0
        if 1 < aspect <= MAX_PIXEL_ASPECT:
            width = round(width * aspect)
        elif 1 / MAX_PIXEL_ASPECT <= aspect < 1:
            height = round(height / aspect)
        matrix = COLOR_MATRICES.get(int(frame.colorspace), BT601)
        # Bicubic as OpenCV, for formats whose chroma has to be interpolated.
        with self._converting:
            bgr = self._converter.reformat(
                frame, width, height, "bgr24", src_colorspace=matrix, interpolation="BICUBIC"
            )
        pixels = np.ascontiguousarray(bgr.to_ndarray())
        clockwise = -frame.rotation % 360
        return np.asarray(cv2.rotate(pixels, ROTATIONS[clockwise])) if clockwise else pixels

    def flush(self) -> None:
        """Forget the pictures that it holds, to begin at another key frame."""
        self.stream.codec_context.flush_buffers()

    def close(self) -> None:
        """Let its threads finish; otherwise freeing it would wait for them with the GIL held."""
        self.flush()

    def _mends(self, frame: Any) -> bool:
        behind = self._last_loss is None or frame.pts is None or frame.pts > self._last_loss
        return bool(frame.key_frame) and behind
