"""What ``edgecnn run`` does with a pipeline: events are printed, written and counted."""

import threading
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgecnn.cli.terminal_text import strip_control
from edgecnn_runtime.errors import EdgecnnError

if TYPE_CHECKING:
    from edgecnn_runtime.pipeline import Pipeline
    from edgecnn_runtime.sinks.base import EventFile
    from edgecnn_runtime.sinks.events.crops import CropFolder
    from edgecnn_runtime.types import Event, FrameResult

PRINTING = threading.Lock()


class Follower:
    """A pipeline behind one source; used by the source's own thread.

    Attributes:
        counts: How many events of each type there were.
        records: ``{"file": path, "events": [record, …]}`` per picture, where they are collected.
    """

    def __init__(
        self,
        pipeline: "Pipeline",
        files: "Sequence[EventFile]",
        *,
        name: str,
        crops: "CropFolder | None",
        prints: bool,
        collects: bool,
    ) -> None:
        """Take no frame yet.

        Args:
            pipeline: Of this source alone.
            files: What every event is written to.
            name: What is printed in front of an event.
            crops: Where the crop of every event is written; None for nowhere.
            prints: Whether events are printed on standard output.
            collects: Whether those of pictures are collected.
        """
        self.counts: Counter[str] = Counter()
        self.records: list[dict[str, Any]] = []
        self._pipeline, self._files = pipeline, files
        self._name, self._crops = name, crops
        self._prints, self._collects = prints, collects

    def __call__(self, result: "FrameResult", /) -> "FrameResult":
        """Report what happened; returns the result with tracks in it."""
        events = self._report(self._pipeline.follow(result))
        if result.frame.file:
            self._answer(result.frame.file, events)
        return self._pipeline.drawable(result)

    def close(self) -> None:
        """Report what is known in the end. Idempotent."""
        self._report(self._pipeline.end())

    def _report(self, events: "Sequence[Event]") -> "Sequence[Event]":
        """Write, print and count events; returns them with the files of their crops."""
        from edgecnn_runtime.sinks.serialize import event_text

        if self._crops is not None:
            events = [self._crops.store(event) for event in events]
        for event in events:
            self.counts[event.type] += 1
            for file in self._files:
                file.write(event)
            if self._prints:
                _print_line(f"{event.details.get('file') or self._name}: {event_text(event)}")
        return events

    def _answer(self, file: str, events: "Sequence[Event]") -> None:
        """A picture has an answer, even where nothing happens in it."""
        from edgecnn_runtime.sinks.serialize import event_record

        if self._collects:
            records = [event_record(event) for event in events]
            self.records.append({"file": file, "events": records})
        if self._prints and not events:
            _print_line(f"{file}: (nothing)")


def _print_line(text: str) -> None:
    """Print one line on standard output, from any thread.

    Raises:
        EdgecnnError: Standard output is a file on a full disk.
        BrokenPipeError: The reader of standard output has closed it.
    """
    try:
        with PRINTING:
            print(strip_control(text.replace("\n", " ")), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise EdgecnnError(f"cannot write standard output: {error.strerror}") from None
