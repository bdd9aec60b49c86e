"""Objects that do not stand upright → pictures that do, as a ``Warp``."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.preprocess import Warp
from edgecnn_runtime.types import Point

FACE_SIDE = 112
FACE_LAYOUT: tuple[Point, ...] = (
    (38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366),
    (41.5493, 92.3655), (70.7299, 92.2041),
)  # fmt: skip
"""Where ArcFace (Deng et al., CVPR 2019) and most face embedders since then expect right eye, left
eye, nose and mouth corners, in a picture of 112 × 112 pixels; measured, as there, from the center
of the first pixel."""
MIN_SIDE = 2.0
"""Pixels of the frame below which an object has no shape that could be aligned."""
MIN_FIT = 0.5
"""Correlation of landmarks with the layout below which they are no face, or a mirrored one. Full
profiles have 0.8."""
MAX_SIDE = 4096
"""Pixels of a rectified picture at most, whatever the corners say."""


def align_face(points: Sequence[Point], margin: float = 0.0) -> Warp | None:
    """Turn, scale and move a face to the layout that embedders expect.

    The similarity transform of least squared distance in the aligned picture, without reflection:
    S. Umeyama, "Least-squares estimation of transformation parameters between two point patterns",
    PAMI 1991. In two dimensions it is a division of complex numbers.

    Args:
        points: Right eye, left eye, nose, right and left mouth corner, in frame pixels.
        margin: What to show around the layout, as a fraction of its side, on every side.

    Returns:
        A picture of 112 × 112 pixels and its margins; None where the points are no face.
    """
    if len(points) != len(FACE_LAYOUT) or not _finite(points):
        return None
    frame = np.array([complex(*point) for point in points])
    layout = np.array([complex(*point) for point in FACE_LAYOUT]) + 0.5 * (1 + 1j)
    center, origin = frame.mean(), layout.mean()
    spread = float((np.abs(frame - center) ** 2).sum())
    if spread < MIN_SIDE**2:
        return None
    factor = ((frame - center).conj() * (layout - origin)).sum() / spread
    if abs(factor) * math.sqrt(spread) < MIN_FIT * float(np.linalg.norm(layout - origin)):
        return None
    turn = 1 / factor
    border = round(margin * FACE_SIDE)
    shift = center - turn * (origin + border * (1 + 1j))
    matrix = np.array(
        [[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag], [0.0, 0.0, 1.0]]
    )
    return Warp(FACE_SIDE + 2 * border, FACE_SIDE + 2 * border, matrix)


def rectify(corners: Sequence[Point], margin: float = 0.0, *, ordered: bool = False) -> Warp | None:
    """Straighten a flat object, such as a plate, of which four corners are known.

    Args:
        corners: In frame pixels.
        margin: What to show around it, as a fraction of its width and height, on every side.
        ordered: Whether the corners begin with the object's own upper left one and go on clockwise,
            however it is turned. Otherwise they may stand in any order, and the object stands less
            than 45 degrees askew.

    Returns:
        A picture as wide and as high as the longer ones of its opposite sides; None where the
        corners are no convex quadrangle.
    """
    if len(corners) != 4 or not _finite(corners):
        return None
    quad = corners if ordered else clockwise(corners)
    top, right, bottom, left = (math.dist(quad[i], quad[(i + 1) % 4]) for i in range(4))
    width, height = max(top, bottom), max(left, right)
    if min(top, right, bottom, left) < MIN_SIDE or not _convex(quad):
        return None
    sides = 1 + 2 * margin
    scale = min(sides, MAX_SIDE / max(width, height))
    w, h = max(1, round(width * scale)), max(1, round(height * scale))
    x1, y1 = margin / sides * w, margin / sides * h
    x2, y2 = w - x1, h - y1
    upright = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], np.float32)
    matrix = cv2.getPerspectiveTransform(upright, np.array(quad, np.float32)).astype(np.float64)
    return Warp(w, h, matrix) if _in_front(matrix, w, h) else None


def clockwise(corners: Sequence[Point]) -> list[Point]:
    """Four corners from the upper left one on, clockwise as they are seen.

    Args:
        corners: In any order.
    """
    x, y = (sum(values) / len(corners) for values in zip(*corners, strict=True))
    around = sorted(corners, key=lambda corner: math.atan2(corner[1] - y, corner[0] - x))
    first = min(range(4), key=lambda i: around[i][0] + around[i][1])
    return around[first:] + around[:first]


def _finite(points: Sequence[Point]) -> bool:
    return all(math.isfinite(value) and abs(value) < 1e6 for point in points for value in point)


def _convex(quad: Sequence[Point]) -> bool:
    """Whether every turn is to the right, by more than a pixel's height over the diagonal."""
    for i in range(4):
        (ax, ay), (bx, by), (cx, cy) = quad[i], quad[(i + 1) % 4], quad[(i + 2) % 4]
        if (bx - ax) * (cy - by) - (by - ay) * (cx - bx) < math.dist((ax, ay), (cx, cy)):
            return False
    return True


def _in_front(matrix: NDArray[np.float64], width: int, height: int) -> bool:
    """Whether the whole picture is on the near side of the horizon."""
    depths = [matrix[2] @ (x, y, 1.0) for x in (0, width) for y in (0, height)]
    return bool(np.isfinite(matrix).all() and min(depths) > 0.0)
