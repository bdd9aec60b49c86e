"""The pictures of events: JPEG files, complete before the row that names them is written.

A crop shows what an event is about, and is stored as it is. The full frame shows what is around it:
a busy camera would fill a processor and a card with frames that are nearly the same, so their size
and their number may be limited.
"""

import logging
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeAlias

import cv2
import msgspec
import numpy as np

from edgecnn_runtime.types import Event, Pixels

FOLDER = "evidence"
QUALITY = 90
"""Of the JPEG files, 0..100."""
NAME = re.compile(rf"{FOLDER}/\d{{4}}/\d\d/\d\d/[0-9a-zA-Z_-]{{1,64}}-[a-z]{{1,16}}\.jpg")
"""What the names of evidence files look like; nothing else is read or removed."""

BURST = 10.0
"""Full frames that a camera may store at once, after it stored none for a while."""
RESERVED = 5.0
"""Those of them that are not spent on objects that have only just entered: what crosses a line says
more."""
ALWAYS = "recognized"
"""Events that have their frame in any case, since there is one for each object; they count, too."""

log = logging.getLogger(__name__)

Encoded: TypeAlias = dict[tuple[int, int | None], bytes | None]
"""JPEG files by the ``id`` of their pixels, which somebody holds, and their longest side at most;
None for what is no picture."""


class FrameLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How large, and how many, the full frames of events are.

    Attributes:
        size: Pixels of the longer side at most; larger frames are shrunk by a whole number. None
            for no limit.
        per_minute: Of each camera on average, in bursts of BURST, beside those of events that
            recognize an object; None for no limit.
    """

    size: int | None = None
    per_minute: float | None = None


class FrameBudget:
    """Says which events are stored with a full frame; any thread may call it."""

    def __init__(self, per_minute: float | None) -> None:
        """Every camera may store BURST frames now.

        Args:
            per_minute: As in ``FrameLimits``.
        """
        self._per_minute = per_minute
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}
        """Frames that a camera may store, and when that was so."""

    def allows(self, event: Event, now: float | None = None) -> bool:
        """Whether an event may have its full frame, which counts from then on.

        Args:
            event: What happened.
            now: Seconds on the monotonic clock; None for now.
        """
        if self._per_minute is None:
            return True
        now = time.monotonic() if now is None else now
        with self._lock:
            left, since = self._left.get(event.camera, (BURST, now))
            left = min(BURST, left + (now - since) * self._per_minute / 60)
            least = 1.0 + (RESERVED if event.type == "entered" else 0.0)
            allowed = event.type == ALWAYS or left >= least
            self._left[event.camera] = (max(0.0, left - allowed), now)
            return allowed


def write_evidence(
    folder: Path, event: Event, encoded: Encoded | None = None, *, frame_size: int | None = None
) -> tuple[dict[str, str], int]:
    """Write the pictures of an event.

    Args:
        folder: The outbox's.
        event: Its ``images`` are written, each to a file of its own.
        encoded: Shared by events that show the same frame, which then is encoded once.
        frame_size: Pixels of the full frame's longer side at most; None for no limit.

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
            key = id(pixels), frame_size if kind == "frame" else None
            if key not in encoded:
                encoded[key] = _encode(_shrunk(pixels, key[1]))
            data = encoded[key]
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


def _shrunk(pixels: Pixels, size: int | None) -> Pixels:
    """At most so long; by a whole number, for which the mean over each area costs least."""
    height, width = pixels.shape[:2]
    factor = -(-max(height, width) // size) if size else 1
    if factor == 1 or min(height, width) < factor:
        return pixels
    height, width = height // factor, width // factor
    whole = pixels[: height * factor, : width * factor]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA))


def _encode(pixels: Pixels) -> bytes | None:
    """A JPEG file; None for an array that is no picture, such as an empty one."""
    try:
        encoded, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    except cv2.error:
        return None
    return data.tobytes() if encoded else None
