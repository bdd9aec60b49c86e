"""What is removed of the outbox, and in which order.

After ``days`` an event is removed, unless a sink has not been told of it; its pictures go after
``evidence_days``, whoever was told. Over the quota, pictures go first and then events, the oldest
first in both cases. A sink is told in order, so an event that all of them know is always removed
before one that a sink still waits for.
"""

import logging
import math
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from edgecnn_runtime.outbox.evidence import remove_evidence
from edgecnn_runtime.outbox.reader import COLUMNS, read_row

DAY = 86400.0
CHUNK = 200
"""Events per transaction, so that nobody who appends waits for long."""
RESERVE, SHARE = 64 << 20, 0.1
"""Bytes of the disk that pictures leave alone, because events and everything else need them; of a
small disk it is a share."""
CLOCK_STEP = 3600.0
"""Seconds. After a larger step of the wall clock nothing is removed by age for as long."""
LONGEST_BREAK = 7 * DAY
"""Seconds since the newest event, after which a clock is not believed at once: a box that has lost
the time may take itself to be years ahead until a time server tells it."""

log = logging.getLogger(__name__)


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """For how long, and on how much disk.

    Attributes:
        days: An event that every sink was told of is removed after so many; None for never.
        evidence_days: Its pictures; None for as long as the event.
        disk: Bytes of database and pictures together; None for no limit.
    """

    days: float | None = 30.0
    evidence_days: float | None = None
    disk: int | None = 10 * 10**9


def is_nearly_full(folder: Path) -> bool:
    """Whether the disk has no room for pictures.

    Raises:
        OSError: The folder is gone.
    """
    usage = shutil.disk_usage(folder)
    return usage.free < min(RESERVE, SHARE * usage.total)


class SteadyClock:
    """Notices when the wall clock is or was wrong, so that nothing is removed for that."""

    def __init__(
        self,
        newest: float | None,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look at the clocks.

        Args:
            newest: When the newest event was, in seconds since 1970; None without one.
            wall: Seconds since 1970.
            monotonic: Seconds that nobody sets.
        """
        self._wall, self._monotonic = wall, monotonic
        self._offset = wall() - monotonic()
        doubtful = newest is not None and wall() - newest > LONGEST_BREAK
        self._trusted_from = monotonic() + CLOCK_STEP if doubtful else -math.inf

    def now(self) -> float | None:
        """Seconds since 1970; None while that is in doubt."""
        wall, monotonic = self._wall(), self._monotonic()
        if abs(wall - monotonic - self._offset) > CLOCK_STEP:
            log.warning("the clock was set; nothing is removed by its age for an hour")
            self._trusted_from = monotonic + CLOCK_STEP
        self._offset = wall - monotonic
        return wall if monotonic >= self._trusted_from else None


class Cleaner:
    """Removes what is too old or too much; used by the thread that writes.

    Attributes:
        evidence_bytes: Size of all pictures.
        events: How many there are.
        lost: Events that were removed before every sink was told of them.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection, keep: Retention) -> None:
        self._folder = folder
        self._connection = connection
        self._keep = keep
        newest = connection.execute("SELECT MAX(time) FROM events").fetchone()[0]
        self._clock = SteadyClock(newest)
        self.lost = 0
        count = "SELECT COUNT(*) FROM events"
        size = "SELECT TOTAL(evidence_bytes) FROM events WHERE evidence_bytes > 0"
        self.events = int(connection.execute(count).fetchone()[0])
        self.evidence_bytes = int(connection.execute(size).fetchone()[0])

    def database_bytes(self) -> int:
        """Size of what is used of the database's file."""
        values = ("page_count", "freelist_count", "page_size")
        count, free, size = (self._pragma(name) for name in values)
        return (count - free) * size

    def clean(self, frontier: int) -> bool:
        """Remove one chunk of whatever has to go first.

        Args:
            frontier: The place up to which every sink was told.

        Returns:
            Whether there may be more to remove.

        Raises:
            sqlite3.Error: The database cannot be written.
        """
        return self._clean_by_age(frontier) or self._clean_by_size(frontier)

    def _clean_by_age(self, frontier: int) -> bool:
        now, keep = self._clock.now(), self._keep
        if now is None:
            return False
        ages = [age for age in (keep.evidence_days, keep.days) if age is not None]
        if ages and self._remove_pictures("time < ?", now - DAY * min(ages)):
            return True
        if keep.days is None:
            return False
        limit = now - DAY * keep.days
        return self._remove_events(frontier, "seq <= ? AND time < ?", frontier, limit)

    def _clean_by_size(self, frontier: int) -> bool:
        if is_nearly_full(self._folder) and self._remove_pictures("1"):
            return True
        if self._keep.disk is None:
            return False
        if self.database_bytes() + self.evidence_bytes <= self._keep.disk:
            return False
        return self._remove_pictures("1") or self._remove_events(frontier, "1")

    def _remove_pictures(self, condition: str, *values: float) -> bool:
        """The oldest pictures that the condition names; whether there were any."""
        # Conditions are literals of this file; their values are bound.
        condition = f"evidence_bytes > 0 AND {condition}"
        query = f"SELECT {COLUMNS} FROM events WHERE {condition} ORDER BY seq LIMIT {CHUNK}"  # noqa: S608
        rows = self._connection.execute(query, values).fetchall()
        for row in rows:  # files first: a row without its file is noticed, a file without a row not
            remove_evidence(self._folder, read_row(row).event.evidence)
        update = "UPDATE events SET evidence_bytes = 0 WHERE seq = ?"
        self._change(update, [row[0] for row in rows])
        self.evidence_bytes -= sum(row[-1] for row in rows)
        return bool(rows)

    def _remove_events(self, frontier: int, condition: str, *values: float) -> bool:
        """The oldest events that the condition names; whether there were any."""
        # Conditions are literals of this file; their values are bound.
        query = f"SELECT seq FROM events WHERE {condition} ORDER BY seq LIMIT {CHUNK}"  # noqa: S608
        places = [row[0] for row in self._connection.execute(query, values)]
        self._change("DELETE FROM events WHERE seq = ?", places)
        self._connection.execute("PRAGMA incremental_vacuum").fetchall()
        self.events -= len(places)
        if lost := sum(place > frontier for place in places):
            self.lost += lost
            log.error("%d events were removed before every sink was told: the disk quota", lost)
        return bool(places)

    def _change(self, statement: str, places: list[int]) -> None:
        """One transaction for all places."""
        if not places:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(statement, [(place,) for place in places])
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])
