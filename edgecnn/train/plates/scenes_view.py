"""How a flat surface is seen: the homography from its own units to pixels."""

import numpy as np

from edgecnn.train.plates.scenes_painter import Matrix
from edgecnn.train.renders.noise import Random


def choose_view(random: Random, scale: float) -> Matrix:
    """A surface as a camera at the roadside or above a gate sees it."""
    return look_at(
        random,
        scale,
        (0.0, 0.0),
        yaw=float(np.clip(random.normal(0, 0.4), -0.95, 0.95)),
        pitch=random.uniform(-0.1, 0.5),
        roll=float(random.normal(0, 0.06)),
    )


def look_at(
    random: Random,
    scale: float,
    middle: tuple[float, float],
    *,
    yaw: float,
    pitch: float,
    roll: float,
) -> Matrix:
    """How a surface is seen by a camera that is some widths away from it.

    Args:
        random: For the distance.
        scale: Pixels per unit at the surface's origin.
        middle: Where its origin is, in pixels.
        yaw: By how much it is turned about its vertical axis, in radians.
        pitch: How far it leans.
        roll: How far it is tilted in the picture.

    Returns:
        float64[3,3], the homography of ``Painter.to_pixels``.
    """
    distance = random.uniform(2.5, 8)
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    turned = np.array([[cy, sp * sy, 0], [0, cp, 0], [sy / distance, -sp * cy / distance, 1]])
    tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    zoom = np.array([[scale, 0, middle[0]], [0, scale, middle[1]], [0, 0, 1]])
    return np.asarray(zoom @ tilt @ turned, np.float64)


def shift_to(matrix: Matrix, local: tuple[float, float], pixel: tuple[float, float]) -> Matrix:
    """The same view, moved so that a point of the surface lies on a pixel."""
    at = matrix @ [*local, 1.0]
    dx, dy = np.asarray(pixel) - at[:2] / at[2]
    return np.asarray(np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1]]) @ matrix, np.float64)
