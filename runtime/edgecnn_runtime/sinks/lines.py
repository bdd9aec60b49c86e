"""What was seen, as a JSON line or table rows; each is on disk before the next frame is looked at.

Both files are replaced when a run starts, may be followed while it goes on (``tail -f``), and keep
what they have if it is killed. Several sources may share one.
"""

import csv
import io
import threading
from pathlib import Path
from typing import Any, TextIO

import msgspec

from edgecnn_runtime.errors import EdgecnnError, UsageError
from edgecnn_runtime.sinks.serialize import frame_record, result_records
from edgecnn_runtime.types import FrameResult

COLUMNS = (
    "source", "index", "time", "captured", "age_ms", "label", "class", "score", "text",
    "x1", "y1", "x2", "y2", "points", "vector",
)  # fmt: skip


class _Lines:
    """A text file that lines are added to, whole, by any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._file: TextIO = path.open("w", encoding="utf-8", newline="", buffering=1)
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from None

    def write_text(self, text: str) -> None:
        """Add whole lines at once."""
        with self._lock:
            try:
                self._file.write(text)
                self._file.flush()
            except OSError as error:
                raise EdgecnnError(
                    f"cannot write {self.path}: {error.strerror}; what it has so far is kept"
                ) from None

    def close(self) -> None:
        """Close the file; idempotent."""
        with self._lock:
            try:
                self._file.close()
            except OSError as error:  # what could not be flushed
                raise EdgecnnError(f"cannot write {self.path}: {error.strerror}") from None


class JsonLines:
    """Writer of one JSON object a frame that shows something; see ``serialize`` for its keys."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError where the file cannot be written."""
        self._lines = _Lines(path)

    def write(self, seen: FrameResult) -> None:
        """Add a line, unless nothing was found. Raises EdgecnnError (disk full)."""
        if found := result_records(seen):
            line = msgspec.json.encode({**frame_record(seen), "results": found})
            self._lines.write_text(line.decode() + "\n")

    def close(self) -> None:
        """Close the file; idempotent."""
        self._lines.close()


class CsvTable:
    """Writer of one row a result: COLUMNS, the ones its task has filled."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError where the file cannot be written."""
        self._lines = _Lines(path)
        self._lines.write_text(",".join(COLUMNS) + "\n")

    def write(self, seen: FrameResult) -> None:
        """Add a row a result. Raises EdgecnnError (disk full)."""
        if found := result_records(seen):
            where = frame_record(seen)
            self._lines.write_text("".join(_row({**where, **_flat(one)}) for one in found))

    def close(self) -> None:
        """Close the file; idempotent."""
        self._lines.close()


def _flat(result: dict[str, Any]) -> dict[str, Any]:
    flat = {key: value for key, value in result.items() if key in COLUMNS}
    flat["class"] = result.get("index")
    flat.pop("index", None)
    flat |= dict(zip(("x1", "y1", "x2", "y2"), result.get("box", ()), strict=False))
    for key in ("points", "vector"):
        values = result.get(key, ())
        flat[key] = " ".join(
            str(number) for value in values for number in (value if key == "points" else (value,))
        )
    return flat


def _row(values: dict[str, Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([values.get(column) for column in COLUMNS])
    return text.getvalue()
