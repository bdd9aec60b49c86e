"""The outbox: every event is committed here before anyone hears of it.

One folder: ``events.sqlite``, and the pictures of events in ``evidence/YYYY/MM/DD/``.

    Outbox          the one process that writes
    OutboxReader    whoever reads, in any process
    EventFilter     which events
    Retention       for how long, and on how much disk
    FrameLimits     how large, and how many, the full frames of events are
"""

from edgecnn_runtime.outbox.evidence import FrameLimits
from edgecnn_runtime.outbox.reader import EventFilter, OutboxReader, StoredEvent
from edgecnn_runtime.outbox.retention import Retention
from edgecnn_runtime.outbox.writer import Outbox, OutboxFigures

__all__ = [
    "EventFilter", "FrameLimits", "Outbox", "OutboxFigures", "OutboxReader", "Retention",
    "StoredEvent",
]  # fmt: skip
