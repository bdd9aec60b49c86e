"""Results drawn into pictures: the latest frame in one file, or every picture in a folder."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import cv2

from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.preprocess import Roi
from edgecnn_runtime.sinks.annotator import Annotator
from edgecnn_runtime.sinks.base import SinkKind
from edgecnn_runtime.types import FrameResult, Pixels

SUFFIXES = (".jpg", ".jpeg", ".png")
FOLDER = "/"
"""The ending of a folder's name."""


class Snapshot:
    """Sink of annotated frames: one picture, replaced by every frame, so the last one stays."""

    def __init__(self, path: Path, *, labels: Sequence[str] = (), roi: Roi | None = None) -> None:
        """Write nothing yet.

        Args:
            path: Its ending is one of SUFFIXES.
            labels: Class names by class number.
            roi: The part of each frame that the model is given; it is framed.
        """
        self.path = path
        self._annotator = Annotator(labels, roi)

    def write(self, result: FrameResult, /) -> None:
        """Replace the picture by this frame with its result drawn in.

        Raises:
            EdgecnnError: It cannot be written; the picture before stays.
        """
        replace_picture(self.path, self._annotator.annotate(result))

    def close(self) -> None:
        """Nothing is held open."""


class PictureFolder:
    """Sink of annotated pictures: each in a file of its own, named like the picture it was.

    A picture in a folder of the source is written to the same folder of the output. One of a kind
    that is not written here (GIF, AVIF …) becomes a JPEG: ``a.gif`` becomes ``a.gif.jpg``. A frame
    of any other source is named by its number.
    """

    def __init__(
        self,
        path: Path,
        *,
        root: Path | None = None,
        labels: Sequence[str] = (),
        roi: Roi | None = None,
    ) -> None:
        """Write nothing yet.

        Args:
            path: The folder; it is made with the first picture.
            root: The folder that the pictures of the source lie in; absolute.
            labels: Class names by class number.
            roi: The part of each frame that the model is given; it is framed.
        """
        self.path = path
        self._root = root
        self._annotator = Annotator(labels, roi)

    def write(self, result: FrameResult, /) -> None:
        """Write this frame with its result drawn in; a picture of the same name is replaced.

        Raises:
            EdgecnnError: It cannot be written.
        """
        frame = result.frame
        name = Path(f"{frame.index:06}.jpg")
        if frame.file:
            name = Path(os.path.normpath(Path(frame.file).absolute()))
        if self._root is not None and name.is_relative_to(self._root):
            name = name.relative_to(self._root)
        else:
            name = Path(name.name)
        if name.suffix.lower() not in SUFFIXES:
            name = name.with_name(f"{name.name}.jpg")
        target = self.path / name
        try:
            self.path.mkdir(exist_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EdgecnnError(f"cannot write {target}: {error.strerror}") from None
        replace_picture(target, self._annotator.annotate(result))

    def close(self) -> None:
        """Nothing is held open."""


def replace_picture(path: Path, pixels: Pixels) -> None:
    """Write a picture file that is whole at any moment.

    Args:
        path: Its ending is one of SUFFIXES.
        pixels: uint8[H,W,3] BGR.

    Raises:
        EdgecnnError: It cannot be written; what stood there stays.
    """
    # The same name each time, so that what a killed process leaves is used again.
    scratch = path.with_name(f".{path.name}.part")
    try:
        encoded, data = cv2.imencode(path.suffix, pixels)
    except cv2.error:
        encoded = False
    if not encoded:
        height, width = pixels.shape[:2]
        raise EdgecnnError(
            f"cannot write {path}: a picture of {width}x{height} is too large for "
            f"{path.suffix}" + ("; name a .png" if path.suffix.lower() != ".png" else "")
        )
    try:
        scratch.write_bytes(data.data)
        scratch.replace(path)
    except OSError as error:
        with suppress(OSError):
            scratch.unlink()
        raise EdgecnnError(f"cannot write {path}: {error.strerror}") from None


KIND = SinkKind(
    flag="save",
    help="the latest picture",
    open=lambda path, stream: Snapshot(path, labels=stream.labels, roi=stream.roi),
    suffixes=SUFFIXES,
    summary_key="saved",
)
FOLDER_KIND = SinkKind(
    flag="save",
    help="every annotated picture in a folder",
    open=lambda path, stream: PictureFolder(
        path, root=stream.root, labels=stream.labels, roi=stream.roi
    ),
    suffixes=(FOLDER,),
    summary_key="saved",
)
