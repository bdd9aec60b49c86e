"""A picture, or a folder of pictures in the order of their names."""

from pathlib import Path

import cv2

from edgecnn_runtime.errors import SourceLostError, UsageError
from edgecnn_runtime.image_file import read_picture
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
        """The next picture that can be read; None after the last one.

        Raises:
            SourceLostError: After the last one, where some could not be read.
        """
        for file in self._unread:
            pixels = read_picture(file, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
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
