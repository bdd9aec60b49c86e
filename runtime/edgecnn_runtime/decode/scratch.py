"""Memory that a decoder writes into again for every frame."""

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgecnn_runtime.types import Floats

REDUCES_IN_PLACE = np.lib.NumpyVersion(np.__version__) >= "2.3.0"
"""Older NumPy allocates 32 kB to reduce along the first axis, every time."""


class Scratch:
    """A buffer as large as the largest array that was asked of it."""

    def __init__(self, dtype: DTypeLike = np.float32) -> None:
        """dtype: What ``array`` gives; the other methods are for float32."""
        self._buffer: NDArray[Any] = np.empty(0, dtype)

    def array(self, *shape: int) -> NDArray[Any]:
        """dtype[*shape], C-contiguous, of any content; valid until the next call."""
        size = math.prod(shape)
        if size > self._buffer.size:
            # twice: it settles after few frames
            self._buffer = np.empty(2 * size, self._buffer.dtype)
        return self._buffer[:size].reshape(shape)

    def take(self, values: Floats, indices: NDArray[np.intp], axis: int) -> Floats:
        """Rows (axis 0) or columns (axis 1) of float[A,B], as float32."""
        if values.dtype != np.float32:
            return values.take(indices, axis).astype(np.float32)
        shape = (len(indices), values.shape[1]) if axis == 0 else (values.shape[0], len(indices))
        return values.take(indices, axis, self.array(*shape), mode="clip")  # NumPy buffers "raise"

    def copy_of(self, values: Floats) -> Floats:
        """A C-contiguous copy, which NumPy can search along its last axis without another one."""
        copy = self.array(*values.shape)
        np.copyto(copy, values)
        return copy


def column_maxima(rows: Floats, out: Floats) -> None:
    """The largest value of each column of float[C,A]."""
    if REDUCES_IN_PLACE:
        np.maximum.reduce(rows, axis=0, out=out)
        return
    np.copyto(out, rows[0])
    for row in rows[1:]:
        np.maximum(out, row, out=out)
