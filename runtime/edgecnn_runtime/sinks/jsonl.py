"""Results as JSON lines; ``serialize`` documents their keys."""

from pathlib import Path

import msgspec

from edgecnn_runtime.sinks.base import SinkKind
from edgecnn_runtime.sinks.serialize import frame_record, result_records
from edgecnn_runtime.sinks.text_file import TextFile
from edgecnn_runtime.types import FrameResult


class JsonLines:
    """Sink of one JSON object per frame that has results; may be shared by threads."""

    def __init__(self, path: Path) -> None:
        """Open the file, empty.

        Raises:
            UsageError: It cannot be written.
        """
        self._file = TextFile(path)

    def write(self, result: FrameResult, /) -> None:
        """Append a line, unless the frame has no results.

        Raises:
            EdgecnnError: The disk is full; what was appended before stays.
        """
        if records := result_records(result):
            line = msgspec.json.encode({**frame_record(result), "results": records})
            self._file.append(line.decode() + "\n")

    def close(self) -> None:
        """Close the file; idempotent."""
        self._file.close()


KIND = SinkKind(
    flag="events",
    help="a JSON line for each frame with results",
    open=lambda path, _: JsonLines(path),
    shared=True,
    summary_key="events",
)
