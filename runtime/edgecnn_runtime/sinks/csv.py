"""Results as the rows of a table."""

import csv
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edgecnn_runtime.sinks.base import SinkKind
from edgecnn_runtime.sinks.serialize import frame_record, result_records
from edgecnn_runtime.sinks.text_file import TextFile
from edgecnn_runtime.tasks import TASKS
from edgecnn_runtime.types import FrameResult

FRAME_COLUMNS = ("source", "index", "time", "captured", "age_ms")
BOX_COLUMNS = ("x1", "y1", "x2", "y2")


class CsvTable:
    """Sink of one row per result, below the names of the columns; may be shared by threads."""

    def __init__(self, path: Path) -> None:
        """Open the file and write the column names.

        Raises:
            EdgecnnError: It cannot be written.
        """
        self._file = TextFile(path)
        self._lock = threading.Lock()
        # One for all rows: each writer of this module allocates 131 kB.
        self._writer = csv.writer(_Echo(), lineterminator="\n")
        self._columns = table_columns()
        self._file.append(self._row(self._columns))

    def write(self, result: FrameResult, /) -> None:
        """Append one row per result.

        Raises:
            EdgecnnError: The disk is full; what was appended before stays.
        """
        if records := result_records(result):
            frame = frame_record(result)
            rows = ({**frame, **_cells(record)} for record in records)
            self._file.append("".join(self._row(map(row.get, self._columns)) for row in rows))

    def close(self) -> None:
        """Close the file; idempotent."""
        self._file.close()

    def _row(self, values: Iterable[object]) -> str:
        with self._lock:
            return str(self._writer.writerow(values))


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
    cells |= zip(BOX_COLUMNS, cells.get("box", ()), strict=False)
    return {name: _flat(value) for name, value in cells.items()}


def _flat(value: Any) -> Any:
    return " ".join(str(_flat(part)) for part in value) if isinstance(value, list) else value


KIND = SinkKind(
    flag="csv",
    help="a table row for each result",
    open=lambda path, _: CsvTable(path),
    shared=True,
    summary_key="csv",
)
