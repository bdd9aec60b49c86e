"""Results as the rows of a table."""

import csv
import io
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
        self._file.append(",".join(COLUMNS) + "\n")

    def write(self, result: FrameResult, /) -> None:
        """Append one row per result.

        Raises:
            EdgecnnError: The disk is full; what was appended before stays.
        """
        if records := result_records(result):
            frame = frame_record(result)
            self._file.append("".join(_row({**frame, **_flat(record)}) for record in records))

    def close(self) -> None:
        """Close the file; idempotent."""
        self._file.close()


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


def _row(values: dict[str, Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([values.get(column) for column in COLUMNS])
    return text.getvalue()


KIND = SinkKind(
    flag="csv",
    help="a table row for each result",
    open=lambda path, _: CsvTable(path),
    shared=True,
    summary_key="csv",
)
