"""A map over the network's input → its values at pixels of the frame, for a part of it at a time.

Bilinear between the centers of the cells, as ``torch.nn.functional.interpolate`` has it without
``align_corners``: the values at a cell's center are the cell's, and the outermost ones go on to the
map's edge. Any size will do, whether or not it divides that of the input.
"""

import math

import cv2
import numpy as np

from edgecnn_runtime.bundle.manifest import Input
from edgecnn_runtime.decode.scratch import Scratch
from edgecnn_runtime.preprocess import CENTERS, Geometry, Rect
from edgecnn_runtime.types import Floats

LARGE_CELL = 8.0
"""Frame pixels per cell from which OpenCV's ``resize`` will do. It begins at a whole pixel, so that
it is off by up to half of one; ``warpAffine`` is exact and takes six times as long per pixel."""
OUTSIDE = -1e30
"""What a warp's picture holds beyond its edge."""


class Resampler:
    """Resamples maps of one size. Not thread-safe."""

    def __init__(self, size: Input, rows: int, columns: int) -> None:
        """Allocate nothing yet.

        Args:
            size: What the network takes.
            rows: Of the map.
            columns: Of the map.
        """
        self._rows, self._columns = rows, columns
        self._cell = size.width / columns, size.height / rows
        self._scratch = Scratch()

    def cells(self, rect: Rect, geometry: Geometry) -> Rect:
        """The cells that the values at some pixels are made of.

        Args:
            rect: Pixels of the frame, at least one of them, inside ``geometry.source``.
            geometry: How the frame was fitted into the input.

        Returns:
            Of the map, at least one cell; none of those that lie in a bar of the letterbox, which
            knows nothing of the frame's edge.
        """
        if geometry.matrix is not None:
            return 0, 0, self._columns, self._rows
        x, y = self._axes(geometry)
        (wide, high), target = self._cell, geometry.target
        left, right = _around(rect[::2], *x, _touched(target[::2], wide))
        top, bottom = _around(rect[1::2], *y, _touched(target[1::2], high))
        return left, top, right, bottom

    def pixels(self, cells: Rect, limit: Rect, geometry: Geometry) -> Rect | None:
        """The pixels that some cells have a part in: those up to the next cells' centers.

        Args:
            cells: Of the map.
            limit: Pixels that the answer may not leave.
            geometry: How the frame was fitted into the input.

        Returns:
            Of the frame; None where none of ``limit`` is among them.
        """
        if geometry.matrix is not None:
            return limit
        x, y = self._axes(geometry)
        left, right = _reached(cells[::2], *x, limit[::2])
        top, bottom = _reached(cells[1::2], *y, limit[1::2])
        return (left, top, right, bottom) if left < right and top < bottom else None

    def sample(self, values: Floats, cells: Rect, rect: Rect, geometry: Geometry) -> Floats:
        """The values at the centers of pixels.

        Args:
            values: float32[h,w], those of ``cells``.
            cells: What ``cells`` gave for ``rect``.
            rect: Pixels of the frame.
            geometry: How the frame was fitted into the input.

        Returns:
            float32[height,width] of ``rect``, valid until the next call. What lies beyond the edge
            of a warp's picture is OUTSIDE.
        """
        (step_x, start_x), (step_y, start_y) = self._axes(geometry)
        width, height = rect[2] - rect[0], rect[3] - rect[1]
        if geometry.matrix is not None:
            return self._warp(values, rect, geometry)
        if min(step_x, step_y) >= LARGE_CELL:
            left, right = (round(cells[i] * step_x + start_x) for i in (0, 2))
            top, bottom = (round(cells[i] * step_y + start_y) for i in (1, 3))
            whole = self._scratch.array(bottom - top, right - left)
            cv2.resize(values, (right - left, bottom - top), whole, 0, 0, cv2.INTER_LINEAR)
            return whole[rect[1] - top : rect[3] - top, rect[0] - left : rect[2] - left]
        # OpenCV measures from the center of the first pixel, not from its outer corner
        x = (rect[0] + 0.5 - start_x) / step_x - cells[0] - 0.5
        y = (rect[1] + 0.5 - start_y) / step_y - cells[1] - 0.5
        matrix = np.array([[1 / step_x, 0.0, x], [0.0, 1 / step_y, y]])
        flags, out = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, self._scratch.array(height, width)
        cv2.warpAffine(values, matrix, (width, height), out, flags, cv2.BORDER_REPLICATE)
        return out

    def _warp(self, values: Floats, rect: Rect, geometry: Geometry) -> Floats:
        """The same through a warp's matrix."""
        assert geometry.matrix is not None
        (step_x, start_x), (step_y, start_y) = self._axes(geometry)
        to_picture = np.array([[step_x, 0.0, start_x], [0.0, step_y, start_y], [0.0, 0.0, 1.0]])
        shift = np.array([[1.0, 0.0, rect[0] + 0.5], [0.0, 1.0, rect[1] + 0.5], [0.0, 0.0, 1.0]])
        matrix = CENTERS @ np.linalg.inv(geometry.matrix @ to_picture) @ shift
        width, height = rect[2] - rect[0], rect[3] - rect[1]
        flags, out = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, self._scratch.array(height, width)
        cv2.warpPerspective(values, matrix, (width, height), out, flags, cv2.BORDER_REPLICATE)
        # The outermost cells reach as far beyond their centers as they are the nearest ones.
        inside, flags = np.zeros(values.shape, np.uint8), cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        outside = cv2.warpPerspective(
            inside, matrix, (width, height), None, flags, cv2.BORDER_CONSTANT, 1.0
        )
        np.copyto(out, OUTSIDE, where=outside.view(np.bool_))
        return out

    def _axes(self, geometry: Geometry) -> tuple[tuple[float, float], tuple[float, float]]:
        """Pixels per cell, and where the first cell begins, of x and of y."""
        (gain_x, gain_y), (shift_x, shift_y) = (
            geometry.gain[:2].tolist(),
            geometry.shift[:2].tolist(),
        )
        return (gain_x * self._cell[0], shift_x), (gain_y * self._cell[1], shift_y)


