"""A file of lines that is continued, never overwritten, and set aside by day and size."""

import os
import re
from datetime import datetime
from pathlib import Path

from edgecnn_runtime.errors import SinkDownError

TAIL = 1 << 20
"""Bytes at the end of a file that are searched for ids when it is opened."""


class RotatingFile:
    """Appends batches of lines, each whole or not at all; for one thread.

    ``events.jsonl`` is always the newest. The first batch of a day renames what stood there to
    ``events.2026-11-27.jsonl``, the day that it was last written, and so does one that would make
    it too large; a number follows the date where that name is taken.
    """

    def __init__(
        self, path: Path, *, header: str = "", daily: bool = True, size: int | None = None,
        files: int | None = None,
    ) -> None:  # fmt: skip
        """Write nothing yet.

        Args:
            path: The file.
            header: What each file begins with, with its line end.
            daily: Whether a day has files of its own, in local time.
            size: Bytes of a file at most, unless one batch has more.
            files: How many older files are left; None for all.
        """
        self.path = path
        self._header = header
        self._daily = daily
        self._size = size
        self._files = files

    def append(self, lines: str) -> None:
        """Append lines and flush them to the disk.

        Args:
            lines: With their line ends.

        Raises:
            SinkDownError: They cannot be written; the file is as it was.
        """
        try:
            self._append(lines.encode())
        except OSError as error:
            raise SinkDownError(f"{self.path}: {error.strerror}") from None

    def recent_ids(self) -> set[str]:
        """The ids of the last events of the file; empty where there is none."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
                return set(re.findall(r"\b[0-9a-f]{32}\b", file.read().decode("utf-8", "replace")))
        except OSError:
            return set()

    def _append(self, data: bytes) -> None:
        self._rotate(len(data))
        # Opened for each batch: whoever moves the file away, such as logrotate, need not tell us.
        file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            before = os.fstat(file).st_size
            if before == 0:
                data = self._header.encode() + data
            elif os.pread(file, 1, before - 1) != b"\n":  # a power cut tore its last line
                data = b"\n" + data
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(file, view) :]
                os.fdatasync(file)
            except OSError:
                os.ftruncate(file, before)
                raise
        finally:
            os.close(file)

    def _rotate(self, more: int) -> None:
        """Set the file aside where it is of another day, or would become too large."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return
        day = datetime.fromtimestamp(status.st_mtime).date()
        is_old = self._daily and day != datetime.now().date()
        is_large = self._size is not None and status.st_size + more > self._size
        if status.st_size == 0 or not (is_old or is_large):
            return
        # A number that was used before is not used again while a later one is there.
        numbers = [number for each, number, _ in self._set_aside() if each == str(day)]
        number = f".{max(numbers) + 1}" if numbers else ""
        self.path.rename(self.path.with_name(f"{self.path.stem}.{day}{number}{self.path.suffix}"))
        if self._files is not None:
            for _, _, old in self._set_aside()[: -self._files or None]:
                old.unlink(missing_ok=True)

    def _set_aside(self) -> list[tuple[str, int, Path]]:
        """Day, number and path of the files that were set aside, the oldest first."""
        name = re.escape(self.path.stem), re.escape(self.path.suffix)
        pattern = re.compile(rf"{name[0]}\.(\d{{4}}-\d\d-\d\d)(?:\.(\d+))?{name[1]}")
        files = [(pattern.fullmatch(each.name), each) for each in self.path.parent.iterdir()]
        return sorted((match[1], int(match[2] or 0), each) for match, each in files if match)
