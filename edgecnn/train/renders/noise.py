"""What rendered surfaces are made of."""

import cv2
import numpy as np
from numpy.typing import NDArray

Random = np.random.Generator
Image = NDArray[np.float32]
"""float32[H,W,3] BGR or float32[H,W]; each docstring says whether 0..255 or 0..1."""


def soft_noise(height: int, width: int, cell: int, random: Random) -> Image:
    """Noise around 0 that is smooth over ``cell`` pixels, float32[height,width]."""
    coarse = random.normal(0, 1, (height // cell + 3, width // cell + 3)).astype(np.float32)
    fine = cv2.resize(coarse, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)
    return np.asarray(fine[cell : cell + height, cell : cell + width], np.float32)
