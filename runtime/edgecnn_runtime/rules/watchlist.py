"""Lists of texts that are known, allowed or denied: one per line, or as CSV."""

import csv
import logging
import threading
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from edgecnn_runtime.edit_distance import edit_distance
from edgecnn_runtime.errors import ConfigError
from edgecnn_runtime.schema_errors import unknown_key_message

COLUMNS = ("text", "name", "list")
SIZE_LIMIT = 4 << 20
ENTRY_LIMIT = 20_000
"""Entries of one list: comparing a text with each of so many takes tens of milliseconds."""
LENGTH_LIMIT = 128
"""Characters of a text or name."""
LOOK_ALIKES = str.maketrans("OIBS", "0185")
"""Letters that plates print, and readers read, like digits: O and 0, I and 1, B and 8, S and 5."""

log = logging.getLogger(__name__)


class WatchlistConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a rule does with a list.

    Attributes:
        file: The list; relative to the file that names it.
        distance: How many characters of a text may be wrong, missing or too many.
        look_alikes: Whether O and 0, I and 1, B and 8, S and 5 count as the same.
        let_pass: "listed" lets only texts of the list pass, "unlisted" only others, "all" adds the
            names and drops nothing.
    """

    file: str
    distance: Annotated[int, Meta(ge=0, le=3)] = 0
    look_alikes: bool = False
    let_pass: Literal["listed", "unlisted", "all"] = msgspec.field(name="pass", default="listed")


class Entry(NamedTuple):
    """One line of a list.

    Attributes:
        text: As it is written there.
        name: Who or what it is; empty without one.
        list: Which list it is on, such as "allowed" or "denied"; empty without one.
    """

    text: str
    name: str = ""
    list: str = ""


class Watchlist:
    """The entries of a file, which is read again when it changes. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Read a list.

        Args:
            path: A text file with one text per line, or CSV whose first line names its columns:
                ``text`` and, where they are wanted, ``name`` and ``list``. Empty lines and what
                begins with # are left out.

        Raises:
            ConfigError: It cannot be read, or a line cannot be right.
        """
        self._path = path
        self._lock = threading.Lock()
        self._version = _version(path)
        self._entries = read_entries(path)

    def find(self, text: str, distance: int = 0, *, look_alikes: bool = False) -> Entry | None:
        """The entry of a text.

        Letters count regardless of case; spaces, dashes and dots do not count.

        Args:
            text: A text that was read.
            distance: How many characters of it may be wrong. An entry that is spelled the same
                comes first; of several others at the same distance, none is taken.
            look_alikes: Whether ``LOOK_ALIKES`` are no errors.
        """
        entries, key = self._current(), normalize(text)
        if not key:
            return None
        if key in entries or not (distance or look_alikes):
            return entries.get(key)
        table = LOOK_ALIKES if look_alikes else {}
        key = key.translate(table)
        nearest: list[Entry] = []
        limit = distance
        for other, entry in entries.items():
            apart = edit_distance(key, other.translate(table), limit)
            if apart <= limit:
                nearest = [entry] if apart < limit else [*nearest, entry]
                limit = apart
        return nearest[0] if len({entry[1:] for entry in nearest}) == 1 else None

    def _current(self) -> Mapping[str, Entry]:
        """The entries, read again if the file has changed; as they were if it cannot be read."""
        with self._lock:
            version = _version(self._path)
            if version != self._version:
                self._version = version
                try:
                    self._entries = read_entries(self._path)
                except ConfigError as error:
                    log.warning("%s; what was read before stays in use", error)
            return self._entries


def normalize(text: str) -> str:
    """A text as lists compare it: letters and digits only, in upper case (Unicode's NFKC)."""
    folded = unicodedata.normalize("NFKC", text).upper()
    return "".join(char for char in folded if char.isalnum())


def read_entries(path: Path) -> dict[str, Entry]:
    """Read a list's entries by their normalized text.

    Raises:
        ConfigError: It cannot be read, or a line cannot be right; the message names the line.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(SIZE_LIMIT + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text") from None
    if len(raw) > SIZE_LIMIT:
        raise ConfigError(f"{path}: over {SIZE_LIMIT >> 20} MiB: this is not a watch list")
    lines = [
        (number, line.strip())
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if len(lines) > ENTRY_LIMIT:
        raise ConfigError(f"{path}: {len(lines)} entries; a list has {ENTRY_LIMIT} at most")
    entries: dict[str, Entry] = {}
    for number, entry in _parse(path, lines):
        key = normalize(entry.text)
        if not key or any(len(part) > LENGTH_LIMIT or not part.isprintable() for part in entry):
            raise ConfigError(
                f"{path}:{number}: a text has a letter or digit, and no part of a line more than "
                f"{LENGTH_LIMIT} characters or any that cannot be printed"
            )
        if entries.get(key, entry)[1:] != entry[1:]:
            raise ConfigError(f"{path}:{number}: {entry.text} is on the list twice, differently")
        entries[key] = entry
    return entries


def _parse(path: Path, lines: list[tuple[int, str]]) -> Iterable[tuple[int, Entry]]:
    """The entries with the numbers of their lines."""
    columns = [cell.strip().lower() for cell in lines[0][1].split(",")] if lines else []
    if "text" not in columns:
        for number, line in lines:
            if "," in line:
                raise ConfigError(
                    f"{path}:{number}: a list with commas begins with the names of its columns: "
                    f"{','.join(COLUMNS)}"
                )
            yield number, Entry(line)
        return
    for column in columns:
        if column not in COLUMNS:
            raise ConfigError(
                f"{path}:{lines[0][0]}: {column}: {unknown_key_message(column, [*COLUMNS])}"
            )
    for number, line in lines[1:]:
        cells = [cell.strip() for cell in next(csv.reader([line]))]
        if len(cells) > len(columns):
            raise ConfigError(f"{path}:{number}: more cells than the {len(columns)} columns")
        yield number, Entry(**{"text": "", **dict(zip(columns, cells, strict=False))})


def _version(path: Path) -> tuple[int, ...]:
    """What changes when the file does; empty where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
