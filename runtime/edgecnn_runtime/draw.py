"""What results are drawn with: boxes, points, tags and banners.

Everything scales with the picture, so that 480p and 4K look alike.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.preprocess import Roi
from edgecnn_runtime.text import CAPITAL, Color, TextRenderer
from edgecnn_runtime.types import UNSEEN, Box, Pixels, Point

PALETTE: tuple[Color, ...] = (
    (128, 222, 74), (250, 165, 96), (36, 191, 251), (182, 114, 244), (238, 211, 34),
    (113, 113, 248), (250, 139, 167), (53, 230, 163), (60, 146, 251), (191, 212, 45),
)  # fmt: skip
"""One color per class, bright enough for dark letters: green, blue, amber, pink, cyan, red, …"""
INK, PAPER, QUIET = (26, 20, 18), (255, 255, 255), (200, 194, 190)
SHADE, TINT = 0.68, 0.4
"""How dark a panel makes the picture behind it, and how much of a mask's color is seen."""
FRACTION = 3
"""Binary digits of OpenCV's subpixel coordinates."""


class BannerLine(NamedTuple):
    """One line of a banner.

    Attributes:
        text: What it says.
        score: 0..1, written at its end and drawn as a bar below it; None for a line without.
        color: Color of the bar, BGR.
    """

    text: str
    score: float | None
    color: Color


