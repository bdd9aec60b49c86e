"""Zip archives as torch writes them: read once, within bounds, and written again plainly.

Python's zipfile and torch's own reader need not agree on what a crafted zip contains. So a file
that has to be scanned is read here, and the scanned members are written to a fresh archive in
memory: the loader sees those bytes and no others.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from edgecnn_runtime.errors import CheckpointError

UNPACKED_SLACK = 64 << 20
"""torch compresses source code only, so a file unpacks to hardly more than its own size."""
ROOT = "model"
ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, struct.error, OSError, ValueError, EOFError, RuntimeError,
    LookupError,
)  # fmt: skip
"""What zipfile raises on crafted or damaged archives."""


def read_archive(path: Path) -> dict[str, bytes]:
    """Every member of a torch archive, by its name below the archive's one folder.

    Raises:
        CheckpointError: The archive is damaged or a zip bomb, or has a member twice or outside the
            folder.
    """
    check_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _check_names(path, archive.namelist())
            return {
                entry.filename.partition("/")[2]: archive.read(entry)
                for entry in archive.infolist()
            }
    except ZIP_ERRORS as error:
        raise CheckpointError(f"{path} is damaged: {error}; copy or download it again") from None


def check_size(path: Path) -> None:
    """Refuse a zip bomb.

    Raises:
        CheckpointError: The archive unpacks to much more than its size, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except ZIP_ERRORS as error:
        raise CheckpointError(f"{path} is damaged: {error}; copy or download it again") from None
    if unpacked > path.stat().st_size + UNPACKED_SLACK:
        raise CheckpointError(f"{path} unpacks to {unpacked >> 20:,} MiB: it is a zip bomb")


def write_archive(members: Mapping[str, bytes]) -> io.BytesIO:
    """An archive of these members in memory, ready for a torch loader."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(f"{ROOT}/{name}"), content)
    file.seek(0)
    return file


def _check_names(path: Path, names: list[str]) -> None:
    if len({name.casefold() for name in names}) != len(names):
        raise CheckpointError(f"{path} holds the same member twice: it was tampered with")
    roots = {name.partition("/")[0] for name in names}
    for name in names:
        parts = name.split("/")
        if len(roots) != 1 or len(parts) < 2 or any(part in {"", ".", ".."} for part in parts):
            raise CheckpointError(f"{path} holds {name!r}, a name that torch does not write")
