"""Reading events, in any thread of any process, while another one writes."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from edgecnn_runtime.errors import OutboxError
from edgecnn_runtime.outbox.database import NAME, explain, open_for_reading
from edgecnn_runtime.outbox.evidence import evidence_path
from edgecnn_runtime.types import Event

COLUMNS = "seq, id, time, camera, type, body, evidence_bytes"


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events; an empty field excludes none.

    Attributes:
        camera: The camera's name.
        type: Of the event.
        since: Seconds since 1970, UTC; events of this moment are included.
        until: Seconds since 1970, UTC; events of this moment are not.
        text: Part of the text, the name or the label; upper and lower case are the same in ASCII.
    """

    camera: str = ""
    type: str = ""
    since: float | None = None
    until: float | None = None
    text: str = ""


class StoredEvent(NamedTuple):
    """An event and its place.

    Attributes:
        sequence: Ascending in the order of commits; never used twice.
        event: ``evidence`` names only what was not removed.
    """

    sequence: int
    event: Event


EVERYTHING = EventFilter()


class OutboxReader:
    """Reads the events of a folder; every method may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        """Look at the database once.

        Args:
            folder: The outbox's.

        Raises:
            OutboxError: There is none, it is of another version, or it cannot be read.
        """
        self.folder = folder
        open_for_reading(folder).close()

    def read(
        self,
        events: EventFilter = EVERYTHING,
        *,
        before: int | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[StoredEvent]:
        """Events, the newest first.

        Args:
            events: Which.
            before: Only those in front of this place: the last one of the page before.
            after: Only those behind this place.
            limit: At most so many.

        Raises:
            OutboxError: The database cannot be read.
        """
        where, values = _conditions(events)
        if before is not None:
            where, values = [*where, "seq < ?"], [*values, before]
        return self._select([*where, "seq > ?"], [*values, after], "seq DESC", limit)

    def replay(
        self, events: EventFilter = EVERYTHING, *, after: int = 0, limit: int = 100
    ) -> list[StoredEvent]:
        """Events, the oldest first.

        Args:
            events: Which.
            after: Only those behind this place.
            limit: At most so many.

        Raises:
            OutboxError: The database cannot be read.
        """
        where, values = _conditions(events)
        return self._select([*where, "seq > ?"], [*values, after], "seq", limit)

    def get(self, event_id: str) -> StoredEvent | None:
        """The event with this id and its place; None where there is none.

        Raises:
            OutboxError: The database cannot be read.
        """
        return next(iter(self._select(["id = ?"], [event_id], "seq", 1)), None)

    def picture(self, event: Event, name: str) -> Path | None:
        """The evidence file of an event, such as its "crop"; None where there is none."""
        return evidence_path(self.folder, event.evidence.get(name, ""))

    def count(self, *, after: int = 0) -> int:
        """How many events there are behind a place.

        Raises:
            OutboxError: The database cannot be read.
        """
        with self._connection() as connection:
            query = "SELECT COUNT(*) FROM events WHERE seq > ?"
            return int(connection.execute(query, (after,)).fetchone()[0])

    def _select(
        self, where: Sequence[str], values: Sequence[Any], order: str, limit: int
    ) -> list[StoredEvent]:
        # The conditions are those of _conditions and the lines above; values are bound.
        condition = " AND ".join(where)
        query = f"SELECT {COLUMNS} FROM events WHERE {condition} ORDER BY {order} LIMIT ?"  # noqa: S608
        with self._connection() as connection:
            return [read_row(row) for row in connection.execute(query, (*values, limit))]

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection of this thread: opening costs less than sharing one with a slow query."""
        with closing(open_for_reading(self.folder)) as connection:
            try:
                yield connection
            except sqlite3.Error as error:
                raise OutboxError(explain(error, self.folder / NAME)) from None


def read_row(row: tuple[Any, ...]) -> StoredEvent:
    """The event of a row of COLUMNS; the columns alone where its body is damaged."""
    sequence, event_id, time, camera, kind, body, evidence_bytes = row
    try:
        event = msgspec.json.decode(body, type=Event)
    except (msgspec.DecodeError, RecursionError):
        event = Event(id=event_id, type=kind, camera=camera, time=time)
    if not evidence_bytes:
        event = msgspec.structs.replace(event, evidence={})
    return StoredEvent(sequence, event)


def _conditions(events: EventFilter) -> tuple[list[str], list[Any]]:
    where: list[str] = []
    values: list[Any] = []
    for condition, value in (
        ("camera = ?", events.camera or None),
        ("type = ?", events.type or None),
        ("time >= ?", events.since),
        ("time < ?", events.until),
        ("words LIKE ? ESCAPE '\\'", _pattern(events.text)),
    ):
        if value is not None:
            where.append(condition)
            values.append(value)
    return where, values


def searchable(text: str) -> str:
    """The text for SQLite's LIKE, which ends at a null."""
    return text.replace("\0", " ")


def _pattern(text: str) -> str | None:
    if not text:
        return None
    text = searchable(text)
    for special in "\\%_":
        text = text.replace(special, f"\\{special}")
    return f"%{text}%"