class Canvas:
    """A picture that a task draws its result on; letters and lines scale with the picture.

    Whatever is drawn may lie outside of the picture; what is not finite is
    left out. Not thread-safe, because its letters are not.

    Attributes:
        pixels: uint8[H,W,3] BGR, owned by the caller, drawn into.
        labels: Class names of the model by class number; empty where it has none.
        size: Font size in pixels; with 0, tags and banners are left out.
        stroke: Line width in pixels.
    """

    def __init__(
        self,
        pixels: Pixels,
        *,
        labels: Sequence[str] = (),
        roi: Roi | None = None,
        letters: TextRenderer | None = None,
    ) -> None:
        """Prepare to draw; nothing is drawn yet.

        Args:
            pixels: uint8[H,W,3] BGR, writable.
            labels: Class names by class number.
            roi: The part of the picture that the model was given; a banner stands below it.
            letters: The renderer to share; making one takes 70 ms the first time.
        """
        self.pixels = pixels
        self.labels = tuple(labels)
        self.size, self.stroke = font_size(pixels), thickness(pixels)
        self._letters = letters or TextRenderer()
        self._corner = (self.size // 2, self.size // 2)
        if roi is not None:
            self._corner = (roi[0], roi[1] + roi[3] + self.size // 2)
        self._scratch = np.empty(0, np.uint8)

    def box(self, box: Box, color: Color) -> None:
        """Outline a box with strong corners; lines are thinner on a small box, not to hide it."""
        if _finite(box):
            stroke = self._stroke(box)
            first, second = _fixed((box.x1, box.y1), (box.x2, box.y2))
            width = max(1, stroke // 2)
            cv2.rectangle(self.pixels, first, second, color, width, cv2.LINE_AA, FRACTION)
            self.brackets(box, color, stroke)

    def brackets(self, box: Box, color: Color, stroke: int) -> None:
        """The four corners of a box, each arm a quarter of the shorter side long."""
        arm = min(box.x2 - box.x1, box.y2 - box.y1) / 4
        for x, inward_x in ((box.x1, arm), (box.x2, -arm)):
            for y, inward_y in ((box.y1, arm), (box.y2, -arm)):
                path = np.array(_fixed((x, y + inward_y), (x, y), (x + inward_x, y)), np.int32)
                cv2.polylines(self.pixels, [path], False, color, 2 * stroke, cv2.LINE_AA, FRACTION)

    def points(self, points: Sequence[Point], color: Color, *, within: Box | None = None) -> None:
        """Dots with a dark rim.

        Args:
            points: x, y in pixels of the picture.
            color: BGR.
            within: The box of the object they belong to; dots are smaller in a small one.
        """
        radius = self.stroke if within is None else self._stroke(within)
        for center in _fixed(*filter(_finite, points)):
            for size, ink in ((radius + 1, INK), (radius, color)):
                cv2.circle(self.pixels, center, size << FRACTION, ink, -1, cv2.LINE_AA, FRACTION)

    def polygon(self, points: Sequence[Point], color: Color) -> None:
        """The closed outline through three points or more, in their order."""
        if all(map(_finite, points)):
            path = np.array(_fixed(*points), np.int32)
            cv2.polylines(self.pixels, [path], True, color, self.stroke, cv2.LINE_AA, FRACTION)

    def line(self, first: Point, second: Point, color: Color, *, within: Box | None = None) -> None:
        """A line between two points; thinner within the box of a small object."""
        if _finite((*first, *second)):
            stroke = self.stroke if within is None else self._stroke(within)
            ends = _fixed(first, second)
            cv2.line(self.pixels, ends[0], ends[1], color, stroke, cv2.LINE_AA, FRACTION)

    def mask(self, mask: NDArray[np.bool_], origin: tuple[int, int], color: Color) -> None:
        """Tint the pixels of a mask.

        Args:
            mask: bool[h,w].
            origin: x, y of its first pixel in the picture; it may reach beyond the picture.
            color: BGR.
        """
        left, top = origin
        height, width = self.pixels.shape[:2]
        x1, y1 = max(0, left), max(0, top)
        x2, y2 = min(width, left + mask.shape[1]), min(height, top + mask.shape[0])
        if x1 >= x2 or y1 >= y2:
            return
        under = self.pixels[y1:y2, x1:x2]
        part = np.ascontiguousarray(mask[y1 - top : y2 - top, x1 - left : x2 - left])
        shade = self._shade(under)
        shade[:] = color
        cv2.addWeighted(under, 1 - TINT, shade, TINT, 0, dst=shade)
        cv2.copyTo(shade, part.view(np.uint8), under)

    def class_map(self, classes: NDArray[np.uint8], hidden: Sequence[int] = ()) -> None:
        """Tint every pixel in the color of its class.

        Args:
            classes: uint8[H,W], of the picture's size; other sizes are not drawn.
            hidden: Classes whose pixels stay as they are, as those of no class (UNSEEN) do.
        """
        if classes.shape != self.pixels.shape[:2]:
            return
        colors = np.array([class_color(index) for index in range(256)], np.uint8)
        visible = np.full(256, 255, np.uint8)
        visible[[UNSEEN, *hidden]] = 0
        shade = self._shade(self.pixels)
        cv2.applyColorMap(classes, colors[:, None], shade)
        cv2.addWeighted(self.pixels, 1 - TINT, shade, TINT, 0, dst=shade)
        cv2.copyTo(shade, cv2.LUT(classes, visible), self.pixels)

    def tag(self, box: Box, text: str, color: Color) -> None:
        """A name on a colored tag above the box, or inside it where there is no room."""
        if not (self.size and _finite(box)):
            return
        size = self.size
        size = max(11, round(size * min(0.85, max(0.55, 0.3 * (box.x2 - box.x1) / size))))
        height, pad = round(1.45 * size), round(0.4 * size)
        above = round(box.y1) - height
        top = above if above >= 0 else round(box.y1)
        width = self._letters.width(text, size, bold=True) + 2 * pad
        left, top, right, bottom = _fit(self.pixels, round(box.x1), top, width, height)
        _rounded(self.pixels, (left, top, right, bottom), size // 4, color)
        base = top + round((height + CAPITAL * size) / 2)
        self._letters.put(self.pixels, text, (left + pad, base), size, INK, bold=True)

    def banner(self, lines: Sequence[BannerLine]) -> None:
        """Lines over bars on a dark panel, the first one large; on a small picture only that.

        It stands in the upper left corner of the picture, or below the part that was looked at.
        """
        size, put, width_of = self.size, self._letters.put, self._letters.width
        if not size:
            return
        lines = lines if 8 * size < self.pixels.shape[0] / 2 else lines[:1]
        sizes = [round(1.7 * size)] + [size] * (len(lines) - 1)
        widths = [
            width_of(f"{text}   100 %" if score is not None else text, line, bold=i == 0)
            for i, ((text, score, _), line) in enumerate(zip(lines, sizes, strict=True))
        ]
        pad = round(0.7 * size)
        width = max(8 * size, *widths) + 2 * pad
        height = sum(round(1.65 * line) for line in sizes) + round(1.2 * pad)
        left, top, right, bottom = _fit(self.pixels, *self._corner, width, height)
        self._panel((left, top, right, bottom), size // 2)
        inside, end = left + pad, right - pad
        for i, ((text, score, color), line) in enumerate(zip(lines, sizes, strict=True)):
            base = top + round(0.6 * pad + (0.35 + CAPITAL) * line)
            ink = PAPER if i == 0 else QUIET
            put(self.pixels, text, (inside, base), line, ink, bold=i == 0)
            if score is not None:
                percent = f"{100 * score:.0f} %"
                put(self.pixels, percent, (end - width_of(percent, size), base), size, ink)
                span = (inside, base + round(0.25 * line), end)
                _bar(self.pixels, span, score, color, size)
            top += round(1.65 * line)

    def caption(self, text: str) -> None:
        """One line on a dark panel in the lower left corner, such as speed and age."""
        size = self.size
        height = round(1.7 * size)
        width = self._letters.width(text, size) + size
        top = self.pixels.shape[0] - height - size // 2
        panel = _fit(self.pixels, size // 2, top, width, height)
        self._panel(panel, size // 3)
        base = panel[1] + round((height + CAPITAL * size) / 2)
        self._letters.put(self.pixels, text, (panel[0] + size // 2, base), size, PAPER)

    def _stroke(self, box: Box) -> int:
        """Line width on an object: at most a twentieth of its shorter side."""
        side = min(box.x2 - box.x1, box.y2 - box.y1)
        return max(1, min(self.stroke, round(side / 20))) if _finite(box) else 1

    def _shade(self, under: Pixels) -> Pixels:
        """A part of the scratch memory, as large as a part of the picture."""
        if self._scratch.size < under.size:
            self._scratch = np.empty(under.size, np.uint8)
        return self._scratch[: under.size].reshape(under.shape)

    def _panel(self, panel: tuple[int, int, int, int], radius: int) -> None:
        """Darken a rounded part of the picture."""
        left, top, right, bottom = panel
        under = self.pixels[max(0, top) : bottom, max(0, left) : right]
        shade = self._shade(under)
        np.copyto(shade, under)
        _rounded(shade, (0, 0, under.shape[1], under.shape[0]), radius, INK)
        cv2.addWeighted(shade, SHADE, under, 1 - SHADE, 0, dst=under)


def class_color(index: int) -> Color:
    """The color of a class, BGR; repeats after ten classes."""
    return PALETTE[index % len(PALETTE)]


def font_size(pixels: Pixels) -> int:
    """Font size in pixels that is easy to read on a picture of this size."""
    height, width = map(int, pixels.shape[:2])
    return max(12, round(min(height, 0.75 * width) / 38))


def thickness(pixels: Pixels) -> int:
    """Line width in pixels that suits a picture of this size."""
    height, width = map(int, pixels.shape[:2])
    return max(2, round(min(height, width) / 300))


def _finite(coordinates: Sequence[float]) -> bool:
    return all(map(math.isfinite, coordinates))


def _fit(pixels: Pixels, left: int, top: int, width: int, height: int) -> tuple[int, int, int, int]:
    """A rectangle of this size, moved into the picture as far as it goes."""
    left = max(0, min(left, pixels.shape[1] - width))
    top = max(0, min(top, pixels.shape[0] - height))
    return left, top, left + width, top + height


def _fixed(*points: tuple[float, float]) -> list[tuple[int, int]]:
    """Coordinates with FRACTION binary digits, kept near the picture: they are 32 bits wide."""
    limit = 1 << 20

    def fixed(coordinate: float) -> int:
        return int(max(-limit, min(limit, coordinate)) * (1 << FRACTION))

    return [(fixed(x), fixed(y)) for x, y in points]


def _rounded(pixels: Pixels, box: tuple[int, int, int, int], radius: int, color: Color) -> None:
    left, top, right, bottom = box[0], box[1], box[2] - 1, box[3] - 1
    cv2.rectangle(pixels, (left + radius, top), (right - radius, bottom), color, -1)
    cv2.rectangle(pixels, (left, top + radius), (right, bottom - radius), color, -1)
    for x in (left + radius, right - radius):
        for y in (top + radius, bottom - radius):
            cv2.circle(pixels, (x, y), radius, color, -1, cv2.LINE_AA)


def _bar(pixels: Pixels, span: tuple[int, int, int], score: float, color: Color, size: int) -> None:
    """A bar from span's left to its right at its height, filled up to ``score``."""
    left, y, right = span
    width = max(2, size // 5)
    end = left + round((right - left) * min(1.0, max(0.0, score)))
    cv2.line(pixels, (left, y), (right, y), (90, 84, 80), width, cv2.LINE_AA)
    cv2.line(pixels, (left, y), (end, y), color, width, cv2.LINE_AA)
