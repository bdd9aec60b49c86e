"""Zip archives as torch writes them: read once, within bounds, and written again plainly.

Python's zipfile and torch's own reader need not agree on what a crafted zip holds. So a file
that has to be scanned is read here, and what was scanned is written to a fresh archive in
memory: the loader sees those bytes and no others.
"""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from edgecnn_runtime.errors import CheckpointError

UNPACKED_SLACK = 64 << 20
"""torch compresses source code only, so a file unpacks to little more than its own size."""
ROOT = "model"


def read_archive(path: Path) -> dict[str, bytes]:
    """Every member of a torch archive by its name under the one folder all of them are in.

    Raises CheckpointError for a damaged archive, a zip bomb, names given twice or names that
    leave the folder.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_bounds(path, entries)
            members = {entry.filename.partition("/")[2]: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise CheckpointError(f"{path} is damaged: {error}; copy or download it again") from None
    return members


def write_archive(members: Mapping[str, bytes]) -> io.BytesIO:
    """The same members as an archive in memory, ready for a torch loader."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(f"{ROOT}/{name}"), content)
    file.seek(0)
    return file


def _check_bounds(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > path.stat().st_size + UNPACKED_SLACK:
        raise CheckpointError(f"{path} unpacks to {unpacked >> 20:,} MiB: it is a zip bomb")
    names = [entry.filename for entry in entries]
    if len({name.casefold() for name in names}) != len(names):
        raise CheckpointError(f"{path} holds the same member twice: it was tampered with")
    for name in names:
        root, _, inside = name.partition("/")
        parts = inside.split("/")
        if root != names[0].partition("/")[0] or any(part in {"", ".", ".."} for part in parts):
            raise CheckpointError(f"{path} holds {name!r}, which no torch version writes")
