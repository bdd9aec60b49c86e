"""A camera without a device: it films one picture, at a pace that it keeps.

It ships with the package so that schedulers, daemons and commands can be tried without a camera:
``Source("fake", lambda: FakeCamera(fps=25.0))``.
"""

import threading
import time

import numpy as np

from edgecnn_runtime.source.capture import RawFrame
from edgecnn_runtime.types import Pixels

PICTURE: Pixels = np.full((48, 64, 3), 128, np.uint8)


class FakeCamera:
    """Reader of a live camera whose time stamps say exactly when each picture is due.

    Attributes:
        live: True, as of every camera.
        fps: Pictures per second.
    """

    live = True

    def __init__(self, fps: float = 25.0, pixels: Pixels = PICTURE, count: int = 1 << 62) -> None:
        """Film ``count`` pictures, the first one now; every frame shares ``pixels``."""
        self.fps = fps
        self._pixels = pixels
        self._count = count
        self._next = 0
        self._start = time.monotonic()
        self._closed = threading.Event()

    def read(self) -> RawFrame | None:
        """The next picture, when it is due; None after the last one."""
        if self._next == self._count:
            return None
        pts = self._next / self.fps
        self._next += 1
        self._closed.wait(self._start + pts - time.monotonic())
        return RawFrame(self._pixels, pts)

    def close(self) -> None:
        """End the picture that is waited for."""
        self._closed.set()
