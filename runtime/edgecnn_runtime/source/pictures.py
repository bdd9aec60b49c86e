"""A picture, or a folder of pictures in the order of their names."""

from pathlib import Path

import cv2
import numpy as np

from edgecnn_runtime.errors import SourceLostError, UsageError
from edgecnn_runtime.source.address import PICTURES
from edgecnn_runtime.source.capture import RawFrame


class ImageFiles:
    """Reader of picture files. EXIF orientation is applied, alpha dropped, 16 bits are kept."""

    live = False
    fps = 0.0

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files = [path] if path.is_file() else _inside(path)
        self._unread = iter(self._files)
        self._bad: list[str] = []

    def read(self) -> RawFrame | None:
        """The next picture that can be read.

        Raises SourceLostError, after the last one, naming those that could not.
        """
        for file in self._unread:
            try:
                # not imread, which crashes on a name that is no UTF-8
                stored = np.fromfile(file, np.uint8)
                pixels = cv2.imdecode(stored, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
            except (OSError, cv2.error):  # empty, or over OpenCV's limit on the number of pixels
                pixels = None
            if pixels is not None:
                return RawFrame(pixels, None)
            self._bad.append(file.name)
        if self._bad:
            shown = ", ".join(self._bad[:5]) + (", …" if len(self._bad) > 5 else "")
            raise SourceLostError(
                f"{self._path}: {len(self._bad)} of {len(self._files)} pictures "
                f"cannot be read: {shown}"
            )
        return None

    def close(self) -> None:
        """Nothing is held open."""


def _inside(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    if not files:
        kinds = " ".join(f"*{suffix}" for suffix in PICTURES)
        raise UsageError(f"{folder}: no pictures in this folder ({kinds})")
    return files
