"""Image files: listed in a folder, and read one by one. An IDX file is a folder of images."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edgecnn_runtime.idx import idx_files, idx_pictures, is_idx_picture, read_idx_picture
from edgecnn_runtime.types import Pixels

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm",
    ".jp2", ".gif", ".avif",
)  # fmt: skip
"""File endings that are taken for images; of a GIF the first one is read."""


def list_images(path: Path) -> Iterator[Path]:
    """The images in a folder and its subfolders, or in an IDX file, in any order.

    Of a folder of IDX files, such as MNIST's, those of the training part are taken.

    Raises:
        UsageError: An IDX file is damaged.
    """
    if files := idx_files(path, training=True):
        for file in files:
            yield from idx_pictures(file)
        return
    for file in path.rglob("*"):
        if file.suffix.lower() in SUFFIXES and file.is_file():
            yield file


def is_image_file(path: Path) -> bool:
    """Whether there is such a file, or such a picture in an IDX file."""
    try:
        return (path.parent if is_idx_picture(path) else path).is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a null byte
        return False


def image_bytes(path: Path) -> bytes:
    """What tells one image from another: a file's content, or the pixels in an IDX file."""
    if is_idx_picture(path):
        picture = read_idx_picture(path)
        return b"" if picture is None else picture.tobytes()
    return path.read_bytes()


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
    if is_idx_picture(file):
        gray = read_idx_picture(file)
        return None if gray is None else np.repeat(gray[..., None], 3, axis=2)
    try:
        # imread crashes on a name that is not UTF-8
        frame = cv2.imdecode(np.fromfile(file, np.uint8), flags)
    except (OSError, cv2.error):
        return None
    return None if frame is None else np.asarray(frame)
