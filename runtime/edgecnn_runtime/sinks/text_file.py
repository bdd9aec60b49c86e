"""A text file that several threads append to; each addition is on disk before the next begins.

It is replaced when it is opened, may be followed while it grows (``tail -f``), and keeps what it
has if the process is killed.
"""

import threading
from pathlib import Path
from typing import TextIO

from edgecnn_runtime.errors import EdgecnnError, UsageError


class TextFile:
    """Whole lines, appended by any thread."""

    def __init__(self, path: Path) -> None:
        """Open the file, empty.

        Raises:
            UsageError: It cannot be written.
        """
        self.path = path
        self._lock = threading.Lock()
        try:
            self._file: TextIO = path.open("w", encoding="utf-8", newline="", buffering=1)
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from None

    def append(self, lines: str) -> None:
        """Append whole lines, each with its line end, together.

        Raises:
            EdgecnnError: The disk is full; what was appended before stays.
        """
        with self._lock:
            try:
                self._file.write(lines)
                self._file.flush()
            except OSError as error:
                raise EdgecnnError(
                    f"cannot write {self.path}: {error.strerror}; what it has so far is kept"
                ) from None

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
