"""Memory that a decoder writes into again for every frame."""

import math

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.types import Floats


class Scratch:
    """A buffer as large as the largest array that was asked of it."""

    def __init__(self) -> None:
        self._buffer = np.empty(0, np.float32)

    def array(self, *shape: int) -> Floats:
        """float32[*shape], C-contiguous, of any content; valid until the next call."""
        size = math.prod(shape)
        if size > self._buffer.size:
            self._buffer = np.empty(2 * size, np.float32)  # twice: it settles after few frames
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
