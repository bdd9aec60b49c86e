"""Whether a camera still shows the world: pictures that never change, or are black."""

import cv2
import numpy as np

from edgecnn_runtime.source.connection import CameraProblem, Limits
from edgecnn_runtime.types import Pixels

GRID = 32
"""Rows and columns of pixels that are compared; all of them are only before a verdict."""
INTERVAL = 0.2
"""Seconds between two looks."""
BLACK = 24
"""The brightest value of a black picture: the noise of a covered lens stays below."""


class PictureCheck:
    """Looks at a few pixels, five times a second, and allocates nothing.

    An encoder sends a scene without motion as "nothing has changed", so that pictures of a camera
    that works may be identical for a while; for 30 s they are not, because its sensor makes noise.
    """

    def __init__(self, limits: Limits) -> None:
        """Begin.

        Args:
            limits: Of it, ``frozen`` and ``black``.
        """
        self._limits = limits
        self._sample: Pixels = np.empty((0, 0, 3), np.uint8)
        self._equal = np.empty((0, 0, 3), np.bool_)
        self._first: Pixels | None = None
        self._changed = self._bright = self._next = float("-inf")

    def problem(self, pixels: Pixels, now: float) -> CameraProblem | None:
        """What is wrong with the pictures; None where nobody looked.

        Args:
            pixels: uint8[H,W,3] BGR of the newest picture; held until a later one differs.
            now: Seconds on the monotonic clock.
        """
        if now < self._next:
            return None
        self._next = now + INTERVAL
        height, width = pixels.shape[:2]
        sample = pixels[:: max(1, height // GRID), :: max(1, width // GRID)]
        if sample.shape != self._sample.shape:  # the first picture, or of another size
            self._sample = np.zeros(sample.shape, np.uint8)
            self._equal = np.empty(sample.shape, np.bool_)
            self._bright, self._first = now, None
        np.equal(sample, self._sample, out=self._equal)
        frozen = self._first is not None and bool(self._equal.all())
        if frozen and self._first is not None and now - self._changed >= self._limits.frozen:
            frozen = cv2.norm(pixels, self._first, cv2.NORM_INF) == 0
        if not frozen:
            np.copyto(self._sample, sample)
            self._first, self._changed = pixels, now
        if self._sample.max() > BLACK:
            self._bright = now
        if now - self._bright >= self._limits.black:
            return "black"
        return "frozen" if now - self._changed >= self._limits.frozen else ""
