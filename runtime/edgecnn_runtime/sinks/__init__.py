"""What becomes of results: annotated video or picture, JSON lines, CSV.

A new sink is one file here, with its ``KIND``, and one line in SINKS.
"""

from collections.abc import Mapping
from pathlib import Path

from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.sinks import csv, jsonl, snapshot, video
from edgecnn_runtime.sinks.base import FrameSink, SinkKind, StreamInfo

__all__ = ["SINKS", "FrameSink", "SinkKind", "StreamInfo", "sink_for"]

SINKS: Mapping[str, SinkKind] = {
    "video": video.KIND,
    "snapshot": snapshot.KIND,
    "jsonl": jsonl.KIND,
    "csv": csv.KIND,
}


def sink_for(flag: str, path: Path) -> SinkKind:
    """The kind of sink that writes a file, by its flag and its ending.

    Raises:
        UsageError: No kind writes files of this ending, or the file surely cannot be written.
    """
    kinds = [kind for kind in SINKS.values() if kind.flag == flag]
    suffixes = [suffix for kind in kinds for suffix in kind.suffixes]
    for kind in kinds:
        if not kind.suffixes or path.suffix.lower() in kind.suffixes:
            break
    else:
        raise UsageError(f"{path}: its name must end in {', '.join(suffixes)}")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file in it")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is not a folder {path.parent}: make it first")
    return kind
