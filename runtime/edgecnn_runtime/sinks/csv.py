"""Results as the rows of a table."""

import csv
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgecnn_runtime.sinks.base import SinkKind
from edgecnn_runtime.sinks.serialize import frame_record, result_records
from edgecnn_runtime.sinks.text_file import TextFile
from edgecnn_runtime.types import FrameResult

COLUMNS = (
    "source", "index", "time", "captured", "age_ms", "label", "class", "score", "text",
    "x1", "y1", "x2", "y2", "points", "vector",
)  # fmt: skip
"""Columns of the table; a row fills the ones that its task has."""


class CsvTable:
    """Sink of one row per result, below a row of COLUMNS; may be shared by threads."""

    def __init__(self, path: Path) -> None:
        """Open the file and write the column names.

        Raises:
            EdgecnnError: It cannot be written.
        """
        self._file = TextFile(path)
        self._lock = threading.Lock()
        # One for all rows: each writer of this module allocates 131 kB.
        self._writer = csv.writer(_Echo(), lineterminator="\n")
        self._file.append(self._row(COLUMNS))

    def write(self, result: FrameResult, /) -> None:
        """Append one row per result.

        Raises:
            EdgecnnError: The disk is full; what was appended before stays.
        """
        if records := result_records(result):
            frame = frame_record(result)
            rows = ({**frame, **_flat(record)} for record in records)
            self._file.append("".join(self._row(map(row.get, COLUMNS)) for row in rows))

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


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """A record's values by column: the class number has its own, lists are numbers with spaces."""
    flat = {key: value for key, value in record.items() if key in COLUMNS}
    flat["class"] = record.get("index")
    flat.pop("index", None)
    flat |= dict(zip(("x1", "y1", "x2", "y2"), record.get("box", ()), strict=False))
    for key in ("points", "vector"):
        values = record.get(key, ())
        flat[key] = " ".join(
            str(number) for value in values for number in (value if key == "points" else (value,))
        )
    return flat


KIND = SinkKind(
    flag="csv",
    help="a table row for each result",
    open=lambda path, _: CsvTable(path),
    shared=True,
    summary_key="csv",
)
