"""What was read in pictures and clips, as a short table: where, what and how surely."""

import csv
import io
from pathlib import Path

from edgecnn_runtime.sinks.base import StreamInfo
from edgecnn_runtime.sinks.escaping import table_cell
from edgecnn_runtime.sinks.text_file import TextFile
from edgecnn_runtime.types import Event

COLUMNS = ("file", "x", "y", "w", "h", "text", "confidence")


def open_readings(path: Path, stream: StreamInfo) -> TextFile[Event]:
    """Open a table of one row per recognized event, below the names of the columns.

    Args:
        path: The file; ``-`` for standard output.
        stream: What is written.

    Raises:
        EdgecnnError: The file cannot be written.
    """
    return TextFile(path, reading_row, header=_row(COLUMNS), existing=stream.existing)


def reading_row(event: Event) -> str:
    """The row of an event, with its line end; empty for one that is not about a text.

    ``file`` is the picture, or the clip or camera; ``x``, ``y``, ``w``, ``h`` are the box in its
    pixels.
    """
    if event.type != "recognized" or event.box is None:
        return ""
    x1, y1, x2, y2 = event.box
    box = [round(float(value), 1) for value in (x1, y1, x2 - x1, y2 - y1)]
    file = str(event.details.get("file") or event.camera)
    name = file.encode("utf-8", "backslashreplace").decode()
    return _row([table_cell(name), *box, table_cell(event.text), round(event.score, 4)])


def _row(cells: "tuple[str, ...] | list[object]") -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
