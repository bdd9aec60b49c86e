"""The pictures of events: JPEG files, complete before the row that names them is written."""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeAlias

import cv2

from edgecnn_runtime.types import Event, Pixels

FOLDER = "evidence"
QUALITY = 90
"""Of the JPEG files, 0..100."""
NAME = re.compile(rf"{FOLDER}/\d{{4}}/\d\d/\d\d/[0-9a-zA-Z_-]{{1,64}}-[a-z]{{1,16}}\.jpg")
"""What the names of evidence files look like; nothing else is read or removed."""

log = logging.getLogger(__name__)


Encoded: TypeAlias = dict[int, bytes | None]
"""JPEG files by the ``id`` of their pixels, which somebody holds; None for what is no picture."""


def write_evidence(
    folder: Path, event: Event, encoded: Encoded | None = None
) -> tuple[dict[str, str], int]:
    """Write the pictures of an event.

    Args:
        folder: The outbox's.
        event: Its ``images`` are written, each to a file of its own.
        encoded: Shared by events that show the same frame, which then is encoded once.

    Returns:
        The names of the files by what they show, relative to ``folder``, and their size in bytes.

    Raises:
        OSError: A file cannot be written; none of this event is left.
    """
    day = datetime.fromtimestamp(event.time, timezone.utc)
    names: dict[str, str] = {}
    size = 0
    encoded = {} if encoded is None else encoded
    try:
        for kind, pixels in event.images.items():
            name = f"{FOLDER}/{day:%Y/%m/%d}/{event.id}-{kind}.jpg"
            if id(pixels) not in encoded:
                encoded[id(pixels)] = _encode(pixels)
            data = encoded[id(pixels)]
            if data is None or not NAME.fullmatch(name):
                log.warning("the %s of event %s is not a picture that can be kept", kind, event.id)
                continue
            path = folder / name
            (folder / FOLDER).mkdir(mode=0o700, exist_ok=True)  # who may not enter sees nothing
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch = path.with_name(f".{path.name}.part")
            try:
                scratch.write_bytes(data)
                scratch.replace(path)
            finally:
                scratch.unlink(missing_ok=True)
            names[kind] = name
            size += len(data)
    except OSError:
        remove_evidence(folder, names)
        raise
    return names, size


def evidence_path(folder: Path, name: str) -> Path | None:
    """The file of a name in ``Event.evidence``; None where there is none, or nothing in it.

    After a power cut, a picture of the last half minute may be empty.
    """
    path = folder / name
    try:
        whole = NAME.fullmatch(name) and path.stat().st_size > 0 and not path.is_symlink()
    except OSError:
        return None
    return path if whole else None


def remove_evidence(folder: Path, names: Mapping[str, str]) -> None:
    """Remove the files of an event, and the folder of a day that has no more of them."""
    for name in names.values():
        if NAME.fullmatch(name):
            path = folder / name
            with suppress(OSError):
                path.unlink(missing_ok=True)
                for parent in path.parents[:3]:
                    parent.rmdir()  # fails, and ends this, where there is more


def recent_files(folder: Path, since: float) -> Iterator[Path]:
    """Files of the day of ``since`` and later, those included that were never completed."""
    first = f"{datetime.fromtimestamp(since, timezone.utc):%Y/%m/%d}"
    for day in sorted((folder / FOLDER).glob("*/*/*")):
        if day.relative_to(folder / FOLDER).as_posix() >= first and day.is_dir():
            yield from day.iterdir()


def _encode(pixels: Pixels) -> bytes | None:
    """A JPEG file; None for an array that is no picture, such as an empty one."""
    try:
        encoded, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    except cv2.error:
        return None
    return data.tobytes() if encoded else None
