"""Tables of labels: the rows of a ``.csv``, ``.tsv`` or ``.jsonl``, by the names of their columns.

The case of column names does not matter, nor do spaces around the cells of a ``.csv`` or ``.tsv``.
What is wrong is refused with the line it is in.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from edgecnn_runtime.errors import UsageError

FLAG = "--eval-data"
JSON = frozenset([".jsonl", ".ndjson", ".json"])
SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons"}
COLUMNS = ("file", "label", "text", "x", "y", "w", "h")
"""Those that mean something; a table may have others."""
NAMED = 12
LENGTH = 40


@dataclass(frozen=True)
class SourceLocation:
    """Where something is written. line: in the file, from 1; 0 for all of it."""

    path: Path
    line: int = 0

    def wrong(self, what: str) -> UsageError:
        """What is wrong there."""
        where = f": {self.path}:{self.line}" if self.line else f" {self.path}"
        return UsageError(f"{FLAG}{where}: {what}")


@dataclass(frozen=True)
class LabelRow:
    """cells: by column, in lower case; "" for an empty one."""

    place: SourceLocation
    cells: Mapping[str, str]

    def wrong(self, what: str) -> UsageError:
        """What is wrong in this row."""
        return self.place.wrong(what)


def read_table(path: Path, needed: Sequence[str]) -> list[LabelRow]:
    """The rows of a table, at least one, each with a ``file`` and a cell for every needed column.

    A row of a ``.jsonl`` may have ``file`` alone; its other cells are empty.
    Raises UsageError for what is no table, a column that is missing and a row without ``file``.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceLocation(path).wrong(
            f"cannot be read as text, save it as UTF-8: {error}"
        ) from None
    if path.suffix.lower() in JSON:
        rows = list(_json_rows(path, text, needed))
    else:
        rows = list(_split_rows(path, text, needed))
    for row in rows:
        if not row.cells["file"]:
            raise row.wrong("no `file` in this row; it has to name a picture")
    return rows


def truncate_text(text: str) -> str:
    """Text as a message can show it: on one line, not too long."""
    line = " ".join(text.split())
    return line if len(line) <= LENGTH else f"{line[:LENGTH]}…"


def _split_rows(path: Path, text: str, needed: Sequence[str]) -> Iterator[LabelRow]:
    separator = "," if path.suffix.lower() == ".csv" else "\t"
    lines = _split(path, text, separator)
    first, header = next(lines, (SourceLocation(path), []))
    if not header:
        raise _empty(path, needed)
    columns = [name.lower() for name in header]
    _check_header(first, columns, needed, separator)
    count = 0
    for count, (place, cells) in enumerate(lines, 1):  # noqa: B007  (asked for after the loop)
        if any(cells[len(columns) :]):
            raise place.wrong(
                f"{len(cells)} cells, but the header has {len(columns)}; "
                f"put quotes around a cell that has {SEPARATORS[separator]} in it"
            )
        yield LabelRow(place, dict(zip_longest(columns, cells[: len(columns)], fillvalue="")))
    if not count:
        raise first.wrong("a header and no row below it; write one for each labeled picture")


def _split(path: Path, text: str, separator: str) -> Iterator[tuple[SourceLocation, list[str]]]:
    """Rows that are not blank, and where each begins: a cell in quotes may hold several lines."""
    reader = csv.reader(
        io.StringIO(text),
        delimiter=separator,
        skipinitialspace=True,  # `a.jpg, "x, y"` means what it says
        strict=True,  # a quote that is never closed would swallow the rows after it
    )
    start = 1
    try:
        for row in reader:
            place, start = SourceLocation(path, start), reader.line_num + 1
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield place, cells
    except csv.Error as error:
        raise SourceLocation(path, start).wrong(
            f'no row of a table: {error}; a cell is "in quotes", or begins with none'
        ) from None


def _json_rows(path: Path, text: str, needed: Sequence[str]) -> Iterator[LabelRow]:
    if not text.strip():
        raise _empty(path, needed)
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        place = SourceLocation(path, number)
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise place.wrong('not one JSON object a line, {"file": …}')
        columns = [key.strip().lower() for key in row]
        _check_once(place, columns)
        if columns != ["file"]:
            _check_columns(place, columns, needed, "row")
        cells = dict(zip(columns, row.values(), strict=True))
        for name in COLUMNS:
            if isinstance(cells.get(name), list | dict):
                raise place.wrong(f"`{name}` is no text and no number")
        values = {name: "" if value is None else str(value) for name, value in cells.items()}
        yield LabelRow(place, {**dict.fromkeys(needed, ""), **values})


def _check_header(
    place: SourceLocation, columns: Sequence[str], needed: Sequence[str], separator: str
) -> None:
    if len(columns) == 1 and any(mark in columns[0] for mark in SEPARATORS):
        mark = SEPARATORS[separator]
        other = ".csv with commas" if separator == "\t" else ".tsv with tabs"
        raise place.wrong(
            f"{place.path.name} is split at {mark} and its header has none: "
            f"{truncate_text(columns[0])}; save it with {mark}, or as {other}"
        )
    _check_columns(place, columns, needed, "header")
    _check_once(place, columns)


def _check_columns(
    place: SourceLocation, columns: Sequence[str], needed: Sequence[str], line: str
) -> None:
    missing = [f"`{name}`" for name in needed if name not in columns]
    if missing:
        noun = {"row": "", "header": " columns" if len(missing) > 1 else " column"}[line]
        named = ", ".join(truncate_text(name) for name in columns[:NAMED]) or "nothing"
        more = " …" if len(columns) > NAMED else ""
        raise place.wrong(
            f"no {', '.join(missing)}{noun}; the {line} has {named}{more}; "
            f"needed are {', '.join(needed)}"
        )


def _check_once(place: SourceLocation, columns: Sequence[str]) -> None:
    for name in COLUMNS:
        if columns.count(name) > 1:
            raise place.wrong(f"`{name}` is there twice; rename or remove one")


def _empty(path: Path, needed: Sequence[str]) -> UsageError:
    return SourceLocation(path).wrong(f"is empty; it needs a table with {', '.join(needed)}")
