"""Results, drawn into the frame they belong to.

Everything scales with the picture, so that 480p and 4K read alike.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np

from edgecnn_runtime.preprocess import Roi
from edgecnn_runtime.text import CAPITAL, Color, TextRenderer
from edgecnn_runtime.types import Box, Classification, Detection, Embedding, Pixels, Reading, Result

PALETTE: tuple[Color, ...] = (
    (128, 222, 74), (250, 165, 96), (36, 191, 251), (182, 114, 244), (238, 211, 34),
    (113, 113, 248), (250, 139, 167), (53, 230, 163), (60, 146, 251), (191, 212, 45),
)  # fmt: skip
"""A color a class, bright enough for dark letters: green, blue, amber, pink, cyan, red, …"""
INK, PAPER, QUIET = (26, 20, 18), (255, 255, 255), (200, 194, 190)
SHADE = 0.68
"""How dark a panel makes the picture behind it."""
FRACTION = 3
"""Binary digits of OpenCV's subpixel coordinates."""
TOP_K = 2

Line: TypeAlias = tuple[str, float | None, Color]
"""A line of a panel: text, score (or none, and no bar), color of its bar."""


class Annotator:
    """Draws results into frames. One a thread: its letters are not thread-safe."""

    def __init__(self, labels: Sequence[str] = ()) -> None:
        """labels: of every class, to name the runners-up of a classification."""
        self._labels = tuple(labels)
        self._letters = TextRenderer()

    def annotate(
        self, pixels: Pixels, result: Result, *, roi: Roi | None = None, note: str = ""
    ) -> None:
        """Draw into ``pixels``, uint8[H,W,3] BGR, in place.

        roi: the part that was looked at; it is framed, and what was read stands beside it.
        note: a line for the lower left corner, such as speed and age.
        """
        size, stroke = font_size(pixels), thickness(pixels)
        corner = (size // 2, size // 2)
        if roi is not None:
            x, y, w, h = roi
            _brackets(pixels, Box(x, y, x + w, y + h), PAPER, stroke)
            corner = (x, y + h + size // 2)
        if isinstance(result, list):
            finite = (one for one in result if all(map(math.isfinite, one.box)))
            ranked = sorted(finite, key=lambda one: one.score)
            for found in ranked:
                _object(pixels, found, stroke)
            for found in ranked:  # names last, the surest on top
                self._tag(pixels, found, size)
        else:
            self._panel(pixels, self._lines(result), corner, size)
        if note:
            height = round(1.7 * size)
            width = self._letters.width(note, size) + size
            box = _fit(pixels, size // 2, pixels.shape[0] - height - size // 2, width, height)
            _panel(pixels, box, size // 3)
            base = box[1] + round((height + CAPITAL * size) / 2)
            self._letters.put(pixels, note, (box[0] + size // 2, base), size, PAPER)

    def _tag(self, pixels: Pixels, found: Detection, size: int) -> None:
        """The name on a colored tag above the box, or inside it where there is no room."""
        box, text = found.box, f"{found.label} {found.score:.2f}".strip()
        size = max(11, round(size * min(0.85, max(0.55, 0.3 * (box.x2 - box.x1) / size))))
        height, pad = round(1.45 * size), round(0.4 * size)
        above = round(box.y1) - height
        top = above if above >= 0 else round(box.y1)
        width = self._letters.width(text, size, bold=True) + 2 * pad
        left, top, right, bottom = _fit(pixels, round(box.x1), top, width, height)
        _rounded(pixels, (left, top, right, bottom), size // 4, _color(found.index))
        base = top + round((height + CAPITAL * size) / 2)
        self._letters.put(pixels, text, (left + pad, base), size, INK, bold=True)

    def _lines(self, result: Classification | Reading | Embedding) -> list[Line]:
        if isinstance(result, Reading):
            return [(result.text or "–", result.score if result.text else None, PALETTE[0])]
        if isinstance(result, Embedding):
            return [(f"{len(result.vector)}-D embedding", None, PALETTE[0])]
        best = (result.label, result.score, _color(result.index))
        if len(self._labels) != len(result.scores):
            return [best]
        order = np.argsort(result.scores)[::-1]
        others = [int(index) for index in order if index != result.index][:TOP_K]
        return [best, *((self._labels[i], float(result.scores[i]), QUIET) for i in others)]

    def _panel(self, pixels: Pixels, lines: list[Line], corner: tuple[int, int], size: int) -> None:
        """Lines over bars on a dark panel, the first one large; on a small picture only that."""
        lines = lines if 8 * size < pixels.shape[0] / 2 else lines[:1]
        sizes = [round(1.7 * size)] + [size] * (len(lines) - 1)
        widths = [
            self._letters.width(f"{text}   100 %" if score is not None else text, line, bold=i == 0)
            for i, ((text, score, _), line) in enumerate(zip(lines, sizes, strict=True))
        ]
        pad = round(0.7 * size)
        width = max(8 * size, *widths) + 2 * pad
        height = sum(round(1.65 * line) for line in sizes) + round(1.2 * pad)
        left, top, right, bottom = _fit(pixels, *corner, width, height)
        _panel(pixels, (left, top, right, bottom), size // 2)
        inside, end = left + pad, right - pad
        for i, ((text, score, color), line) in enumerate(zip(lines, sizes, strict=True)):
            base = top + round(0.6 * pad + (0.35 + CAPITAL) * line)
            ink = PAPER if i == 0 else QUIET
            self._letters.put(pixels, text, (inside, base), line, ink, bold=i == 0)
            if score is not None:
                share = f"{100 * score:.0f} %"
                at = (end - self._letters.width(share, size), base)
                self._letters.put(pixels, share, at, size, ink)
                _bar(pixels, (inside, base + round(0.25 * line), end), score, color, size)
            top += round(1.65 * line)


def font_size(pixels: Pixels) -> int:
    """Font size in pixels that reads well on a picture of this size."""
    height, width = map(int, pixels.shape[:2])
    return max(12, round(min(height, 0.75 * width) / 38))


def thickness(pixels: Pixels) -> int:
    """Width of a line, likewise."""
    height, width = map(int, pixels.shape[:2])
    return max(2, round(min(height, width) / 300))


def _color(index: int) -> Color:
    return PALETTE[index % len(PALETTE)]


def _object(pixels: Pixels, found: Detection, stroke: int) -> None:
    """A box and its points; thinner on a small one, not to hide it."""
    color = _color(found.index)
    side = min(found.box.x2 - found.box.x1, found.box.y2 - found.box.y1)
    stroke = max(1, min(stroke, round(side / 20)))
    first, second = _fixed((found.box.x1, found.box.y1), (found.box.x2, found.box.y2))
    cv2.rectangle(pixels, first, second, color, max(1, stroke // 2), cv2.LINE_AA, FRACTION)
    _brackets(pixels, found.box, color, stroke)
    for point in found.points:
        _dot(pixels, point, stroke + 1, INK)
        _dot(pixels, point, stroke, color)


def _fit(pixels: Pixels, left: int, top: int, width: int, height: int) -> tuple[int, int, int, int]:
    """A rectangle of this size, moved into the picture as far as it goes."""
    left = max(0, min(left, pixels.shape[1] - width))
    top = max(0, min(top, pixels.shape[0] - height))
    return left, top, left + width, top + height


def _fixed(*points: tuple[float, float]) -> list[tuple[int, int]]:
    """Coordinates with FRACTION binary digits, kept near the picture: they are 32 bits wide."""
    scale, limit = 1 << FRACTION, 1 << 20
    return [
        (
            int(max(-limit, min(limit, x)) * scale),
            int(max(-limit, min(limit, y)) * scale),
        )
        for x, y in points
    ]


def _brackets(pixels: Pixels, box: Box, color: Color, width: int) -> None:
    """The four corners of a box, each a quarter of its shorter side long."""
    arm = min(box.x2 - box.x1, box.y2 - box.y1) / 4
    for x, inward_x in ((box.x1, arm), (box.x2, -arm)):
        for y, inward_y in ((box.y1, arm), (box.y2, -arm)):
            path = np.array(_fixed((x, y + inward_y), (x, y), (x + inward_x, y)), np.int32)
            cv2.polylines(pixels, [path], False, color, 2 * width, cv2.LINE_AA, FRACTION)


def _dot(pixels: Pixels, center: tuple[float, float], radius: int, color: Color) -> None:
    (at,) = _fixed(center)
    cv2.circle(pixels, at, radius << FRACTION, color, -1, cv2.LINE_AA, FRACTION)


def _rounded(pixels: Pixels, box: tuple[int, int, int, int], radius: int, color: Color) -> None:
    left, top, right, bottom = box[0], box[1], box[2] - 1, box[3] - 1
    cv2.rectangle(pixels, (left + radius, top), (right - radius, bottom), color, -1)
    cv2.rectangle(pixels, (left, top + radius), (right, bottom - radius), color, -1)
    for x in (left + radius, right - radius):
        for y in (top + radius, bottom - radius):
            cv2.circle(pixels, (x, y), radius, color, -1, cv2.LINE_AA)


def _panel(pixels: Pixels, box: tuple[int, int, int, int], radius: int) -> None:
    """Darken a rounded part of the picture."""
    left, top, right, bottom = box
    under = pixels[max(0, top) : bottom, max(0, left) : right]
    shade = under.copy()
    _rounded(shade, (0, 0, under.shape[1], under.shape[0]), radius, INK)
    cv2.addWeighted(shade, SHADE, under, 1 - SHADE, 0, dst=under)


def _bar(pixels: Pixels, span: tuple[int, int, int], share: float, color: Color, size: int) -> None:
    """A bar from span's left to its right at its height, filled up to ``share``."""
    left, y, right = span
    width = max(2, size // 5)
    end = left + round((right - left) * min(1.0, max(0.0, share)))
    cv2.line(pixels, (left, y), (right, y), (90, 84, 80), width, cv2.LINE_AA)
    cv2.line(pixels, (left, y), (end, y), color, width, cv2.LINE_AA)
