"""Results drawn on copies of their frames."""

from collections.abc import Sequence

import numpy as np

from edgecnn_runtime.draw import PAPER, Canvas
from edgecnn_runtime.preprocess import Roi
from edgecnn_runtime.tasks import TASKS
from edgecnn_runtime.text import TextRenderer
from edgecnn_runtime.types import Box, FrameResult, Pixels


class Annotator:
    """Draws results on copies of their frames. One per thread: its letters are not thread-safe."""

    def __init__(self, labels: Sequence[str] = (), roi: Roi | None = None) -> None:
        """Allocate nothing yet.

        Args:
            labels: Class names by class number, to name the runners-up of a classification.
            roi: The part of each frame that the model was given; it is framed.
        """
        self._labels = tuple(labels)
        self._roi = roi
        self._letters = TextRenderer()
        self._canvas: Canvas | None = None

    def annotate(self, result: FrameResult, *, caption: str = "") -> Pixels:
        """Draw a result on a copy of its frame.

        Args:
            result: Its frame is only read.
            caption: A line for the lower left corner, such as speed and age.

        Returns:
            uint8[H,W,3] BGR: the annotator's own buffer, overwritten by the next call. It is
            allocated anew only for a frame of another size.
        """
        canvas, pixels = self._canvas, result.frame.pixels
        if canvas is None or canvas.pixels.shape != pixels.shape:
            blank = np.empty(pixels.shape, np.uint8)
            canvas = Canvas(blank, labels=self._labels, roi=self._roi, letters=self._letters)
            self._canvas = canvas
        np.copyto(canvas.pixels, pixels)
        if self._roi is not None:
            x, y, w, h = self._roi
            canvas.brackets(Box(x, y, x + w, y + h), PAPER, canvas.stroke)
        TASKS[result.task].draw(canvas, result.result)
        if caption:
            canvas.caption(caption)
        return canvas.pixels
