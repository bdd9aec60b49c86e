"""Whether anything moves in front of a camera, told from a few pixels."""

import numpy as np

from edgecnn_runtime.types import Pixels

COLUMNS, ROWS = 96, 54
"""Pixels that are compared, about: an object of 1/30 of the picture's width covers ten of them."""
DIFFERENCE = 24
"""Gray levels by which a pixel differs; noise stays below."""
COUNT = 4
"""Pixels that differ at least."""


class MotionCheck:
    """Compares pictures with one of them, which is remembered; allocates nothing for each."""

    def __init__(self) -> None:
        shape = (0, 0)
        self._sample = np.empty(shape, np.int16)
        self._remembered = np.empty(shape, np.int16)
        self._difference = np.empty(shape, np.int16)
        self._differs = np.empty(shape, np.bool_)

    def moved(self, pixels: Pixels) -> bool:
        """Whether a picture differs from the remembered one; True for the first one.

        Args:
            pixels: uint8[H,W,3] BGR, of which green is compared.
        """
        height, width = pixels.shape[:2]
        sample = pixels[:: max(1, height // ROWS), :: max(1, width // COLUMNS), 1]
        if sample.shape != self._sample.shape:
            self._sample = np.empty(sample.shape, np.int16)
            self._remembered = np.empty(sample.shape, np.int16)
            self._difference = np.empty(sample.shape, np.int16)
            self._differs = np.empty(sample.shape, np.bool_)
            np.copyto(self._sample, sample)
            return True
        np.copyto(self._sample, sample)
        np.subtract(self._sample, self._remembered, out=self._difference)
        np.abs(self._difference, out=self._difference)
        np.greater(self._difference, DIFFERENCE, out=self._differs)
        return bool(np.count_nonzero(self._differs) >= COUNT)

    def remember(self) -> None:
        """Compare with the latest picture from now on."""
        np.copyto(self._remembered, self._sample)
