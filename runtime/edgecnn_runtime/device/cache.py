"""What this machine has learnt about a bundle: kept beside, never in it.

Small JSON files, each named by a hash of everything its content depends on and repeating it inside,
so nothing in here is ever out of date or taken for something else; deleting the folder costs only
the time to learn it again.
"""

import contextlib
import hashlib
import logging
import os
import stat
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec

from edgecnn_runtime.errors import UsageError

T = TypeVar("T")
Key: TypeAlias = tuple[str, ...]
"""Everything that a value depends on."""
LIMIT = 1 << 20
UNREADABLE = (OSError, msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What reading a damaged entry raises."""

log = logging.getLogger(__name__)


def default_cache_dir() -> Path:
    """The service's state directory under systemd, else the user's (XDG).

    Raises UsageError for a user without a home, as in a container under a number of its own.
    """
    if service := os.environ.get("STATE_DIRECTORY"):
        return Path(service.split(":")[0])
    if state := os.environ.get("XDG_STATE_HOME"):
        return Path(state) / "edgecnn"
    try:
        return Path.home() / ".local" / "state" / "edgecnn"
    except RuntimeError:
        raise UsageError(
            "this user has no home directory to keep measurements in: set HOME, or "
            "XDG_STATE_HOME to a folder that it may write to"
        ) from None


class Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file: what was learnt, and under which circumstances."""

    key: Key
    value: msgspec.Raw


def read_entry(folder: Path, kind: str, key: Key, as_type: type[T]) -> T | None:
    """What ``write_entry`` kept under this key; None where there is nothing usable.

    A file that is damaged, too large, a link, or another key's under this one's name is not used.
    """
    path = _path(folder, kind, key)
    try:
        if path.is_symlink() or path.stat().st_size > LIMIT:
            return None
        kept = msgspec.json.decode(path.read_bytes(), type=Stored)
        if kept.key == key:
            return msgspec.json.decode(kept.value, type=as_type)
    except FileNotFoundError:
        return None
    except UNREADABLE as error:
        log.debug("not used: %s: %s", path, error)
    return None


def describe_outdated(folder: Path, kind: str, key: Key, identity: int) -> str:
    """What has changed since the newest entry for the same thing was written.

    Args:
        folder: The cache directory.
        kind: Its subfolder.
        key: Today's key, under which there is no entry.
        identity: How many leading parts of a key name the thing; the others are circumstances,
            the version of edgecnn among them.

    Returns:
        "since then, edgecnn 0.1.0 became edgecnn 0.2.0"; "" where there is no such entry.
    """
    outdated: list[tuple[float, Key]] = []
    for path in (folder / kind).rglob("*.json"):
        with contextlib.suppress(*UNREADABLE):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_size <= LIMIT:
                other = msgspec.json.decode(path.read_bytes(), type=_Keyed).key
                if other != key and other[:identity] == key[:identity]:
                    outdated.append((status.st_mtime, other))
    if not outdated:
        return ""
    _, newest = max(outdated)
    before = ", ".join(part for part in newest if part not in key)
    now = ", ".join(part for part in key if part not in newest)
    return f"since then, {before or 'nothing'} became {now or 'nothing'}"


def write_entry(folder: Path, kind: str, key: Key, value: object) -> bool:
    """Keep a value, and whether it could be: a full disk only costs learning it again."""
    path = _path(folder, kind, key)
    scratch = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept = Stored(key, msgspec.Raw(msgspec.json.encode(value)))
        scratch.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=1))
        scratch.replace(path)
        return True
    except OSError as error:
        log.debug("not kept in %s: %s", folder, error)
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
    return False


class _Keyed(msgspec.Struct, frozen=True):
    key: Key


def _path(folder: Path, kind: str, key: Key) -> Path:
    name = hashlib.sha256(msgspec.json.encode(key)).hexdigest()
    return folder / kind / f"{name}.json"
