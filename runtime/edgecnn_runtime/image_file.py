"""Image files, read one by one from a folder of them."""

from pathlib import Path

import cv2
import numpy as np

from edgecnn_runtime.types import Pixels

SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm"])
"""File endings that are taken for images."""


def read_picture(file: Path, flags: int = cv2.IMREAD_COLOR) -> Pixels | None:
    """Read an image file.

    Args:
        file: A path of any bytes, UTF-8 or not.
        flags: OpenCV's ``IMREAD_…``.

    Returns:
        uint8[H,W,3] BGR, turned as its EXIF tag demands, unless ``flags`` ask for another depth,
        other channels or no turning; owned by the caller. None where the file is empty, cannot be
        read, is not an image, or has more pixels than OpenCV takes.
    """
    try:
        # imread crashes on a name that is not UTF-8
        frame = cv2.imdecode(np.fromfile(file, np.uint8), flags)
    except (OSError, cv2.error):
        return None
    return None if frame is None else np.asarray(frame)
