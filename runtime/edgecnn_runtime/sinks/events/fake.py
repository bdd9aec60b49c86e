"""An event sink without a file or a network: it records what it is told.

It ships with the package so that delivery and the daemon can be tested without either.
"""

from collections.abc import Sequence

from edgecnn_runtime.errors import SinkDownError
from edgecnn_runtime.sinks.events.base import EventSinkKind, SinkSettings
from edgecnn_runtime.types import Event


class FakeSettings(SinkSettings, frozen=True, kw_only=True, tag_field="kind", tag="fake"):
    """Settings of a sink that records."""


class FakeEventSink:
    """Records events in memory.

    Attributes:
        events: Everything that was delivered, in order.
        down: Why it refuses; empty while it does not.
        started: Whether ``start`` was called.
        closed: Whether ``close`` was called.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.down = ""
        self.started = False
        self.closed = False

    def start(self) -> None:
        """Note it."""
        self.started = True

    def deliver(self, events: Sequence[Event], /) -> None:
        """Record events.

        Raises:
            SinkDownError: ``down`` says why.
        """
        if self.down:
            raise SinkDownError(self.down)
        self.events += events

    def close(self) -> None:
        """Note it."""
        self.closed = True


KIND = EventSinkKind(settings=FakeSettings, open=lambda _settings, _context: FakeEventSink())
