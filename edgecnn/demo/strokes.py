"""Handwritten digits from a description of the strokes, so that no two come out the same.

A stroke is a list of points in the digit's own box, x to the right, y down, both 0..1; the pen
runs through them on a Catmull-Rom spline (E. Catmull, R. Rom, 1974), two points make a straight
line. Each digit has the forms people write it in.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Stroke = tuple[tuple[float, float], ...]
Form = tuple[Stroke, ...]

FORMS: dict[int, tuple[Form, ...]] = {
    0: (
        (((0.54, 0.03), (0.24, 0.14), (0.13, 0.5), (0.26, 0.88), (0.5, 0.97), (0.77, 0.84),
          (0.87, 0.48), (0.74, 0.12), (0.5, 0.02)),),
        (((0.62, 0.06), (0.34, 0.06), (0.15, 0.38), (0.22, 0.82), (0.52, 0.97), (0.83, 0.72),
          (0.82, 0.28), (0.56, 0.05)),),
    ),
    1: (
        (((0.55, 0.02), (0.5, 0.98)),),
        (((0.28, 0.26), (0.42, 0.16), (0.56, 0.02)), ((0.56, 0.02), (0.54, 0.98))),
        (((0.28, 0.24), (0.54, 0.02)), ((0.54, 0.02), (0.54, 0.96)), ((0.26, 0.97), (0.82, 0.97))),
    ),
    2: (
        (((0.14, 0.27), (0.3, 0.06), (0.6, 0.03), (0.81, 0.24), (0.66, 0.54), (0.12, 0.96)),
         ((0.12, 0.96), (0.88, 0.94))),
        (((0.16, 0.24), (0.42, 0.03), (0.76, 0.16), (0.7, 0.46), (0.36, 0.82), (0.14, 0.93),
          (0.16, 0.78), (0.4, 0.84), (0.88, 0.95)),),
    ),
    3: (
        (((0.14, 0.16), (0.42, 0.02), (0.77, 0.16), (0.7, 0.4), (0.38, 0.47)),
         ((0.38, 0.47), (0.76, 0.55), (0.84, 0.78), (0.52, 0.98), (0.1, 0.86))),
        (((0.16, 0.05), (0.8, 0.04)), ((0.8, 0.04), (0.4, 0.41)),
         ((0.4, 0.41), (0.74, 0.46), (0.86, 0.7), (0.62, 0.95), (0.12, 0.88))),
    ),
    4: (
        (((0.3, 0.03), (0.12, 0.6)), ((0.12, 0.6), (0.9, 0.58)), ((0.68, 0.3), (0.64, 0.98))),
        (((0.64, 0.02), (0.08, 0.67)), ((0.08, 0.67), (0.93, 0.66)), ((0.66, 0.02), (0.66, 0.98))),
    ),
    5: (
        (((0.82, 0.04), (0.26, 0.05)), ((0.26, 0.05), (0.2, 0.45)),
         ((0.2, 0.45), (0.52, 0.35), (0.84, 0.56), (0.74, 0.88), (0.42, 0.98), (0.12, 0.87))),
        (((0.3, 0.06), (0.25, 0.46)), ((0.25, 0.46), (0.62, 0.4), (0.82, 0.66), (0.6, 0.94),
          (0.14, 0.92)), ((0.3, 0.06), (0.84, 0.03))),
    ),
    6: (
        (((0.72, 0.03), (0.38, 0.22), (0.15, 0.62), (0.3, 0.92), (0.6, 0.96), (0.82, 0.74),
          (0.64, 0.5), (0.36, 0.54), (0.17, 0.72)),),
        (((0.56, 0.02), (0.24, 0.4), (0.16, 0.74), (0.42, 0.98), (0.76, 0.86), (0.76, 0.6),
          (0.46, 0.5), (0.2, 0.68)),),
    ),
    7: (
        (((0.12, 0.06), (0.86, 0.05)), ((0.86, 0.05), (0.6, 0.46), (0.42, 0.98))),
        (((0.12, 0.08), (0.86, 0.05)), ((0.86, 0.05), (0.38, 0.98)), ((0.3, 0.52), (0.8, 0.48))),
        (((0.12, 0.2), (0.14, 0.07)), ((0.14, 0.07), (0.84, 0.06)), ((0.84, 0.06), (0.36, 0.97))),
    ),
    8: (
        (((0.72, 0.12), (0.44, 0.03), (0.22, 0.22), (0.46, 0.46), (0.78, 0.68), (0.72, 0.92),
          (0.44, 0.98), (0.2, 0.8), (0.36, 0.56), (0.7, 0.36), (0.76, 0.14), (0.56, 0.03)),),
        (((0.52, 0.03), (0.25, 0.14), (0.27, 0.37), (0.5, 0.47), (0.74, 0.37), (0.75, 0.14),
          (0.5, 0.03)),
         ((0.5, 0.47), (0.2, 0.6), (0.2, 0.86), (0.5, 0.98), (0.82, 0.86), (0.8, 0.6),
          (0.5, 0.47))),
    ),
    9: (
        (((0.8, 0.2), (0.52, 0.03), (0.22, 0.18), (0.24, 0.44), (0.52, 0.52), (0.78, 0.34)),
         ((0.81, 0.14), (0.78, 0.5), (0.7, 0.98))),
        (((0.8, 0.24), (0.56, 0.03), (0.24, 0.16), (0.24, 0.44), (0.54, 0.52), (0.8, 0.3),
          (0.82, 0.56), (0.7, 0.88), (0.4, 0.98), (0.2, 0.9)),),
    ),
}  # fmt: skip

OVERSAMPLE = 3
STEPS = 12
"""Spline samples between two points."""


def draw_digit(digit: int, size: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a handwritten digit.

    Args:
        digit: 0 to 9.
        size: Side of the picture in pixels.
        random: Varies form, proportions, slant, rotation, pen width, pressure and every point.

    Returns:
        uint8[size,size], 255 where there is ink, with soft edges.
    """
    forms = FORMS[digit]
    form = forms[random.integers(len(forms))]
    canvas = np.zeros((size * OVERSAMPLE, size * OVERSAMPLE), np.uint8)
    height = size * OVERSAMPLE * random.uniform(0.66, 0.80)
    pose = _pose(height, random)
    pen = height * random.uniform(0.085, 0.165)
    jitter = random.uniform(0.008, 0.028)
    for stroke in form:
        points = np.array(stroke) + random.normal(0, jitter, (len(stroke), 2))
        path = _spline(points) @ pose + size * OVERSAMPLE / 2
        _ink(canvas, path, pen, random)
    return np.asarray(cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def _pose(height: float, random: np.random.Generator) -> NDArray[np.float64]:
    """2x2, for row vectors: box coordinates around its center → canvas pixels."""
    turn, slant = random.normal(0, 0.07), random.normal(0.06, 0.11)
    width = height * random.uniform(0.56, 0.8)
    shape = np.array([[width, 0.0], [-slant * height, height]])
    cos, sin = np.cos(turn), np.sin(turn)
    return np.asarray(shape @ np.array([[cos, sin], [-sin, cos]]))


def _spline(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """A curve through all points, float64[M,2], relative to the box's center."""
    points = points - 0.5
    if len(points) == 2:
        return np.linspace(points[0], points[1], STEPS)
    padded = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    t = np.linspace(0, 1, STEPS, endpoint=False)[:, None]
    pieces = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2
               + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False)
    ]  # fmt: skip
    return np.vstack([*pieces, points[-1:]])


def _ink(
    canvas: NDArray[np.uint8], path: NDArray[np.float64], pen: float, random: np.random.Generator
) -> None:
    """Draw a path with a round pen whose pressure varies."""
    along = np.linspace(0, np.pi * random.uniform(1, 3), len(path)) + random.uniform(0, np.pi)
    widths = np.maximum(2, pen * (1 + 0.14 * np.sin(along)))
    dots = np.round(path).astype(int)
    for start, end, width in zip(dots, dots[1:], widths, strict=False):
        cv2.line(canvas, tuple(start), tuple(end), 255, int(width), cv2.LINE_AA)
