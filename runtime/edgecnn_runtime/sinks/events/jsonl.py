"""Events as JSON lines."""

import msgspec

from edgecnn_runtime.sinks.escaping import escape_json
from edgecnn_runtime.sinks.events.base import EventSinkKind, output_path
from edgecnn_runtime.sinks.events.event_file import EventFile, FileSettings
from edgecnn_runtime.sinks.serialize import event_record
from edgecnn_runtime.types import Event


class JsonlSettings(FileSettings, frozen=True, kw_only=True, tag_field="kind", tag="jsonl"):
    """Settings of a file of JSON lines; ``serialize`` documents their keys."""


def json_line(event: Event) -> str:
    """One JSON object with its line end."""
    return escape_json(msgspec.json.encode(event_record(event)).decode()) + "\n"


KIND = EventSinkKind(
    settings=JsonlSettings,
    open=lambda settings, context: EventFile(
        output_path(settings.file, "file", context), settings, json_line
    ),
)
