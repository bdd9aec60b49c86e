"""The rendered clip as a video file, as a camera's recorder would write it."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from edgecnn.demo.scene import FPS, HEIGHT, WIDTH, WINDOW, Scene
from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.sinks.encoders import open_encoder
from edgecnn_runtime.types import Pixels

NEARER = 2
"""How much larger than in the scene a near camera shows the window."""


def write_clip(scene: Scene, path: Path, frames: Iterable[int], *, near: bool = False) -> None:
    """Draw frames and encode them.

    Args:
        scene: What is drawn.
        path: The file to write.
        frames: Indices of the frames, in order.
        near: Show nothing but the reading window.

    Raises:
        EdgecnnError: The file cannot be written.
    """
    try:
        width, height = (NEARER * side for side in WINDOW[2:]) if near else (WIDTH, HEIGHT)
        encoder = open_encoder(path, width, height, FPS)
        try:
            for number, index in enumerate(frames):
                picture = scene.frame(index)
                encoder.write(_from_near(picture) if near else picture, number / FPS)
        finally:
            encoder.close()
    except OSError as error:
        raise EdgecnnError(f"cannot write {path}: {error.strerror or error}") from None


def _from_near(picture: Pixels) -> Pixels:
    x, y, width, height = WINDOW
    part = picture[y : y + height, x : x + width]
    return np.asarray(cv2.resize(part, None, fx=NEARER, fy=NEARER), np.uint8)
