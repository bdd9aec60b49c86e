"""Text on a picture, in the letters that this OpenCV has.

OpenCV 5 brings a real font (every script that it covers, Chinese too); OpenCV 4 has only strokes
for ASCII, and every other character becomes a question mark.
"""

from typing import Any, TypeAlias

import cv2

from edgecnn_runtime.types import Pixels

Color: TypeAlias = tuple[int, int, int]
"""Blue, green, red, 0..255."""

CAPITAL = 0.75
"""Height of a capital letter as a fraction of the font size."""
HERSHEY_CAP_HEIGHT = 21.0
"""Height in pixels of a capital letter of OpenCV 4's strokes at scale 1."""
REGULAR, BOLD = 400, 600


class TextRenderer:
    """Measures and draws single lines of text.

    Not thread-safe, because the font caches its glyphs. The first one made takes 70 ms.
    """

    def __init__(self) -> None:
        self._cv2: Any = cv2  # its stubs know either OpenCV 4's calls or 5's
        self._face = self._cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None

    def width(self, text: str, size: int, *, bold: bool = False) -> int:
        """Width of a text in pixels.

        Args:
            text: One line.
            size: Font size in pixels.
            bold: Whether it will be drawn in bold.
        """
        if self._face is not None:
            weight = BOLD if bold else REGULAR
            rectangle = self._cv2.getTextSize((1, 1), text, (0, 0), self._face, size, weight)
            return int(rectangle[2])
        scale, thickness = _strokes(size, bold)
        return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)[0][0])

    def put(
        self, pixels: Pixels, text: str, at: tuple[int, int], size: int, color: Color,
        *, bold: bool = False,
    ) -> None:  # fmt: skip
        """Draw a text; what lies outside of the picture is cut off.

        Args:
            pixels: uint8[H,W,3] BGR, drawn into.
            text: One line.
            at: x, y of the left end of the base line, in pixels.
            size: Font size in pixels.
            color: BGR.
            bold: Whether to draw it in bold.
        """
        if self._face is not None:
            weight = BOLD if bold else REGULAR
            self._cv2.putText(pixels, text, at, color, self._face, size, weight)
            return
        scale, thickness = _strokes(size, bold)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(pixels, text, at, font, scale, color, thickness, cv2.LINE_AA)


def _strokes(size: int, bold: bool) -> tuple[float, int]:
    """OpenCV 4's scale and line width for a font size."""
    return CAPITAL * size / HERSHEY_CAP_HEIGHT, max(1, round(size / (12 if bold else 18)))
