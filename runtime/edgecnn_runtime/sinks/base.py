"""The seam of sinks: what receives every frame's result, and how a command offers it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgecnn_runtime.preprocess import Roi
from edgecnn_runtime.sinks.existing import Existing
from edgecnn_runtime.types import Event, FrameResult


class FrameSink(Protocol):
    """Receives every frame's result. A shared sink is thread-safe, any other has one caller."""

    def write(self, result: FrameResult, /) -> None:
        """Take one frame's result.

        Args:
            result: Its ``frame.pixels`` are read-only: a sink that draws has a buffer of its own.

        Raises:
            EdgecnnError: It cannot be written (disk full); the message names the file. It may
                be called again all the same.
            BrokenPipeError: It is a pipe whose reader has enough: a regular end of the run.
        """

    def close(self) -> None:
        """Complete the output; idempotent.

        Raises:
            EdgecnnError: It cannot be completed; the message names the file.
        """


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What a sink may use of the stream that it is opened for.

    Attributes:
        fps: Nominal frames per second of the source; 0.0 where it has none, or there are several.
        labels: Class names of the model by class number; empty where it has none.
        roi: The part of each frame that the model is given; None for all of it.
        root: The folder that the pictures of the source lie in, absolute; None for other sources.
        existing: What becomes of a file from an earlier run.
    """

    fps: float = 0.0
    labels: Sequence[str] = ()
    roi: Roi | None = None
    root: Path | None = None
    existing: Existing = "keep"


class EventFile(Protocol):
    """A file that a run of a pipeline writes its events to; shared by threads."""

    def write(self, event: Event, /) -> None:
        """Append an event.

        Raises:
            EdgecnnError: It cannot be written.
            BrokenPipeError: It is a pipe whose reader has enough.
        """

    def close(self) -> None:
        """Complete the file; idempotent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkKind:
    """One kind of sink, as ``edgecnn run`` offers it.

    Several kinds may share a flag; the ending of the file then decides.

    Attributes:
        flag: The flag without its dashes, such as ``"events"``.
        help: What is written, for ``--help`` and docs/commands.md.
        open: Makes the sink of a file; raises EdgecnnError where that cannot be written.
        open_events: Makes the same of events, where a pipeline is run; None for a kind that has no
            use for them: it is given results, as ever.
        suffixes: File endings it writes, in lower case with their dot; ``/`` for a folder, empty
            for any.
        shared: One sink for all sources, called by several threads at once; otherwise each source
            has its own, in a file of its own.
        summary_key: The file's key in ``edgecnn run --json``: of the run where the sink is
            shared, of each source otherwise.
        metavar: The flag's value in ``--help``.
        stdout: Whether ``-`` for its file is standard output.
    """

    flag: str
    help: str
    open: Callable[[Path, StreamInfo], FrameSink]
    suffixes: tuple[str, ...] = ()
    shared: bool = False
    summary_key: str
    metavar: str = "FILE"
    stdout: bool = False
    open_events: "Callable[[Path, StreamInfo], EventFile] | None" = None

    @property
    def is_folder(self) -> bool:
        """Whether it writes a folder and not a file."""
        return "/" in self.suffixes
