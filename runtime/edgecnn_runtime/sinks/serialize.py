"""Results as plain values, for a JSON line or table rows.

A JSON line:

    {"source": "rtsp://cam/1", "index": 812, "time": 32.48, "captured": "2026-11-22T08:14:05.123Z",
     "age_ms": 63.1, "results": [{"label": "face", "index": 0, "score": 0.9312,
     "box": [512.1, 300.0, 571.8, 380.4], "points": [[520.0, 331.2], …]}]}

time: seconds since the stream's start, null without time stamps. captured: UTC, and age_ms, for
live sources only. A result has, by task, label, index and score (classify), these with box and
points in frame pixels (detect), text, score and char_scores (ocr), or vector (embed).
"""

import time
from datetime import datetime, timezone
from typing import Any

from edgecnn_runtime.types import Classification, Detection, Embedding, Frame, FrameResult, Reading


def result_records(result: FrameResult) -> list[dict[str, Any]]:
    """One record per object, class, text or vector; empty where the frame shows none."""
    if isinstance(result.result, list):
        return [_detection(detection) for detection in result.result]
    if isinstance(result.result, Reading) and not result.result.text:
        return []
    return [_single(result.result)]


def frame_record(result: FrameResult) -> dict[str, Any]:
    """Source, number and time of a frame."""
    frame = result.frame
    live = result.age is not None
    return {
        "source": frame.source,
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


def _detection(detection: Detection) -> dict[str, Any]:
    return {
        "label": detection.label,
        "index": detection.index,
        "score": round(detection.score, 4),
        "box": [round(float(value), 1) for value in detection.box],
        "points": [[round(float(x), 1), round(float(y), 1)] for x, y in detection.points],
    }


def _single(result: Classification | Reading | Embedding) -> dict[str, Any]:
    if isinstance(result, Classification):
        return {"label": result.label, "index": result.index, "score": round(result.score, 4)}
    if isinstance(result, Reading):
        scores = [round(score, 4) for score in result.char_scores]
        return {"text": result.text, "score": round(result.score, 4), "char_scores": scores}
    return {"vector": [round(float(value), 6) for value in result.vector]}
