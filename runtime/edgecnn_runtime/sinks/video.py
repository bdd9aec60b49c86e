"""Results drawn into a video that exists whole or not at all."""

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import cv2

from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.preprocess import Roi
from edgecnn_runtime.sinks.annotator import Annotator
from edgecnn_runtime.sinks.base import SinkKind
from edgecnn_runtime.sinks.encoders import CODECS, Encoder, open_encoder
from edgecnn_runtime.types import FrameResult

PICTURE_FPS = 2.0
"""Pictures per second, for a folder of them."""
LONGEST_STILL = 10.0
"""Seconds that a gap in a camera's stream takes in the video at most."""
RESERVE = 32 << 20
"""Bytes of the disk left alone, to complete the video with."""
SMOOTHING = 0.1
"""Weight of the newest period in the pace shown."""
DISK_CHECK_INTERVAL = 25
"""Frames between two looks at the free space of the disk."""


class Video:
    """Sink of annotated frames: a video. Frames keep their distance in time.

    Attributes:
        path: The video; what stands there is replaced when the new one is complete.
        codec: What it is encoded with; "" before the first frame.
    """

    def __init__(
        self, path: Path, *, fps: float, labels: Sequence[str] = (), roi: Roi | None = None
    ) -> None:
        """Write nothing yet.

        Args:
            path: Its ending is one of ``encoders.CODECS``.
            fps: Nominal frames per second of the source; 0 where it has none.
            labels: Class names by class number.
            roi: The part of each frame that the model is given; it is framed.
        """
        self.path = path
        self.codec = ""
        self._part = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
        self._fps = fps if 1 <= fps <= 240 else 0.0
        self._annotator = Annotator(labels, roi)
        self._encoder: Encoder | None = None
        self._size = (0, 0)
        self._captured = self._at = 0.0
        self._written = self._period = 0.0
        self._count = 0

    def write(self, result: FrameResult, /) -> None:
        """Add the frame with its result drawn in, scaled to the size of the first one.

        Raises:
            EdgecnnError: The disk is nearly full; what was written can still be completed.
        """
        pixels = result.frame.pixels
        height, width = pixels.shape[:2]
        at, text = self._time(result), caption(result, self._pace())
        try:
            if self._count % DISK_CHECK_INTERVAL == 0:
                self._check_space()
            if self._encoder is None:
                self._encoder = open_encoder(self._part, width, height, self._fps or 25.0)
                self._size, self.codec = (width, height), self._encoder.codec
            self._encoder.hold(at)  # before the annotator's buffer gets its next picture
            drawing = self._annotator.annotate(result, caption=text)
            if (width, height) != self._size:
                drawing = cv2.resize(drawing, self._size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
            self._encoder.write(drawing, at)
        except OSError as error:
            raise EdgecnnError(f"cannot write {self.path}: {error.strerror or error}") from None
        self._count += 1

    def close(self) -> None:
        """Complete the video and put it in its place; idempotent.

        Raises:
            EdgecnnError: It cannot be completed; what stood there before is untouched.
        """
        encoder, self._encoder = self._encoder, None
        if encoder is None:
            return
        try:
            encoder.close()
            if not _readable(self._part):
                raise EdgecnnError(
                    f"cannot write {self.path}: the video could not be completed; is the disk full?"
                )
            self._part.replace(self.path)
        except OSError as error:
            raise EdgecnnError(f"cannot write {self.path}: {error.strerror or error}") from None
        finally:
            self._part.unlink(missing_ok=True)

    def _pace(self) -> float:
        """Frames per second, smoothed; 0.0 at first."""
        now = time.monotonic()
        period, self._written = now - self._written, now
        if self._count > 1:
            self._period += SMOOTHING * (period - self._period)
        else:
            self._period = period
        return 1 / self._period if self._count else 0.0

    def _time(self, result: FrameResult) -> float:
        """Seconds from the first frame to this one, in the video."""
        if result.frame.pts is None and result.age is None:
            return self._count / PICTURE_FPS
        since = result.frame.captured - self._captured
        self._captured = result.frame.captured
        self._at += min(max(since, 0.0), LONGEST_STILL) if self._count else 0.0
        return self._at

    def _check_space(self) -> None:
        free = shutil.disk_usage(self.path.parent).free
        if free < RESERVE:
            raise EdgecnnError(
                f"{self.path}: only {free >> 20} MiB are left on its disk; "
                "what was recorded until now is kept"
            )


def caption(result: FrameResult, rate: float) -> str:
    """``24.8 fps   8.1 ms   age 63 ms``: the pace, the time a result takes, and its age."""
    parts = [f"{rate:.1f} fps"] if rate else []
    parts.append(f"{1000 * result.timings.total:.1f} ms")
    if result.age is not None:
        parts.append(f"age {1000 * result.age:.0f} ms")
    return "   ".join(parts)


def _readable(path: Path) -> bool:
    return cv2.VideoCapture(str(path)).grab()  # which is released with the object


KIND = SinkKind(
    flag="save",
    help="annotated video",
    open=lambda path, stream: Video(path, fps=stream.fps, labels=stream.labels, roi=stream.roi),
    suffixes=tuple(CODECS),
    summary_key="saved",
)
