"""Results drawn into a video that can be played while it grows."""

import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import cv2

from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.preprocess import Roi
from edgecnn_runtime.sinks.annotator import Annotator
from edgecnn_runtime.sinks.base import SinkKind
from edgecnn_runtime.sinks.encoders import CODECS, Encoder, open_encoder
from edgecnn_runtime.sinks.existing import Existing, set_aside
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
        path: The video.
        codec: What it is encoded with; "" before the first frame.
    """

    def __init__(
        self,
        path: Path,
        *,
        fps: float,
        labels: Sequence[str] = (),
        roi: Roi | None = None,
        existing: Existing = "keep",
    ) -> None:
        """Write nothing yet.

        Args:
            path: Its ending is one of ``encoders.CODECS``.
            fps: Nominal frames per second of the source; 0 where it has none.
            labels: Class names by class number.
            roi: The part of each frame that the model is given; it is framed.
            existing: What becomes of a video that stands there; it cannot be continued, so
                ``append`` keeps it under another name, too.
        """
        self.path = path
        self.codec = ""
        self._existing = existing
        self._fps = fps if 1 <= fps <= 240 else 0.0
        self._annotator = Annotator(labels, roi)
        self._encoder: Encoder | None = None
        self._ended = False
        self._size = (0, 0)
        self._captured = self._at = 0.0
        self._written = self._period = 0.0
        self._count = 0

    def write(self, result: FrameResult, /) -> None:
        """Add the frame with its result drawn in, scaled to the size of the first one.

        Raises:
            EdgecnnError: The disk is nearly full, or the frame cannot be encoded. The video is
                completed, and later frames are not recorded.
        """
        if self._ended:
            return
        pixels = result.frame.pixels
        height, width = pixels.shape[:2]
        at, text = self._time(result), caption(result, self._pace())
        try:
            if self._count % DISK_CHECK_INTERVAL == 0:
                self._check_space()
            if self._encoder is None:
                if self._existing != "overwrite":
                    set_aside(self.path)
                self._encoder = open_encoder(self.path, width, height, self._fps or 25.0)
                self._size, self.codec = (width, height), self._encoder.codec
            self._encoder.hold(at)  # before the annotator's buffer gets its next picture
            drawing = self._annotator.annotate(result, caption=text)
            if (width, height) != self._size:
                drawing = cv2.resize(drawing, self._size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment] # cv2's stubs
            self._encoder.write(drawing, at)
        except (OSError, EdgecnnError) as error:
            self._ended = True
            with suppress(EdgecnnError):  # the first error says why
                self.close()
            if isinstance(error, EdgecnnError):
                raise
            raise EdgecnnError(f"cannot write {self.path}: {error.strerror or error}") from None
        self._count += 1

    def close(self) -> None:
        """Complete the video; idempotent.

        Raises:
            EdgecnnError: It cannot be completed. What can be played of it stays.
        """
        encoder, self._encoder = self._encoder, None
        if encoder is None:
            return
        try:
            encoder.close()
        except OSError as error:
            raise EdgecnnError(f"cannot write {self.path}: {error.strerror or error}") from None

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
            rest = "what was recorded until now is kept" if self._count else "nothing is recorded"
            raise EdgecnnError(f"{self.path}: only {free >> 20} MiB are left on its disk; {rest}")


def caption(result: FrameResult, rate: float) -> str:
    """``24.8 fps   8.1 ms   age 63 ms``: the pace, the time a result takes, and its age."""
    parts = [f"{rate:.1f} fps"] if rate else []
    parts.append(f"{1000 * result.timings.total:.1f} ms")
    if result.age is not None:
        parts.append(f"age {1000 * result.age:.0f} ms")
    return "   ".join(parts)


KIND = SinkKind(
    flag="save",
    help="annotated video",
    open=lambda path, stream: Video(
        path, fps=stream.fps, labels=stream.labels, roi=stream.roi, existing=stream.existing
    ),
    suffixes=tuple(CODECS),
    summary_key="saved",
)
