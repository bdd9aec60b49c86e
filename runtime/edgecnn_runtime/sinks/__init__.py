"""What keeps the results of a run: annotated video or picture, JSON lines, CSV."""

from collections.abc import Sequence
from pathlib import Path

from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.preprocess import Roi
from edgecnn_runtime.sinks.encoders import CODECS
from edgecnn_runtime.sinks.lines import CsvTable, JsonLines
from edgecnn_runtime.sinks.video import Snapshot, Video

__all__ = ["CsvTable", "JsonLines", "Snapshot", "Video", "check_output", "open_annotated"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
ANNOTATED_SUFFIXES = (*CODECS, *IMAGE_SUFFIXES)
"""File endings that annotated frames can be kept in."""


def open_annotated(
    path: Path, *, fps: float, labels: Sequence[str] = (), roi: Roi | None = None
) -> Video | Snapshot:
    """A writer of annotated frames: a video, or a picture, by the file's ending."""
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return Snapshot(path, labels=labels, roi=roi)
    return Video(path, fps=fps, labels=labels, roi=roi)


def check_output(path: Path, endings: Sequence[str]) -> None:
    """Raises UsageError, before any work is done, where a file can surely not be written."""
    if endings and path.suffix.lower() not in endings:
        raise UsageError(f"{path}: its name must end in {', '.join(endings)}")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file in it")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}: make it first")
