"""Events on their way to the disk: ``append`` returns when they are there.

A thread of its own writes: whatever is appended while it commits becomes one commit with what
comes until the next one is due, so that ten cameras cost a card no more flushes than one.

What is promised: an event whose ``append`` returned survives the end of the process by any signal,
and a power cut where the disk flushes what it is told to flush. Its pictures survive the end of the
process; after a power cut those of the last half minute may be missing.

On a full disk, or one that cannot be written, the promise is reduced step by step, each with a line
in the log and in ``figures``:

1. less than RESERVE bytes are left, or SHARE of a small disk: the oldest pictures are removed;
2. that is not enough: new events are stored without pictures;
3. the database cannot be written: ``append`` returns at once, and events wait in memory;
4. MAX_WAITING of them wait: what comes then is counted as lost.
"""

import logging
import math
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence, Sized
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from edgecnn_runtime.errors import OutboxError
from edgecnn_runtime.outbox.database import NAME, explain, lock_folder, open_for_writing
from edgecnn_runtime.outbox.evidence import (
    Encoded,
    FrameBudget,
    FrameLimits,
    recent_files,
    remove_evidence,
    write_evidence,
)
from edgecnn_runtime.outbox.reader import OutboxReader, searchable
from edgecnn_runtime.outbox.retention import Cleaner, Retention, is_nearly_full
from edgecnn_runtime.types import Event

SPACING = 0.1
"""Seconds between two commits at least: a bound on how often a card is flushed."""
MAX_WAITING = 10_000
"""Events that wait in memory at most while the disk cannot be written: some 10 MB."""
RETRY = 1.0
"""Seconds between two attempts to write, while that fails."""
CURSOR_SPACING = 2.0
"""Seconds that a cursor's new place waits for a commit at most: after a crash, a sink is told again
of what it was told in them."""
CLEANING_SPACING = 60.0
"""Seconds between two looks at what has to be removed."""

INSERT = """
    INSERT INTO events (id, time, camera, type, words, body, evidence_bytes)
    VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
"""
REQUIRED = {field.name for field in msgspec.structs.fields(Event) if field.required}

log = logging.getLogger(__name__)


class OutboxFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The outbox, as it is now.

    Attributes:
        events: How many are stored.
        bytes: Size of the database.
        evidence_bytes: Size of the pictures.
        waiting: Events that wait for a disk that cannot be written.
        lost: Events that were never stored, or removed before every sink was told.
        pictures_lost: Events that were stored without their pictures, for want of space.
        problem: Why nothing can be written now, or no pictures; empty where all is well.
    """

    events: int
    bytes: int
    evidence_bytes: int
    waiting: int
    lost: int
    pictures_lost: int
    problem: str


class _Row(NamedTuple):
    values: tuple[Any, ...]
    evidence_bytes: int


class Outbox:
    """Writes events; every method may be called from any thread.

    Attributes:
        folder: Where database and pictures are.
        events: Reads them.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep: Retention | None = None,
        frames: FrameLimits | None = None,
        spacing: float = SPACING,
    ) -> None:
        """Open the folder for this process alone, and start the thread that writes.

        Args:
            folder: Made where there is none.
            keep: For how long, and on how much disk.
            frames: How large, and how many, the full frames of events are; None for no limit.
            spacing: Seconds between two commits at least.

        Raises:
            OutboxError: The folder or its database cannot be used; the message says why.
        """
        self.folder = folder
        self._spacing = spacing
        self._frame_size = None if frames is None else frames.size
        self._frame_budget = FrameBudget(None if frames is None else frames.per_minute)
        with ExitStack() as stack:
            stack.callback(os.close, lock_folder(folder))
            self._connection = stack.enter_context(closing(open_for_writing(folder)))
            self.events = OutboxReader(folder)
            try:
                self._cleaner = Cleaner(folder, self._connection, keep or Retention())
                places = self._connection.execute("SELECT sink, seq FROM cursors")
                self._cursors: dict[str, int] = dict(places)
                self._last = self._newest_place()
                self._remove_orphans()
            except (sqlite3.Error, OSError) as error:
                raise OutboxError(explain(error, folder / NAME)) from None
            self._opened = stack.pop_all()
        self._changed = threading.Condition()
        self._waiting: deque[_Row] = deque()
        self._appended = self._done = 0
        self._lost = self._pictures_lost = 0
        self._problem = self._picture_problem = ""
        self._has_moved = False
        self._closing = False
        self._crash: BaseException | None = None
        self._listeners: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Outbox":
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether events can be stored at all: a full disk is no reason why not."""
        return self._thread.is_alive()

    def append(self, events: Sequence[Event]) -> None:
        """Store events in their order; those of an id that is stored already are ignored.

        Returns when they are durable. While the disk cannot be written it returns at once, and
        they wait in memory.

        Args:
            events: Their ``images`` become evidence files.

        Raises:
            OutboxError: The outbox was closed.
        """
        with self._changed:
            if self._problem:
                room = max(0, MAX_WAITING - len(self._waiting))
                if self._lost == 0 and len(events) > room:
                    log.error("%s; events are being lost", self._problem)
                self._lost += len(events[room:])
                events = events[:room]
        if not events:
            return
        encoded: Encoded = {}
        rows = [self._row(event, encoded) for event in events]
        with self._changed:
            if self._closing:
                raise OutboxError(f"{self.folder}: closed; no event can be stored any more")
            self._waiting.extend(rows)
            self._appended += len(rows)
            ticket = self._appended
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._done >= ticket or self._problem or self._crash is not None
            )
            if self._crash is not None:
                raise self._crash

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call ``wake`` after each commit of events, in the thread that writes.

        Whoever asks for what is there after this misses nothing: an event that is committed later
        is told.

        Args:
            wake: Returns at once, and raises nothing.

        Returns:
            What ends that.
        """
        with self._changed:
            self._listeners = [*self._listeners, wake]

        def unsubscribe() -> None:
            with self._changed:
                self._listeners = [each for each in self._listeners if each is not wake]

        return unsubscribe

    def set_sinks(self, names: Sequence[str]) -> None:
        """Say which sinks there are; events that one of them was not told of are not removed.

        Args:
            names: A new one is told of what is appended from now on; the place of one that is
                missing is forgotten.
        """
        with self._changed:
            self._cursors = {name: self._cursors.get(name, self._last) for name in names}
            self._has_moved = True
            self._changed.notify_all()

    def cursor(self, sink: str) -> int:
        """The place up to which a sink was told; 0 for one that ``set_sinks`` does not know."""
        return self._cursors.get(sink, 0)

    def advance(self, sink: str, sequence: int) -> None:
        """Note that a sink was told of everything up to a place.

        It is on the disk CURSOR_SPACING seconds later at the latest.
        """
        with self._changed:
            if sequence <= self._cursors.get(sink, sequence):  # it was taken away, or abandoned
                return
            self._cursors[sink] = sequence
            if not self._has_moved:
                self._has_moved = True
                self._changed.notify_all()

    def pending(self, sink: str) -> int:
        """How many events a sink was not told of.

        Raises:
            OutboxError: The database cannot be read.
        """
        return self.events.count(after=self.cursor(sink))

    def figures(self) -> OutboxFigures:
        """How much is stored, waits or was lost; reads nothing from the database."""
        size = sum(
            path.stat().st_size
            for path in (self.folder / NAME, self.folder / f"{NAME}-wal")
            if path.exists()
        )
        with self._changed:
            return OutboxFigures(
                events=self._cleaner.events,
                bytes=size,
                evidence_bytes=self._cleaner.evidence_bytes,
                waiting=len(self._waiting) if self._problem else 0,
                lost=self._lost + self._cleaner.lost,
                pictures_lost=self._pictures_lost,
                problem=self._problem or self._picture_problem,
            )

    def close(self) -> None:
        """Write what waits and end; idempotent. What the disk does not take is lost, and logged."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if self._waiting:
            log.error("%s: %d events could not be stored", self.folder, len(self._waiting))
        self._opened.close()

    def _row(self, event: Event, encoded: Encoded) -> _Row:
        """What is stored of an event, its pictures written already."""
        if "frame" in event.images and not self._frame_budget.allows(event):
            images = {kind: each for kind, each in event.images.items() if kind != "frame"}
            event = msgspec.structs.replace(event, images=images)
        names, size = self._write_pictures(event, encoded) if event.images else ({}, 0)
        fields = msgspec.structs.asdict(msgspec.structs.replace(event, images={}, boxes=()))
        if names:
            fields["evidence"] = names
        body = msgspec.json.encode(
            {n: value for n, value in fields.items() if n in REQUIRED or not _is_empty(value)},
            enc_hook=lambda value: value.tolist(),  # NumPy's numbers
        ).decode()
        words = searchable("\n".join((event.text, event.name, event.label)))
        values = (event.id, event.time, event.camera, event.type, words, body, size)
        return _Row(values, size)

    def _write_pictures(self, event: Event, encoded: Encoded) -> tuple[dict[str, str], int]:
        """Their names and size; nothing where there is no room for them."""
        problem = ""
        try:
            if is_nearly_full(self.folder):
                problem = f"{self.folder}: the disk is nearly full; events have no pictures"
            else:
                return write_evidence(self.folder, event, encoded, frame_size=self._frame_size)
        except OSError as error:
            problem = f"{explain(error, self.folder)}; events have no pictures"
        finally:
            if problem and not self._picture_problem:
                log.error(problem)
            self._picture_problem = problem
        self._pictures_lost += 1
        return {}, 0

    def _work(self) -> None:
        """The thread that writes."""
        last_commit = last_cleaning = -math.inf
        try:
            while True:
                cleaning = RETRY if self._picture_problem else CLEANING_SPACING
                with self._changed:
                    due = last_cleaning + cleaning
                    had_moved = self._has_moved
                    spacing = RETRY if self._problem else CURSOR_SPACING
                    if self._problem or had_moved:
                        due = min(due, last_commit + spacing)
                    self._changed.wait_for(
                        lambda: (
                            self._closing
                            or (self._waiting and not self._problem)
                            or self._has_moved != had_moved  # noqa: B023  (called before the next turn)
                        ),
                        max(0.0, due - time.monotonic()),
                    )
                    pause = last_commit + self._spacing - time.monotonic()
                    self._changed.wait_for(lambda: self._closing, max(0.0, pause))
                    ending = self._closing
                is_due = time.monotonic() >= last_commit + spacing
                if self._waiting or (self._has_moved and (is_due or ending)):
                    self._commit()
                    last_commit = time.monotonic()
                if ending:
                    return
                if time.monotonic() >= last_cleaning + cleaning:
                    more = self._clean()
                    last_cleaning = -math.inf if more else time.monotonic()
        except BaseException as error:
            with self._changed:  # whoever appends must not wait for a thread that is gone
                self._crash = error
                self._changed.notify_all()
            raise

    def _commit(self) -> None:
        """Write everything that waits, and where the cursors are, in one transaction."""
        with self._changed:
            rows, cursors = list(self._waiting), dict(self._cursors)
            self._has_moved = False
        execute = self._connection.execute
        problem = ""
        try:
            execute("BEGIN IMMEDIATE")
            before = self._connection.total_changes
            self._connection.executemany(INSERT, [row.values for row in rows])
            count = self._connection.total_changes - before
            execute("DELETE FROM cursors")
            places = list(cursors.items())
            self._connection.executemany("INSERT INTO cursors VALUES (?, ?)", places)
            execute("COMMIT")
            newest = self._newest_place()
        except sqlite3.Error as error:
            problem = explain(error, self.folder / NAME)
            if self._connection.in_transaction:
                execute("ROLLBACK")
        with self._changed:
            if problem:
                self._has_moved = True
                if not self._problem:
                    log.error("%s; events wait in memory until it can be written", problem)
            else:
                if self._problem:
                    log.warning("%s can be written again", self.folder / NAME)
                for _ in rows:
                    self._waiting.popleft()
                self._done += len(rows)
                self._last = newest
                self._cleaner.events += count
                self._cleaner.evidence_bytes += sum(row.evidence_bytes for row in rows)
            self._problem = problem
            listeners = self._listeners
            self._changed.notify_all()
        if rows and not problem:
            for wake in listeners:
                wake()

    def _clean(self) -> bool:
        """Remove a chunk; whether there is more."""
        frontier = min(self._cursors.values(), default=self._last)
        try:
            more = self._cleaner.clean(frontier)
            if self._picture_problem and not is_nearly_full(self.folder):
                self._picture_problem = ""
            return more
        except (sqlite3.Error, OSError) as error:
            if not self._problem:  # which was logged already
                log.error("%s; nothing old is removed", explain(error, self.folder / NAME))
            return False

    def _newest_place(self) -> int:
        query = "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
        row = self._connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    def _remove_orphans(self) -> None:
        """Remove pictures whose event was not committed when the process ended."""
        row = self._connection.execute("SELECT MAX(time) FROM events").fetchone()
        for file in recent_files(self.folder, row[0] or 0.0):
            event_id = file.name.rpartition("-")[0]
            query = "SELECT 1 FROM events WHERE id = ? AND evidence_bytes > 0"
            if self._connection.execute(query, (event_id,)).fetchone() is None:
                name = file.relative_to(self.folder).as_posix()
                remove_evidence(self.folder, {"": name})
                if file.name.startswith("."):
                    file.unlink(missing_ok=True)


def _is_empty(value: object) -> bool:
    """Whether a field has the default that the decoder fills in."""
    return value is None or (isinstance(value, Sized) and len(value) == 0)
