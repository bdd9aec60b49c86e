"""The seam of sinks: what receives every frame's result."""

from typing import Protocol

from edgecnn_runtime.types import FrameResult


class FrameSink(Protocol):
    """Receives every frame's result; called by one thread at a time unless it is shared."""

    def write(self, result: FrameResult, /) -> None:
        """Take one frame's result.

        Args:
            result: Its ``frame.pixels`` are read-only: a sink that draws has a buffer of its own.

        Raises:
            EdgecnnError: It cannot be written (disk full); the message names the file.
        """

    def close(self) -> None:
        """Complete the output; idempotent.

        Raises:
            EdgecnnError: It cannot be completed; the message names the file.
        """
