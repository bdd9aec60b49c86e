"""Events as rows of a table."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import msgspec

from edgecnn_runtime.sinks.escaping import escape_json, table_cell
from edgecnn_runtime.sinks.events.base import EventSinkKind, output_path
from edgecnn_runtime.sinks.events.event_file import EventFile, FileSettings
from edgecnn_runtime.sinks.serialize import event_record
from edgecnn_runtime.types import Event

COLUMNS = (
    "id", "time", "type", "camera", "track", "label", "text", "name", "score", "zone", "line",
    "direction", "seconds", "x1", "y1", "x2", "y2", "crop", "frame", "model", "details",
)  # fmt: skip


class CsvSettings(FileSettings, frozen=True, kw_only=True, tag_field="kind", tag="csv"):
    """Settings of a table of events."""


def event_row(event: Event) -> str:
    """The row of an event, with its line end; its cells are those of COLUMNS."""
    record: dict[str, Any] = event_record(event)
    details = escape_json(msgspec.json.encode(event.details).decode()) if event.details else ""
    cells = {**record, **event.evidence, "details": details}
    cells |= zip(("x1", "y1", "x2", "y2"), record.get("box") or (), strict=False)
    return _row([table_cell(cells.get(column)) for column in COLUMNS])


def header_row() -> str:
    """The names of the columns, with their line end."""
    return _row(COLUMNS)


def _row(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


KIND = EventSinkKind(
    settings=CsvSettings,
    open=lambda settings, context: EventFile(
        output_path(settings.file, "file", context), settings, event_row, header_row()
    ),
)
