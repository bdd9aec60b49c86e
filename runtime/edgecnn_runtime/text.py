"""Text on a picture, by whatever letters this OpenCV has.

OpenCV 5 brings a real font (any script that it covers, Chinese too); OpenCV 4 has only strokes
for ASCII, where every other character becomes a question mark.
"""

from typing import Any, TypeAlias

import cv2

from edgecnn_runtime.types import Pixels

Color: TypeAlias = tuple[int, int, int]
"""Blue, green, red, 0..255."""

CAPITAL = 0.75
"""Height of a capital letter, as a share of the font's size."""
HERSHEY_CAP_HEIGHT = 21.0
"""Height in pixels of a capital letter of OpenCV 4's strokes at scale 1."""
REGULAR, BOLD = 400, 600


class TextRenderer:
    """Measures and draws single lines; sizes are of the font, in pixels.

    Not thread-safe: the font keeps what it has drawn. Making one takes 70 ms on first use.
    """

    def __init__(self) -> None:
        self._cv2: Any = cv2  # its stubs know either OpenCV 4's calls or 5's
        self._face = self._cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None

    def width(self, text: str, size: int, *, bold: bool = False) -> int:
        """How many pixels wide the text will be."""
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
        """Draw into ``pixels``; at: left end of the base line. What leaves the picture is cut."""
        if self._face is not None:
            weight = BOLD if bold else REGULAR
            self._cv2.putText(pixels, text, at, color, self._face, size, weight)
            return
        scale, thickness = _strokes(size, bold)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(pixels, text, at, font, scale, color, thickness, cv2.LINE_AA)


def _strokes(size: int, bold: bool) -> tuple[float, int]:
    return CAPITAL * size / HERSHEY_CAP_HEIGHT, max(1, round(size / (12 if bold else 18)))
