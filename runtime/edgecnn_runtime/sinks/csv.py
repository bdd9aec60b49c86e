"""Results as the rows of a table."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecnn_runtime.sinks.base import SinkKind, StreamInfo
from edgecnn_runtime.sinks.escaping import table_cell
from edgecnn_runtime.sinks.existing import Existing
from edgecnn_runtime.sinks.serialize import frame_record, result_records
from edgecnn_runtime.sinks.text_file import TextFile
from edgecnn_runtime.tasks import TASKS
from edgecnn_runtime.types import Event, FrameResult

FRAME_COLUMNS = ("source", "file", "index", "time", "captured", "age_ms")
BOX_COLUMNS = ("x1", "y1", "x2", "y2")


def open_table(path: Path, *, existing: Existing = "keep") -> TextFile[FrameResult]:
    """Open a sink of one row per result, below the names of the columns.

    Args:
        path: The file; ``-`` for standard output.
        existing: What becomes of a file that stands there.

    Raises:
        EdgecnnError: The file cannot be written.
    """
    columns = table_columns()
    # One for all rows: each writer of this module allocates 131 kB.
    row = csv.writer(_Echo(), lineterminator="\n").writerow

    def lines(result: FrameResult) -> str:
        if not (records := result_records(result)):
            return ""
        frame = {name: table_cell(value) for name, value in frame_record(result).items()}
        rows = ({**frame, **_cells(record)} for record in records)
        return "".join(row(map(cells.get, columns)) for cells in rows)

    return TextFile(path, lines, header=row(columns), existing=existing)


class _Echo:
    """Hands a row back to whoever writes it."""

    def write(self, row: str) -> str:
        return row


def table_columns() -> tuple[str, ...]:
    """The columns of the frame, then those of every task; a row fills the ones its task has."""
    names = [name for task in TASKS.values() for name in task.columns]
    return tuple(dict.fromkeys((*FRAME_COLUMNS, *names)))


def _cells(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record's values by column: the class number has its own, lists are numbers with spaces."""
    cells = {**record, "class": record.get("index")}
    cells.pop("index", None)  # the frame's
    if "polygons" in cells:
        cells["polygons"] = ";".join(map(_flat, cells["polygons"]))
    cells |= zip(BOX_COLUMNS, cells.get("box", ()), strict=False)
    return {name: _flat(value) for name, value in cells.items()}


def _flat(value: Any) -> Any:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):  # of numbers
        return " ".join(str(_flat(part)) for part in value)
    return table_cell(value)


def open_events(path: Path, stream: StreamInfo) -> TextFile[Event]:
    """Open a table of one row per event, below the names of the columns."""
    from edgecnn_runtime.sinks.events.csv import event_row, header_row

    return TextFile(path, event_row, header=header_row(), existing=stream.existing)


KIND = SinkKind(
    flag="csv",
    help="a table row for each result, or for each event of a pipeline",
    open=lambda path, stream: open_table(path, existing=stream.existing),
    open_events=open_events,
    shared=True,
    stdout=True,
    summary_key="csv",
)
