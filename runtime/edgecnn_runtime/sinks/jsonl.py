"""Results as JSON lines; ``serialize`` documents their keys."""

from pathlib import Path

import msgspec

from edgecnn_runtime.sinks.base import SinkKind, StreamInfo
from edgecnn_runtime.sinks.escaping import escape_json
from edgecnn_runtime.sinks.serialize import frame_record, result_records
from edgecnn_runtime.sinks.text_file import TextFile
from edgecnn_runtime.types import Event, FrameResult


def json_line(result: FrameResult) -> str:
    """One JSON object with its line end; "" for a frame without results."""
    if not (records := result_records(result)):
        return ""
    text = msgspec.json.encode({**frame_record(result), "results": records}).decode()
    return escape_json(text) + "\n"


def open_events(path: Path, stream: StreamInfo) -> TextFile[Event]:
    """Open a file of one JSON line per event."""
    from edgecnn_runtime.sinks.events.jsonl import json_line as event_line

    return TextFile(path, event_line, existing=stream.existing)


KIND = SinkKind(
    flag="events",
    help="a JSON line for each frame with results, or for each event of a pipeline",
    open=lambda path, stream: TextFile(path, json_line, existing=stream.existing),
    open_events=open_events,
    shared=True,
    stdout=True,
    summary_key="events",
)
