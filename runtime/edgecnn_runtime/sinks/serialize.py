"""Results as plain values, for a JSON line or table rows.

A JSON line:

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

from edgecnn_runtime.tasks import TASKS
from edgecnn_runtime.types import Frame, FrameResult


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
    captured = time.time() - (time.monotonic() - frame.captured)
    stamp = datetime.fromtimestamp(captured, timezone.utc).isoformat(timespec="milliseconds")
    return stamp.replace("+00:00", "Z")
