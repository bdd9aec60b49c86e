"""Engines that were built on this machine, stored in the cache directory.

An engine is executable code, so only what this user built here is ever loaded: the folder and its
files must belong to this user, be writable by nobody else, and hold what was written.
"""

import hashlib
import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from edgecnn_runtime.bundle.atomic import atomic_replace, remove_stale
from edgecnn_runtime.device.cache import Key, describe_outdated, make_private

KIND = "engines"
CONTENTS = "contents.json"
GROUP_OR_OTHER_WRITE = stat.S_IWGRP | stat.S_IWOTH

log = logging.getLogger(__name__)


class Contents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is in a folder.

    Attributes:
        key: everything the engine depends on.
        files: sha256 by name.
    """

    key: Key
    files: dict[str, str]


def store_engine(cache: Path, key: Key, files: Mapping[str, bytes]) -> bool:
    """Store what was built, all of it or nothing; False where the folder cannot be written."""
    out = _folder(cache, key)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    try:
        make_private(out.parent)
        remove_stale(out)
        with atomic_replace(out) as folder:
            contents = msgspec.json.encode(Contents(key, hashes))
            for name, content in {**files, CONTENTS: contents}.items():
                (folder / name).write_bytes(content)
                (folder / name).chmod(0o600)
    except OSError as error:
        log.warning("the engine is not stored, and will be built again: %s", error)
        return False
    return True


def load_engine(cache: Path, key: Key) -> Path | None:
    """The folder with what ``store_engine`` stored; None where it cannot be trusted."""
    folder = _folder(cache, key)
    try:
        contents = msgspec.json.decode(_own(folder, folder / CONTENTS), type=Contents)
        if contents.key != key:
            return None
        for name, expected in contents.files.items():
            path = folder / name
            if path.parent != folder or hashlib.sha256(_own(folder, path)).hexdigest() != expected:
                raise PermissionError(f"{path} is not what was written")
    except FileNotFoundError:
        if outdated := describe_outdated(cache, KIND, key, identity=3):
            log.warning("the engine stored here is not used, and built again: %s", outdated)
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("a stored engine is not used, and will be built again: %s", error)
        return None
    return folder


def _own(folder: Path, path: Path) -> bytes:
    """The content of a plain file that only this user can have written."""
    for place in (folder, path):
        status = place.lstat()
        plain = stat.S_ISDIR(status.st_mode) if place == folder else stat.S_ISREG(status.st_mode)
        if not plain or status.st_uid != os.geteuid() or status.st_mode & GROUP_OR_OTHER_WRITE:
            raise PermissionError(f"{place} can be written by others, or is a link")
    return path.read_bytes()


def _folder(cache: Path, key: Key) -> Path:
    return cache / KIND / hashlib.sha256(msgspec.json.encode(key)).hexdigest()
