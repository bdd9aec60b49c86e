"""The database of events: its form, how it is opened, how an older one is brought up to date."""

import fcntl
import os
import re
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from edgecnn_runtime.errors import OutboxError

NAME = "events.sqlite"
LOCK = "events.lock"
BUSY_SECONDS = 1.0
"""How long to wait for somebody else who holds the database, such as a person with sqlite3."""
WAL_LIMIT = 16 << 20
"""Bytes that the write-ahead log keeps on the disk after a burst."""

STEPS = (
    """
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        time REAL NOT NULL,
        camera TEXT NOT NULL,
        type TEXT NOT NULL,
        words TEXT NOT NULL,
        body TEXT NOT NULL
    );
    CREATE INDEX events_by_time ON events(time);
    CREATE TABLE cursors (sink TEXT PRIMARY KEY, seq INTEGER NOT NULL);
    """,
    """
    ALTER TABLE events ADD COLUMN evidence_bytes INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX events_by_camera ON events(camera, seq);
    CREATE INDEX events_with_evidence ON events(seq, evidence_bytes) WHERE evidence_bytes > 0;
    """,
)
"""Each brings a database to the next version; a new one begins before the first. Never edited,
only appended to."""
VERSION = len(STEPS)


def lock_folder(folder: Path) -> int:
    """Make the folder and lock it for this process, until the descriptor is closed or it ends.

    Returns:
        The file descriptor of the lock.

    Raises:
        OutboxError: The folder cannot be written, or another process writes it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OutboxError(explain(error, folder)) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(lock, 20).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise OutboxError(
            f"{folder}: another process (pid {owner}) writes events here: stop it, or name another "
            "folder as `state` in site.yaml"
        ) from None
    with suppress(OSError):  # on a full disk, where only the name of the owner is missing
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def is_locked(folder: Path) -> bool:
    """Whether another process writes a folder now; False where this user cannot see it."""
    try:
        lock = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def open_for_writing(folder: Path) -> sqlite3.Connection:
    """Open the database, make it where there is none, and bring an older one up to date.

    A copy of the older one is left beside it first.

    Args:
        folder: Locked by this process.

    Returns:
        A connection without implicit transactions, for one thread at a time.

    Raises:
        OutboxError: The database is of a newer version, damaged, or cannot be written.
    """
    path = folder / NAME
    try:
        _make_private(path)
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
    except (sqlite3.Error, OSError) as error:
        raise OutboxError(explain(error, path)) from None
    try:
        version = _version(connection, path)
        if version == 0:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only before the first table
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL: the log is flushed at each commit, so that a committed event survives a power cut.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT}")
        if 0 < version < VERSION:
            _back_up(connection, backup_path(path, version))
        for number in range(version, VERSION):
            step = f"BEGIN IMMEDIATE; {STEPS[number]} PRAGMA user_version = {number + 1}; COMMIT"
            connection.executescript(step)
    except (sqlite3.Error, OSError) as error:
        connection.close()
        raise OutboxError(explain(error, path)) from None
    except OutboxError:
        connection.close()
        raise
    return connection


def open_for_reading(folder: Path) -> sqlite3.Connection:
    """Open the database beside whoever writes it.

    Raises:
        OutboxError: There is none, it is of another version, or it cannot be read.
    """
    path = folder / NAME
    try:
        if not path.exists():
            raise OutboxError(
                f"{folder}: there are no events: name the state folder of the daemon with --state"
            )
    except PermissionError:
        raise OutboxError(
            f"{folder}: this user (uid {os.getuid()}) may not read it: read events as the user of "
            "the daemon, or with sudo"
        ) from None
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=BUSY_SECONDS
        )
    except sqlite3.Error as error:
        raise OutboxError(explain(error, path)) from None
    try:
        if _version(connection, path) < VERSION:
            raise OutboxError(
                f"{path}: written by an older version: `edgecnn serve` brings it up to date when "
                "it starts"
            )
    except OutboxError:
        connection.close()
        raise
    except sqlite3.Error as error:
        connection.close()
        raise OutboxError(explain(error, path)) from None
    return connection


def check_database(folder: Path) -> None:
    """Look whether a database can be opened for writing, without changing anything.

    Args:
        folder: The outbox's; it need not be there.

    Raises:
        OutboxError: The database is of a newer version, damaged, or may not be read.
    """
    path = folder / NAME
    if path.exists():
        try:
            connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            with closing(connection):
                _version(connection, path)
        except sqlite3.Error as error:
            raise OutboxError(explain(error, path)) from None


def backup_path(path: Path, version: int) -> Path:
    """Where the copy of an older database is left."""
    return path.with_name(f"{path.name}.v{version}")


def explain(error: Exception, path: Path) -> str:
    """What happened to the database or its folder, and what to do."""
    words = (error.strerror if isinstance(error, OSError) else str(error)) or str(error)
    advice = ""
    if "full" in words or "No space" in words:
        advice = ": free some space, or name another folder with --state"
    elif "I/O" in words:
        advice = ": the disk is full or fails; `dmesg` may say which"
    elif "locked" in words or "busy" in words:
        advice = ": another program holds it; close that program"
    elif re.search("read-?only|permi|unable to open", words, re.IGNORECASE):
        folder = path if isinstance(error, OSError) else path.parent
        advice = f": let this user (uid {os.getuid()}) write {folder}, or name another with --state"
    elif "not a database" in words or "malformed" in words:
        advice = f": move it away (mv {path} {path}.damaged) and start again"
    return f"{path}: {words}{advice}"


def _make_private(path: Path) -> None:
    """For its owner's eyes, whatever the mode of the folder; SQLite gives its log the same mode."""
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with suppress(PermissionError):  # somebody else's file, who knows whose eyes it is for
        os.fchmod(opened, 0o600)
    os.close(opened)


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The version of the database; 0 for a new one."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        older = [n for n in range(1, VERSION + 1) if backup_path(path, n).exists()]
        way_back = f", or go back to {backup_path(path, older[-1])}" if older else ""
        raise OutboxError(
            f"{path}: version {version}, written by a newer edgecnn; this one reads version "
            f"{VERSION}: install the newer one{way_back}"
        )
    return version


def _back_up(connection: sqlite3.Connection, target: Path) -> None:
    """A copy of the whole database, complete before it has its name."""
    scratch = target.with_name(f".{target.name}.part")
    scratch.unlink(missing_ok=True)
    _make_private(scratch)
    with closing(sqlite3.connect(scratch)) as copy:
        connection.backup(copy)
    with scratch.open("rb") as file:
        os.fsync(file.fileno())
    scratch.replace(target)
