"""What becomes of results: annotated video or pictures, JSON lines, CSV.

A new sink is one file here, with its ``KIND``, and one line in SINKS.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.sinks import csv, jsonl, snapshot, video
from edgecnn_runtime.sinks.base import FrameSink, SinkKind, StreamInfo
from edgecnn_runtime.sinks.text_file import STDOUT

__all__ = ["SINKS", "STDOUT", "FrameSink", "SinkKind", "StreamInfo", "sink_for"]

SINKS: Mapping[str, SinkKind] = {
    "video": video.KIND,
    "snapshot": snapshot.KIND,
    "pictures": snapshot.FOLDER_KIND,
    "jsonl": jsonl.KIND,
    "csv": csv.KIND,
}


def sink_for(flag: str, name: str) -> SinkKind:
    """The kind of sink that writes a file or folder, by its flag and the ending of its name.

    Args:
        flag: Without its dashes.
        name: As it was typed: ``-`` is standard output where the kind writes there, and a folder
            ends in ``/`` or exists.

    Raises:
        UsageError: No kind writes files of this ending, or the file surely cannot be written.
    """
    kinds = [kind for kind in SINKS.values() if kind.flag == flag]
    path = Path(name)
    try:
        is_folder = name.endswith("/") or path.is_dir()
        has_parent = path.parent.is_dir()
    except PermissionError:
        raise UsageError(f"{name}: {_who()} may not enter {path.parent}") from None
    suffix = snapshot.FOLDER if is_folder else path.suffix.lower()
    suffixes = [suffix for kind in kinds for suffix in kind.suffixes]
    for kind in kinds:
        if name == STDOUT and kind.stdout:
            return kind
        if suffix in kind.suffixes or not (kind.suffixes or is_folder):
            break
    else:
        if is_folder:
            raise UsageError(f"{name} is a folder: name a file in it")
        raise UsageError(f"{name}: its name must end in {', '.join(suffixes)}")
    if not has_parent:
        raise UsageError(f"{name}: there is not a folder {path.parent}: make it first")
    target = path if path.exists() else path.parent
    if not os.access(target, os.W_OK):
        raise UsageError(f"{name}: {_who()} may not write {target}")
    return kind


def _who() -> str:
    return f"this user (uid {os.getuid()})"
