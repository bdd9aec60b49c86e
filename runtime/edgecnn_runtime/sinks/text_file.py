"""A text file of results; each frame's lines are on disk before the next frame's begin.

It is replaced when it is opened, may be followed while it grows (``tail -f``), and keeps what it
has if the process is killed.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from edgecnn_runtime.errors import EdgecnnError, UsageError
from edgecnn_runtime.types import FrameResult


class TextFile:
    """Sink of whole lines; may be shared by threads."""

    def __init__(
        self, path: Path, lines: Callable[[FrameResult], str], *, header: str = ""
    ) -> None:
        """Open the file and write the header.

        Args:
            path: The file; what stands there is replaced.
            lines: The lines of one frame, each with its line end; never called by two threads at
                once.
            header: What the file begins with, with its line end.

        Raises:
            UsageError: The file cannot be opened for writing.
            EdgecnnError: The disk is full.
        """
        self.path = path
        self._lines = lines
        self._lock = threading.Lock()
        try:
            self._file: TextIO = path.open("w", encoding="utf-8", newline="", buffering=1)
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from None
        self._append(header)

    def write(self, result: FrameResult, /) -> None:
        """Append the lines of one frame, together.

        Raises:
            EdgecnnError: The disk is full; what was appended before stays.
        """
        with self._lock:
            self._append(self._lines(result))

    def close(self) -> None:
        """Close the file; idempotent.

        Raises:
            EdgecnnError: The end of what was appended could not be written.
        """
        with self._lock:
            try:
                self._file.close()
            except OSError as error:  # what could not be flushed
                raise EdgecnnError(f"cannot write {self.path}: {error.strerror}") from None

    def _append(self, lines: str) -> None:
        try:
            self._file.write(lines)
            self._file.flush()
        except OSError as error:
            raise EdgecnnError(
                f"cannot write {self.path}: {error.strerror}; what it has so far is kept"
            ) from None
