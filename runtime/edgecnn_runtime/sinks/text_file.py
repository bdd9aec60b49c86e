"""A text file of results or events; each one's lines are on disk before the next one's begin.

It may be followed while it grows (``tail -f``), and keeps what it has if the process is killed. A
file from an earlier run is kept.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TextIO, TypeVar

from edgecnn_runtime.errors import EdgecnnError, UsageError
from edgecnn_runtime.sinks.existing import Existing, set_aside

T = TypeVar("T")

STDOUT = "-"
"""The path that stands for standard output."""


class TextFile(Generic[T]):
    """Sink of whole lines, of frames' results or of events; may be shared by threads."""

    def __init__(
        self,
        path: Path,
        lines: Callable[[T], str],
        *,
        header: str = "",
        existing: Existing = "keep",
    ) -> None:
        """Open the file, and write the header into one that is empty.

        Args:
            path: The file; ``-`` for standard output.
            lines: The lines of one value, each with its line end; never called by two threads at
                once.
            header: What the file begins with, with its line end.
            existing: What becomes of a file that stands there; one with another header is not
                continued.

        Raises:
            UsageError: The file cannot be opened for writing.
            EdgecnnError: The disk is full.
        """
        self.path = path
        self._name = "standard output" if str(path) == STDOUT else str(path)
        self._lines = lines
        self._lock = threading.Lock()
        try:
            self._file, begin = self._open(header, existing)
        except OSError as error:
            raise UsageError(f"cannot write {self._name}: {error.strerror}") from None
        self._append(begin)

    def write(self, value: T, /) -> None:
        """Append the lines of one value, together.

        Raises:
            EdgecnnError: The disk is full; what was appended before stays.
            BrokenPipeError: The reader of a pipe has closed it.
        """
        with self._lock:
            self._append(self._lines(value))

    def close(self) -> None:
        """Close the file; idempotent.

        Raises:
            EdgecnnError: The end of what was appended could not be written.
        """
        with self._lock:
            try:
                self._file.close()
            except BrokenPipeError:  # which write has raised
                pass
            except OSError as error:  # what could not be flushed
                raise EdgecnnError(f"cannot write {self._name}: {error.strerror}") from None

    def _open(self, header: str, existing: Existing) -> tuple[TextIO, str]:
        """The opened file, and what has to be written before the first lines."""
        if str(self.path) == STDOUT:
            # Not sys.stdout: its buffer would be flushed once more at exit, into a closed pipe.
            return os.fdopen(os.dup(1), "w", encoding="utf-8", newline=""), header
        if existing == "overwrite":
            return self.path.open("w", encoding="utf-8", newline=""), header
        if existing == "keep" or not self._begins_with(header):
            set_aside(self.path, empty=header)
        end = self._last_byte()
        # At its end, whoever else writes to it: "w" would write over the lines of another process.
        file = self.path.open("a", encoding="utf-8", newline="")
        if not end:
            return file, header
        return file, "" if end == b"\n" else "\n"

    def _begins_with(self, header: str) -> bool:
        if not self.path.is_file():
            return True
        with self.path.open("rb") as file:
            return file.read(len(header.encode())) in {b"", header.encode()}

    def _last_byte(self) -> bytes:
        """Of what stands in the file: a power cut may have torn its last line."""
        if not self.path.is_file() or not self.path.stat().st_size:
            return b""
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1)

    def _append(self, lines: str) -> None:
        try:
            self._file.write(lines)
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise EdgecnnError(
                f"cannot write {self._name}: {error.strerror}; what it has so far is kept"
            ) from None
