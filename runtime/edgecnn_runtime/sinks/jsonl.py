"""Results as JSON lines; ``serialize`` documents their keys."""

import msgspec

from edgecnn_runtime.sinks.base import SinkKind
from edgecnn_runtime.sinks.serialize import frame_record, result_records
from edgecnn_runtime.sinks.text_file import TextFile
from edgecnn_runtime.types import FrameResult


def json_line(result: FrameResult) -> str:
    """One JSON object with its line end; "" for a frame without results."""
    if not (records := result_records(result)):
        return ""
    return msgspec.json.encode({**frame_record(result), "results": records}).decode() + "\n"


KIND = SinkKind(
    flag="events",
    help="a JSON line for each frame with results",
    open=lambda path, stream: TextFile(path, json_line, existing=stream.existing),
    shared=True,
    stdout=True,
    summary_key="events",
)
