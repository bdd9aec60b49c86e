"""Sinks that write a file of lines: what JSON lines and tables share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from edgecnn_runtime.sinks.events.base import SinkSettings, Size, size_in_bytes
from edgecnn_runtime.sinks.events.rotating_file import RotatingFile
from edgecnn_runtime.types import Event


class FileSettings(SinkSettings, frozen=True, kw_only=True):
    """Settings of a file of lines.

    Attributes:
        file: The file, relative to the folder of site.yaml.
        daily: Whether each day has a file of its own, in local time.
        max_size: A file that would become larger is set aside.
        files: How many older files are left; all where it is not given.
    """

    file: str
    daily: bool = True
    max_size: Size = "100MB"
    files: Annotated[int, Meta(ge=0)] | None = None


class EventFile:
    """Event sink that appends lines; an event that the end of the file has is not written again."""

    def __init__(
        self, path: Path, settings: FileSettings, line: Callable[[Event], str], header: str = ""
    ) -> None:
        """Write nothing yet.

        Args:
            path: The file.
            settings: How it is rotated.
            line: The line of an event, with its line end.
            header: What each file begins with, with its line end.
        """
        self._line = line
        self._file = RotatingFile(
            path, header=header, daily=settings.daily, size=size_in_bytes(settings.max_size),
            files=settings.files,
        )  # fmt: skip
        self._recent: set[str] = set()

    def start(self) -> None:
        """See which events a process that was killed has written, but not noted."""
        self._recent = self._file.recent_ids()

    def deliver(self, events: Sequence[Event], /) -> None:
        """Append the lines of events that are not in the file.

        Raises:
            SinkDownError: They cannot be written; none of them was.
        """
        if lines := "".join(self._line(event) for event in events if event.id not in self._recent):
            self._file.append(lines)
            self._recent = set()  # events come in order: what follows is new

    def close(self) -> None:
        """Nothing is held open."""