def visible(geometry: Geometry) -> Rect:
    """The pixels of the frame that the network sees; all of them through a warp."""
    return geometry.source if geometry.matrix is None else (0, 0, geometry.width, geometry.height)


def pixels_inside(box: tuple[float, float, float, float], limit: Rect) -> Rect:
    """The pixels whose centers lie in a box, at least one of them.

    Args:
        box: x1, y1, x2, y2 in pixels.
        limit: Pixels that the answer may not leave, such as those of the frame.
    """
    left, right = _span(box[0], box[2], limit[0], limit[2])
    top, bottom = _span(box[1], box[3], limit[1], limit[3])
    return left, top, right, bottom


def _span(low: float, high: float, first: int, last: int) -> tuple[int, int]:
    start = min(max(math.ceil(low - 0.5), first), last - 1)
    return start, min(max(math.ceil(high - 0.5), start + 1), last)


def _reached(
    cells: tuple[int, ...], step: float, start: float, limit: tuple[int, ...]
) -> tuple[int, int]:
    """The pixels between the centers of the cells before the first and behind the last of some."""
    low = math.floor((cells[0] - 0.5) * step + start)
    return max(low, limit[0]), min(math.ceil((cells[1] + 0.5) * step + start), limit[1])


def _touched(span: tuple[int, ...], cell: float) -> tuple[int, int]:
    """The cells that have a part in these pixels of the input, and how far they go."""
    return math.floor(span[0] / cell), math.ceil(span[1] / cell)


def _around(
    span: tuple[int, ...], step: float, start: float, limit: tuple[int, int]
) -> tuple[int, int]:
    """The cells within a limit whose centers are next to those of some pixels."""
    low = math.floor((span[0] + 0.5 - start) / step - 0.5)
    high = math.ceil((span[1] - 0.5 - start) / step - 0.5) + 1
    low = min(max(low, limit[0]), limit[1] - 1)
    return low, min(max(high, low + 1), limit[1])
