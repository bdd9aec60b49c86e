"""What this machine has measured of a bundle, stored outside of it.

Small JSON files, each named by a hash of everything its content depends on. They repeat it inside,
so no entry is ever out of date or taken for another one. Deleting the folder costs only the time
to measure again.
"""

import contextlib
import hashlib
import logging
import os
import stat
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec

from edgecnn_runtime.bundle.atomic import atomic_file
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

    Raises:
        UsageError: the user has no home directory, as in a container under a user number alone.
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


def make_private(folder: Path) -> None:
    """Make a folder of the state directory, and that one, too, for their owner alone.

    Mode 0700; what is there already stays as it is, as somebody may share it with a group.

    Args:
        folder: Directly in the state directory.

    Raises:
        OSError: The file system refuses.
    """
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # `parents` alone are 0755
    folder.mkdir(exist_ok=True, mode=0o700)


class Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file: a value, and everything it depends on."""

    key: Key
    value: msgspec.Raw


def read_entry(folder: Path, kind: str, key: Key, as_type: type[T]) -> T | None:
    """The value that ``write_entry`` stored under this key; None where there is none to use.

    A file is not used where it is damaged, too large, a link, or holds another key.
    """
    path = _path(folder, kind, key)
    try:
        if path.is_symlink() or path.stat().st_size > LIMIT:
            return None
        entry = msgspec.json.decode(path.read_bytes(), type=Stored)
        if entry.key == key:
            return msgspec.json.decode(entry.value, type=as_type)
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
    """Store a value; False where the folder cannot be written, which only costs measuring again."""
    path = _path(folder, kind, key)
    entry = Stored(key, msgspec.Raw(msgspec.json.encode(value)))
    try:
        make_private(path.parent)
        with atomic_file(path) as scratch:
            scratch.write_bytes(msgspec.json.format(msgspec.json.encode(entry), indent=1))
    except OSError as error:
        log.debug("not stored in %s: %s", folder, error)
        return False
    return True


class _Keyed(msgspec.Struct, frozen=True):
    key: Key


def _path(folder: Path, kind: str, key: Key) -> Path:
    name = hashlib.sha256(msgspec.json.encode(key)).hexdigest()
    return folder / kind / f"{name}.json"
