"""The seam of event sinks: who is told of events, at least once and in order."""

from collections.abc import Sequence
from typing import Protocol

from edgecnn_runtime.types import Event


class EventSink(Protocol):
    """Is told of events that the outbox holds; called by one thread of its own.

    An event may come again after a crash or a failure; ``event.id`` tells.
    """

    def deliver(self, events: Sequence[Event], /) -> None:
        """Hand events on, all of them or as if none had been.

        Args:
            events: In their order, at least one; ``evidence`` names files of the outbox.

        Raises:
            SinkDownError: Not possible now; the same events come again after a pause.
        """

    def close(self) -> None:
        """Complete what was begun; idempotent."""
