"""What this machine has learnt about a bundle: kept beside, never in it.

Small JSON files, each named by a hash of everything its content depends on, so nothing in here is
ever out of date; deleting the folder costs only the time to learn it again.
"""

import contextlib
import hashlib
import logging
import os
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")
LIMIT = 1 << 20

log = logging.getLogger(__name__)


def default_cache_dir() -> Path:
    """The service's state directory under systemd, else the user's (XDG)."""
    if service := os.environ.get("STATE_DIRECTORY"):
        return Path(service.split(":")[0])
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "edgecnn"


def recall(folder: Path, kind: str, key: tuple[str, ...], as_type: type[T]) -> T | None:
    """What ``remember`` kept under this key; None where there is nothing usable."""
    path = _path(folder, kind, key)
    try:
        if path.stat().st_size <= LIMIT:
            return msgspec.json.decode(path.read_bytes(), type=as_type)
    except (OSError, msgspec.DecodeError):
        pass
    return None


def remember(folder: Path, kind: str, key: tuple[str, ...], value: object) -> None:
    """Keep a value; a folder that cannot be written only costs learning it again."""
    path = _path(folder, kind, key)
    scratch = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        scratch.write_bytes(msgspec.json.encode(value))
        scratch.replace(path)
    except OSError as error:
        log.debug("not kept in %s: %s", folder, error)
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)


def _path(folder: Path, kind: str, key: tuple[str, ...]) -> Path:
    name = hashlib.sha256(msgspec.json.encode(key)).hexdigest()
    return folder / kind / f"{name}.json"
