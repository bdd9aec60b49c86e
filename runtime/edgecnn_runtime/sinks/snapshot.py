"""Results drawn into a picture: the latest frame, whole at any moment."""

from collections.abc import Sequence
from pathlib import Path

import cv2

from edgecnn_runtime.bundle.atomic import atomic_file
from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.preprocess import Roi
from edgecnn_runtime.sinks.annotator import Annotator
from edgecnn_runtime.sinks.base import SinkKind
from edgecnn_runtime.types import FrameResult

SUFFIXES = (".jpg", ".jpeg", ".png")


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
        drawing = self._annotator.annotate(result)
        try:
            _, data = cv2.imencode(self.path.suffix, drawing)
            with atomic_file(self.path) as scratch:
                scratch.write_bytes(data.data)
        except OSError as error:
            raise EdgecnnError(f"cannot write {self.path}: {error.strerror}") from None

    def close(self) -> None:
        """Nothing is held open."""


KIND = SinkKind(
    flag="save",
    help="the latest picture",
    open=lambda path, stream: Snapshot(path, labels=stream.labels, roi=stream.roi),
    suffixes=SUFFIXES,
    summary_key="saved",
)
