"""The pictures of events, copied into a folder that people look into."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from edgecnn_runtime.errors import SinkDownError
from edgecnn_runtime.sinks.events.base import (
    Days,
    EventSinkKind,
    SinkContext,
    SinkSettings,
    Size,
    file_name,
    output_path,
    size_in_bytes,
)
from edgecnn_runtime.sinks.events.folder_limits import FolderLimits
from edgecnn_runtime.types import Event


class SnapshotSettings(SinkSettings, frozen=True, kw_only=True, tag_field="kind", tag="snapshots"):
    """Settings of a folder of pictures.

    Attributes:
        folder: Relative to the folder of site.yaml; made where there is none.
        pictures: Which pictures of an event.
        days: Older files are removed; never where it is not given.
        max_size: Of all files together; the oldest are removed.
    """

    folder: str
    pictures: tuple[Literal["crop", "frame"], ...] = ("crop", "frame")
    days: Days | None = None
    max_size: Size = "2GB"


class Snapshots:
    """Event sink that copies evidence to ``CAMERA/DATE/TIME-TYPE-TEXT-ID-PICTURE.jpg`` (UTC)."""

    def __init__(self, settings: SnapshotSettings, context: SinkContext) -> None:
        self._folder = output_path(settings.folder, "folder", context)
        self._outbox = context.outbox
        self._pictures = settings.pictures
        self._limits = FolderLimits(
            self._folder, days=settings.days, size=size_in_bytes(settings.max_size), suffix=".jpg"
        )

    def start(self) -> None:
        """Nothing takes time."""

    def deliver(self, events: Sequence[Event], /) -> None:
        """Copy the pictures; one that the outbox has no more is left out.

        Raises:
            SinkDownError: The folder cannot be written.
        """
        for event in events:
            for kind in self._pictures:
                if source := event.evidence.get(kind):
                    self._copy(self._outbox / source, self._folder / snapshot_name(event, kind))
        self._limits.apply()

    def close(self) -> None:
        """Nothing is held open."""

    def _copy(self, source: Path, target: Path) -> None:
        try:
            copy_picture(source, target)
        except OSError as error:
            raise SinkDownError(f"{target}: {error.strerror}") from None


def copy_picture(source: Path, target: Path) -> bool:
    """Copy a picture of an event; what stands there under its name is replaced.

    Args:
        source: Of the outbox, which may have removed it.
        target: Whole, or not there.

    Returns:
        Whether there was a picture.

    Raises:
        OSError: The target cannot be written; it is as it was.
    """
    if not source.is_file():
        return False
    scratch = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, scratch)
        scratch.replace(target)
    finally:
        with suppress(OSError):
            scratch.unlink()
    return True


def snapshot_name(event: Event, kind: str) -> Path:
    """Where the picture of an event is copied to."""
    at = datetime.fromtimestamp(event.time, timezone.utc)
    words = [f"{at:%H-%M-%S}", event.type]
    words += [file_name(text) for text in (event.text or event.name or event.label,) if text]
    name = "-".join([*words, event.id[-12:], kind])
    return Path(file_name(event.camera)) / f"{at:%Y-%m-%d}" / f"{name}.jpg"


KIND = EventSinkKind(settings=SnapshotSettings, open=Snapshots)
