"""A folder of files that does not grow without end: the oldest files go first."""

import time
from contextlib import suppress
from pathlib import Path

INTERVAL = 600.0
"""Seconds between two looks at the folder."""


class FolderLimits:
    """Removes what is too old or too much of a folder; for one thread."""

    def __init__(self, folder: Path, *, days: float | None, size: int, suffix: str) -> None:
        """Remove nothing yet.

        Args:
            folder: May be absent.
            days: Older files are removed; None for never.
            size: Bytes of all files together, at most.
            suffix: Only files with this ending are counted and removed.
        """
        self._folder = folder
        self._days = days
        self._size = size
        self._suffix = suffix
        self._next = 0.0

    def apply(self) -> None:
        """Remove what has to go, if the last look was INTERVAL seconds ago."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + INTERVAL
        files = []
        for path in self._folder.rglob(f"*{self._suffix}"):
            with suppress(OSError):
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in files)
        limit = 0.0 if self._days is None else time.time() - 86400 * self._days
        for modified, size, path in sorted(files):
            if total <= self._size and modified >= limit:
                break
            total -= size
            with suppress(OSError):
                path.unlink()
                path.parent.rmdir()  # fails where there is more
