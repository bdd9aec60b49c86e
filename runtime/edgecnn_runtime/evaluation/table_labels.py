"""The rows of a table of labels, ``.csv``, ``.tsv`` or ``.jsonl``, by the names of its columns.

The case of column names does not matter, nor do spaces around the cells of a ``.csv`` or ``.tsv``.
An error names the line it is in.
"""

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from edgecnn_runtime.evaluation.dataset import SourceLocation, truncate_text

JSON = frozenset([".jsonl", ".ndjson", ".json"])
SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons"}
LISTS = ("points", "corners", "polygon")
"""Columns that hold several numbers, in JSON a list of them."""
COLUMNS = ("file", "label", "text", "x", "y", "w", "h", "mask", *LISTS)
"""The columns that mean something; a table may have others."""
MAX_COLUMNS = 12
"""Column names that a message lists."""


@dataclass(frozen=True)
class LabelRow:
    """One row.

    Attributes:
        place: Where it begins.
        cells: By column, in lower case; "" for an empty one.
    """

    place: SourceLocation
    cells: Mapping[str, str]

    @property
    def file(self) -> Path:
        """The image it is about."""
        return self.path("file")

    def path(self, column: str) -> Path:
        """The file that a cell names; a relative name starts at the table's folder."""
        return Path(os.path.normpath(self.place.path.parent / self.cells[column]))


def read_table(source: SourceLocation, needed: Sequence[str]) -> list[LabelRow]:
    """Read a table that has a ``file`` in each row.

    Args:
        source: The table.
        needed: Its columns, ``file`` among them. A row of a ``.jsonl`` may have ``file`` alone;
            its other cells are then empty.

    Returns:
        The rows, at least one.

    Raises:
        UsageError: It is not a table, lacks a column, or has a row without ``file``.
    """
    try:
        text = source.path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise source.error(f"cannot be read as text, save it as UTF-8: {error}") from None
    if not text.strip():
        raise source.error(f"is empty; it needs a table with {', '.join(needed)}")
    read = _json_rows if source.path.suffix.lower() in JSON else _split_rows
    rows = list(read(source, text, needed))
    for row in rows:
        if not row.cells["file"]:
            raise row.place.error("no `file` in this row; it has to name a picture")
    return rows


def _split_rows(source: SourceLocation, text: str, needed: Sequence[str]) -> Iterator[LabelRow]:
    separator = "," if source.path.suffix.lower() == ".csv" else "\t"
    lines = _split(source, text, separator)
    first, header = next(lines, (source, []))
    columns = [name.lower() for name in header]
    _check_header(first, columns, needed, separator)
    count = 0
    for count, (place, cells) in enumerate(lines, 1):  # noqa: B007  (asked for after the loop)
        if any(cells[len(columns) :]):
            raise place.error(
                f"{len(cells)} cells, but the header has {len(columns)}; "
                f"put quotes around a cell that has {SEPARATORS[separator]} in it"
            )
        yield LabelRow(place, dict(zip_longest(columns, cells[: len(columns)], fillvalue="")))
    if not count:
        raise first.error("a header and no row below it; write one for each labeled picture")


def _split(
    source: SourceLocation, text: str, separator: str
) -> Iterator[tuple[SourceLocation, list[str]]]:
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
            place, start = source.at(start), reader.line_num + 1
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield place, cells
    except csv.Error as error:
        raise source.at(start).error(
            f'not a row of a table: {error}; a cell is "in quotes", or begins without one'
        ) from None


def _json_rows(source: SourceLocation, text: str, needed: Sequence[str]) -> Iterator[LabelRow]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        place = source.at(number)
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise place.error('not one JSON object per line, {"file": …}')
        columns = [key.strip().lower() for key in row]
        _check_once(place, columns)
        if columns != ["file"]:
            _check_columns(place, columns, needed, "row")
        cells = dict(zip(columns, row.values(), strict=True))
        for name in COLUMNS:
            if isinstance(cells.get(name), dict if name in LISTS else list | dict):
                raise place.error(f"`{name}` is neither text nor a number")
        values = {name: "" if value is None else str(value) for name, value in cells.items()}
        yield LabelRow(place, {**dict.fromkeys(needed, ""), **values})


def _check_header(
    place: SourceLocation, columns: Sequence[str], needed: Sequence[str], separator: str
) -> None:
    if len(columns) == 1 and any(mark in columns[0] for mark in SEPARATORS):
        mark = SEPARATORS[separator]
        other = ".csv with commas" if separator == "\t" else ".tsv with tabs"
        raise place.error(
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
        named = ", ".join(truncate_text(name) for name in columns[:MAX_COLUMNS]) or "nothing"
        more = " …" if len(columns) > MAX_COLUMNS else ""
        raise place.error(
            f"no {', '.join(missing)}{noun}; the {line} has {named}{more}; "
            f"needed are {', '.join(needed)}"
        )


def _check_once(place: SourceLocation, columns: Sequence[str]) -> None:
    for name in COLUMNS:
        if columns.count(name) > 1:
            raise place.error(f"`{name}` is there twice; rename or remove one")
