"""Results and events as plain values, for a JSON line or table rows.

A JSON line of a result:

    {"source": "rtsp://cam/1", "file": null, "index": 812, "time": 32.48,
     "captured": "2026-11-22T08:14:05.123Z", "age_ms": 63.1, "results": [{"label": "face",
     "index": 0, "score": 0.9312, "box": [512.1, 300.0, 571.8, 380.4],
     "points": [[520.0, 331.2], …]}]}

file: path of the picture, null for a video or a stream. time: seconds since the stream's start,
null without time stamps. captured: UTC, and age_ms, for live sources only. The keys of a result
are its task's own: see ``serialize`` of each in ``tasks``.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import msgspec

from edgecnn_runtime.errors import ConfigError
from edgecnn_runtime.tasks import TASKS
from edgecnn_runtime.types import Box, Event, Frame, FrameResult

EventRecord: Any = msgspec.defstruct(
    "EventRecord",
    [
        (field.name, str if field.name == "time" else field.type)
        for field in msgspec.structs.fields(Event)
        if field.name not in {"images", "boxes"}
    ],
    frozen=True,
    kw_only=True,
)
"""An event as a JSON object: the schema of what ``event_record`` makes. Every key is there."""


def result_records(result: FrameResult) -> Sequence[Mapping[str, object]]:
    """One record per object, class, text or vector; empty where the frame shows none."""
    return TASKS[result.task].serialize(result.result)


def frame_record(result: FrameResult) -> dict[str, Any]:
    """Source, number and time of a frame."""
    frame = result.frame
    live = result.age is not None
    return {
        "source": frame.source,
        # a source's name is text already; what UTF-8 cannot hold of a file's is escaped likewise
        "file": frame.file.encode("utf-8", "backslashreplace").decode() or None,
        "index": frame.index,
        "time": None if frame.pts is None else round(frame.pts, 3),
        "captured": wall_clock(frame) if live else None,
        "age_ms": None if result.age is None else round(1000 * result.age, 1),
    }


def wall_clock(frame: Frame) -> str:
    """When the frame was taken, as ISO 8601 in UTC with milliseconds."""
    return utc(wall_time(frame.captured))


def wall_time(moment: float) -> float:
    """A time on the monotonic clock as seconds since 1970."""
    return time.time() - (time.monotonic() - moment)


def event_record(event: Event) -> dict[str, Any]:
    """An event as plain JSON values under the names of its fields, without its pixels.

    The keys are the same for every event. ``time`` is ISO 8601 in UTC with milliseconds; scores
    have four digits behind the point, pixels and ages three, relative boxes six.
    """
    return {
        "id": event.id,
        "type": event.type,
        "camera": event.camera,
        "time": utc(event.time),
        "age": None if event.age is None else round(event.age, 3),
        "track": event.track,
        "label": event.label,
        "text": event.text,
        "name": event.name,
        "score": round(event.score, 4),
        "part_scores": [round(score, 4) for score in event.part_scores],
        "box": _rounded(event.box, 3),
        "relative_box": _rounded(event.relative_box, 6),
        "zone": event.zone,
        "line": event.line,
        "direction": event.direction,
        "seconds": round(event.seconds, 3),
        "model": event.model,
        "choice": event.choice,
        "evidence": dict(event.evidence),
        "details": dict(event.details),
    }


def read_event(line: str | bytes) -> Event:
    """The event of a JSON object that ``event_record`` made; it has no images.

    Raises:
        ConfigError: It is not one.
    """
    try:
        record = msgspec.json.decode(line, type=EventRecord)
        moment = datetime.fromisoformat(record.time.replace("Z", "+00:00")).timestamp()
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ConfigError(f"not an event: {error}") from None
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    return Event(**{**fields, "time": moment})


def utc(seconds: float) -> str:
    """A time in seconds since 1970 as ISO 8601 in UTC with milliseconds."""
    stamp = datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
    return stamp.replace("+00:00", "Z")


def event_text(event: Event) -> str:
    """An event in words: ``recognized KA·1234, 93 %, 4 votes``."""
    answer = event.name or event.text
    who = answer or event.label
    if event.track is not None and not (event.type == "recognized" and answer):
        who = f"{who} #{event.track}".strip()
    parts = [f"{event.type} {who}".strip()]
    if event.type == "crossed":
        parts = [f"crossed {event.line} {event.direction}".strip(), who]
    elif event.type in {"entered", "recognized"}:
        parts.append(f"{100 * event.score:.0f} %")
    elif event.type in {"present", "left"}:
        parts.append(f"{event.seconds:.1f} s")
    if event.type == "recognized":
        votes = event.details.get("votes", 1)
        parts.append("1 vote" if votes == 1 else f"{votes} votes")
    return ", ".join([*parts, f"in {event.zone}"] if event.zone else parts)


def _rounded(box: Box | None, digits: int) -> list[float] | None:
    return None if box is None else [round(float(value), digits) for value in box]
