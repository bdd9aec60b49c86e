"""A folder or a file that exists whole or not at all: written under another name, then renamed.

The process that writes a folder locks it (flock). The lock ends with the process, so a folder that
a killed process left behind differs from one that another process is writing.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path


@contextmanager
def atomic_replace(out: Path) -> Iterator[Path]:
    """Replace a folder: a new one becomes ``out`` if the block succeeds, and is removed if not.

    Args:
        out: The folder to make or replace.

    Yields:
        The new, empty folder.

    Raises:
        OSError: The file system refuses.
    """
    folder, lock = _neighbor(out, "new"), None
    try:  # before there is a folder, because a signal may end the process at any line
        lock = _make(folder)
        yield folder
        _publish(folder, out)
    finally:
        _remove(folder)
        if lock is not None:
            os.close(lock)


@contextmanager
def atomic_file(out: Path) -> Iterator[Path]:
    """Replace a file: a new one becomes ``out`` if the block succeeds, and is removed if not.

    Args:
        out: The file to make or replace.

    Yields:
        The path to write.

    Raises:
        OSError: The file system refuses.
    """
    scratch = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        yield scratch
        _flush(scratch)  # otherwise a power cut may leave an empty file under the new name
        scratch.replace(out)
    finally:
        with suppress(OSError):
            scratch.unlink()


def remove_stale(out: Path) -> None:
    """Remove the leftovers of killed processes, and restore what one of them had moved away."""
    with suppress(OSError):
        for folder in out.parent.glob(f".{escape(out.name)}.*.*"):
            kind = folder.name[len(out.name) + 2 :].split(".")[0]
            lock = _lock(folder) if kind in {"new", "old"} else None
            if lock is None:
                continue
            if kind == "old" and (folder / out.name).exists() and not out.exists():
                (folder / out.name).replace(out)
            _remove(folder)
            os.close(lock)


def _publish(folder: Path, out: Path) -> None:
    folder.chmod(0o755)
    for path in folder.iterdir():
        _flush(path)
    if out.exists():
        old = _neighbor(out, "old")
        lock = _make(old)
        out.replace(old / out.name)
        folder.replace(out)
        _remove(old)
        os.close(lock)
    else:
        folder.replace(out)
    _flush(out.parent)


def _neighbor(out: Path, kind: str) -> Path:
    return out.parent / f".{out.name}.{kind}.{os.urandom(8).hex()}"


def _make(folder: Path) -> int:
    """Create and lock a folder that nobody else may read; the file descriptor of the lock."""
    while True:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        lock = _lock(folder)
        if lock is not None and folder.exists():
            return lock
        if lock is not None:
            os.close(lock)
        # swept by another process before it could be locked: once more


def _lock(folder: Path) -> int | None:
    """An open file descriptor that locks the folder, or None where another process does."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    import shutil  # bz2, lzma and zlib come with it, and who only reads needs none of them

    shutil.rmtree(folder, ignore_errors=True)
