"""Shapes on a flat surface that stands anywhere in a picture, and how such a surface is seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn.train.renders.noise import Random
from edgecnn_runtime.types import Pixels

Points: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.uint8]
Matrix: TypeAlias = NDArray[np.float64]
Color: TypeAlias = tuple[float, float, float]
"""Blue, green, red, 0..255."""
FRACTION = 4
"""Bits of OpenCV's fixed-point coordinates."""
LIMIT = 8000.0
"""Pixels from the origin beyond which nothing is drawn; OpenCV's fixed point ends at 2^15."""
ROUND = np.linspace(0, 2 * np.pi, 25)[:-1]


@dataclass(frozen=True, slots=True)
class Painter:
    """Draws on a surface, in its own units.

    Attributes:
        pixels: uint8[h,w,3] BGR, drawn into.
        to_pixels: float64[3,3], homography from the surface to pixels, whose integers are corners
            of pixels.
    """

    pixels: Pixels
    to_pixels: Matrix

    def place(self, points: Sequence[tuple[float, float]] | Points) -> Points:
        """Where points of the surface are in the picture, float32[N,2]."""
        local = np.asarray(points, np.float64).reshape(1, -1, 2)
        return np.asarray(cv2.perspectiveTransform(local, self.to_pixels)[0], np.float32)

    def polygon(self, points: Sequence[tuple[float, float]] | Points, color: Color) -> None:
        """A filled polygon."""
        placed = self.place(points)
        if np.abs(placed).max() < LIMIT:
            fixed = np.round((placed - 0.5) * (1 << FRACTION)).astype(np.int32)
            cv2.fillPoly(self.pixels, [fixed], color, cv2.LINE_AA, FRACTION)

    def rectangle(self, x1: float, y1: float, x2: float, y2: float, color: Color) -> None:
        """An upright rectangle."""
        self.polygon([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], color)

    def slab(
        self, x1: float, y1: float, x2: float, y2: float, color: Color, *, radius: float
    ) -> None:
        """An upright rectangle with round corners."""
        radius = min(radius, abs(x2 - x1) / 2, abs(y2 - y1) / 2)
        corner = radius * np.stack([np.cos(ROUND), np.sin(ROUND)], 1)
        inner = np.array([[x1 + radius, y1 + radius], [x2 - radius, y2 - radius]])
        middles = np.where(corner > 0, inner[1], inner[0])
        self.polygon(np.asarray(middles + corner, np.float32), color)

    def ellipse(self, x: float, y: float, width: float, height: float, color: Color) -> None:
        """A filled ellipse by its middle and radii."""
        rim = np.stack([x + width * np.cos(ROUND), y + height * np.sin(ROUND)], 1)
        self.polygon(rim.astype(np.float32), color)

    def line(self, points: Sequence[tuple[float, float]], width: float, color: Color) -> None:
        """A line of a width in the surface's units, straight from point to point."""
        for (x1, y1), (x2, y2) in pairwise(points):
            across = np.array([y1 - y2, x2 - x1])
            across = across / max(float(np.hypot(*across)), 1e-6) * width / 2
            ends = np.array([[x1, y1], [x2, y2]])
            outline = np.concatenate([ends + across, ends[::-1] - across])
            self.polygon(outline.astype(np.float32), color)

    def shaded(
        self, left: Points, right: Points, colors: NDArray[np.float64], *, steps: int
    ) -> None:
        """A shape between two outlines, top to bottom, whose color follows its height.

        Args:
            left: float32[K,2], from top to bottom.
            right: float32[K,2], the same heights.
            colors: float64[steps,3].
            steps: How many stripes.
        """
        at = np.linspace(0, 1, steps + 1)
        along = np.linspace(0, 1, len(left))
        edges = [
            np.stack([np.interp(at, along, edge[:, axis]) for axis in (0, 1)], 1)
            for edge in (left, right)
        ]
        for step in range(steps):
            low, high = min(step + 1, steps), step
            stripe = [edges[0][high], edges[1][high], edges[1][low], edges[0][low]]
            self.polygon(np.array(stripe, np.float32), color_of(colors[step]))

    def shadow(self, points: Sequence[tuple[float, float]], strength: float) -> None:
        """Less light, 0..1, on a polygon with soft edges."""
        placed = self.place(points)
        low, high = placed.min(0), placed.max(0)
        soft = max(1.0, 0.12 * float(high[1] - low[1]), 0.04 * float(high[0] - low[0]))
        h, w = self.pixels.shape[:2]
        x1, y1 = np.clip(low - 2 * soft, 0, [w, h]).astype(int)
        x2, y2 = np.clip(high + 2 * soft + 1, 0, [w, h]).astype(int)
        if x2 <= x1 or y2 <= y1 or np.abs(placed).max() > LIMIT:
            return
        cover = np.zeros((y2 - y1, x2 - x1), np.float32)
        cv2.fillPoly(cover, [np.round(placed - [x1, y1]).astype(np.int32)], strength)
        reach = 2 * int(2 * min(soft, 20.0)) + 1
        cover = cv2.blur(cv2.blur(cover, (reach, reach)), (reach, reach))
        part = self.pixels[y1:y2, x1:x2]
        part[...] = part * (1 - cover[..., None])

    def picture(
        self, box: tuple[float, float, float, float], image: Pixels, cover: Mask | None = None
    ) -> Points:
        """Put a picture on the surface.

        Args:
            box: Left, top, right, bottom.
            image: uint8[h,w,3] BGR.
            cover: uint8[h,w], how much of it hides what is there, 255 for all; None for all.

        Returns:
            Its corners in the scene, float32[4,2]: its own upper left one first, then clockwise.
        """
        x1, y1, x2, y2 = box
        corners = self.place([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
        paste(self.pixels, image, corners, cover)
        return corners


def paste(pixels: Pixels, image: Pixels, corners: Points, cover: Mask | None = None) -> None:
    """Draw a picture between four corners, smoothed where it becomes smaller."""
    low = np.floor(corners.min(0)).astype(int) - 1
    high = np.ceil(corners.max(0)).astype(int) + 1
    x1, y1 = np.maximum(low, 0)
    x2, y2 = np.minimum(high, pixels.shape[1::-1])
    if x2 <= x1 or y2 <= y1:
        return
    sides = np.linalg.norm(corners - np.roll(corners, -1, 0), axis=1)
    width = max(2, min(image.shape[1], round(float(max(sides[0], sides[2])) * 1.2)))
    height = max(2, min(image.shape[0], round(float(max(sides[1], sides[3])) * 1.2)))
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) - 0.5
    target = (corners - [x1, y1] - 0.5).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(source, target)
    size = (int(x2 - x1), int(y2 - y1))
    warped = cv2.warpPerspective(small, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    alpha = np.zeros((size[1], size[0]), np.uint8)
    fixed = np.round(target * (1 << FRACTION)).astype(np.int32)
    cv2.fillPoly(alpha, [fixed], 255, cv2.LINE_AA, FRACTION)
    if cover is not None:
        holes = cv2.resize(cover, (width, height), interpolation=cv2.INTER_AREA)
        alpha = np.minimum(alpha, cv2.warpPerspective(holes, matrix, size))
    share = alpha[..., None].astype(np.float32) / 255
    part = pixels[y1:y2, x1:x2]
    part[...] = part + share * (warped.astype(np.float32) - part)


def around(x: float, y: float, wide: float, tall: float) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of what is as far from its middle as this."""
    return x - wide, y - tall, x + wide, y + tall


def color_of(values: NDArray[np.float64] | Sequence[float]) -> Color:
    """Three values as a color, clipped."""
    blue, green, red = (min(max(float(value), 0.0), 255.0) for value in values)
    return blue, green, red


def shade(color: Color, factor: float) -> Color:
    """A color, darker or brighter."""
    return color_of([factor * value for value in color])


def gray(random: Random, low: float, high: float, tint: float = 6) -> Color:
    """A gray with a little color."""
    return color_of(random.uniform(low, high) + random.uniform(-tint, tint, 3))


def vivid(random: Random) -> Color:
    """Any color."""
    hue, saturation, value = (
        random.integers(180),
        random.integers(60, 255),
        random.integers(40, 250),
    )
    pixel = np.array([[[hue, saturation, value]]], np.uint8)
    return color_of(cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0].astype(float))
