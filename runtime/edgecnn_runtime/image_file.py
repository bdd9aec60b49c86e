"""Image files, as a folder of them is read."""

from pathlib import Path

import cv2
import numpy as np

from edgecnn_runtime.types import Pixels

SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm"])


def read_picture(file: Path, flags: int = cv2.IMREAD_COLOR) -> Pixels | None:
    """uint8[H,W,3] BGR, turned as its EXIF says unless ``flags`` say else; None for no picture."""
    try:
        # not imread, which crashes on a name that is no UTF-8
        frame = cv2.imdecode(np.fromfile(file, np.uint8), flags)
    except (OSError, cv2.error):
        return None
    return None if frame is None else np.asarray(frame, np.uint8)
