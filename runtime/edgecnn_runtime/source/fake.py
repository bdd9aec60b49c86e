"""A source without a device or a file: one picture again and again, at a pace that it keeps.

It ships with the package so that schedulers, daemons and commands can be tried without a camera:
``Source("fake", lambda: FakeReader(fps=25.0))``.
"""

import threading
import time

import numpy as np

from edgecnn_runtime.source.capture import RawFrame
from edgecnn_runtime.types import Pixels

PICTURE: Pixels = np.full((48, 64, 3), 128, np.uint8)
PICTURE.setflags(write=False)


class FakeReader:
    """Reader of a camera whose time stamps say exactly when each picture is due, or of a file.

    Attributes:
        live: Whether it is a camera; the pictures of a file come as fast as they are read.
        fps: Pictures per second.
    """

    def __init__(
        self,
        fps: float = 25.0,
        *,
        pixels: Pixels = PICTURE,
        count: int | None = None,
        live: bool = True,
    ) -> None:
        """Start now; every frame shares ``pixels``, and the source ends after ``count`` of them."""
        self.live, self.fps = live, fps
        self._pixels, self._count = pixels, count
        self._next = 0
        self._start = time.monotonic()
        self._closed = threading.Event()

    def read(self) -> RawFrame | None:
        """The next picture, when it is due; None after the last one."""
        if self._next == self._count:
            return None
        pts = self._next / self.fps
        self._next += 1
        if self.live:
            self._closed.wait(self._start + pts - time.monotonic())
        return RawFrame(self._pixels, pts)

    def close(self) -> None:
        """Nothing is held open."""
        self._closed.set()
