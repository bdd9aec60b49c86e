"""Pictures: one, several in the order given, or all of a folder and the folders in it.

An IDX file is a folder of pictures; of a folder of them, such as MNIST's, the test part is taken.
"""

import errno
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2

from edgecnn_runtime.errors import SourceLostError, UsageError
from edgecnn_runtime.idx import idx_files, idx_pictures
from edgecnn_runtime.image_file import read_picture
from edgecnn_runtime.source.address import PICTURES
from edgecnn_runtime.source.capture import RawFrame
from edgecnn_runtime.source.orientation import to_bgr

NAMES_LISTED = 5
"""Names of unreadable pictures that the error at the end lists."""


class ImageFiles:
    """Reader of picture files. EXIF orientation is applied, alpha dropped, 16 bits are kept.

    Of a file with several pictures (GIF, TIFF) it is the first one.
    """

    live = False
    fps = 0.0

    def __init__(self, name: str, paths: Sequence[Path]) -> None:
        """Look for the first picture.

        Args:
            name: What the paths are called together, in errors.
            paths: Pictures, and folders of pictures.

        Raises:
            UsageError: There is no picture in them.
            SourceLostError: This user may not read them.
        """
        self._name = name
        self._count = 0
        self._unreadable: list[str] = []
        self._files = (file for path in paths for file in self._pictures(path))
        self._next = next(self._files, None)
        if self._next is None and self._unreadable:
            raise SourceLostError(f"{name} cannot be read: {self._unreadable[0]}")
        if self._next is None:
            kinds = " ".join(f"*{suffix}" for suffix in PICTURES)
            raise UsageError(f"{name}: no pictures in this folder ({kinds})")

    def read(self) -> RawFrame | None:
        """The next picture that can be read; None after the last one.

        Raises:
            SourceLostError: After the last one, where some could not be read.
        """
        while (file := self._next) is not None:
            self._next = next(self._files, None)
            self._count += 1
            pixels = read_picture(file, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
            if pixels is None:
                self._unreadable.append(f"{file.name}{_obstacle(file)}")
                continue
            try:
                return RawFrame(to_bgr(pixels), None, file=str(file))
            except UsageError:  # such as the temperatures of a thermal camera, in float32
                self._unreadable.append(f"{file.name} ({pixels.dtype})")
        if self._count == 1 and self._unreadable:
            raise SourceLostError(
                f"{self._name} cannot be read: no picture is found in {self._unreadable[0]}"
            )
        if self._unreadable:
            listed = ", ".join(self._unreadable[:NAMES_LISTED])
            more = ", …" if len(self._unreadable) > NAMES_LISTED else ""
            raise SourceLostError(
                f"{self._name}: {len(self._unreadable)} of {self._count} pictures "
                f"cannot be read: {listed}{more}"
            )
        return None

    def close(self) -> None:
        """Nothing is held open."""

    def _pictures(self, path: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
        """The path itself, or the pictures in it and below it, by name; nothing that is hidden."""
        if not _is_folder(path):
            yield from idx_pictures(path) if idx_files(path, training=False) else [path]
            return
        place = path.resolve()
        if place in above:  # a link to a folder that it lies in
            return
        try:
            entries = sorted(path.iterdir(), key=natural_order)
        except OSError as error:
            self._count += 1
            who = f" for this user, uid {os.getuid()}" if error.errno == errno.EACCES else ""
            self._unreadable.append(f"{path.name}/ ({error.strerror}{who})")
            return
        for file in idx_files(path, training=False):
            yield from idx_pictures(file)
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                yield from self._pictures(entry, above | {place})
            elif entry.suffix.lower() in PICTURES:
                yield entry


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # in a folder that may be listed and not entered
        return False


def _obstacle(file: Path) -> str:
    """The cause why a file cannot be read, in parentheses; empty where it is not known."""
    if not os.access(file, os.R_OK):
        return f" (permission denied for this user, uid {os.getuid()})"
    return " (convert HEIC to JPEG first)" if file.suffix.lower() in {".heic", ".heif"} else ""


def natural_order(path: Path) -> tuple[list[str | int], str]:
    """The key that sorts names as a person does: frame2 comes before frame10."""
    parts = re.split("([0-9]+)", path.name.lower())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name
