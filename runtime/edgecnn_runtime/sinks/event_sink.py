"""The seam of event sinks: who is told of events, at least once and in order."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from edgecnn_runtime.types import Event, Frame


class EventSink(Protocol):
    """Is told of events that the outbox holds; called by one thread of its own.

    An event may come again after a crash or a failure; ``event.id`` tells.
    """

    def start(self) -> None:
        """Begin what takes time, such as a connection; called once, and returns at once."""

    def deliver(self, events: Sequence[Event], /) -> None:
        """Hand events on, all of them or as if none had been.

        Args:
            events: In their order, at least one; ``evidence`` names files of the outbox.

        Raises:
            SinkDownError: Not possible now; the same events come again after a pause.
        """

    def close(self) -> None:
        """Complete what was begun; idempotent."""


@runtime_checkable
class FrameWatcher(Protocol):
    """An event sink that needs frames, too, such as one that writes clips."""

    def watch(self, camera: str, frame: Frame, /) -> None:
        """Take a frame; called by the threads of cameras, and returns soon.

        Args:
            camera: Its name.
            frame: As it may be stored: masked areas are black, faces blurred where the site asks
                for that. Only read.
        """
