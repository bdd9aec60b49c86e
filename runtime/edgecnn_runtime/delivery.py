"""From the outbox to the sinks: one thread per sink, each with a place of its own.

    outbox ─▶ replay from the sink's place ─▶ deliver ─▶ advance the place
                       ▲                        │ SinkDownError
                       └── pause with back-off ─┘

A sink that is down costs nothing but its own delay: what it was not told of stays in the outbox.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.outbox import Outbox
from edgecnn_runtime.sinks.event_sink import EventSink
from edgecnn_runtime.sinks.events import SinkContext, SinkSettings, kind_of, open_event_sink
from edgecnn_runtime.types import Event

BATCH = 100
"""Events that a sink is handed at once."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds between two attempts: doubled each time, and up to a half shorter by chance, so that many
devices do not come back to a server together."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One sink, and what it is told of.

    Attributes:
        sink: Started and closed by the thread that delivers to it.
        takes: Whether it is told of an event; what it is not told of counts as delivered.
        kind: Its kind, for people.
    """

    sink: EventSink
    takes: Callable[[Event], bool] = lambda _: True
    kind: str = ""


def open_routes(
    sinks: Mapping[str, SinkSettings], folder: Path, outbox: Path, cameras: Sequence[str]
) -> dict[str, Route]:
    """Check the sinks of a site and make them; nothing is connected, written or started.

    Args:
        sinks: Their settings by name, as they stand in site.yaml.
        folder: Of site.yaml.
        outbox: The folder of the outbox.
        cameras: The names of all cameras.

    Raises:
        ConfigError: A value cannot be right; the message names its key.
        BackendMissingError: A package is not installed.
    """
    return {
        name: Route(
            sink=open_event_sink(settings, SinkContext(name, folder, outbox, cameras)),
            takes=settings.takes,
            kind=kind_of(settings),
        )
        for name, settings in sinks.items()
    }


class SinkStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One event sink, as it is now.

    Attributes:
        name: Its name in site.yaml.
        kind: Its kind, such as "mqtt".
        queue: Committed events that it has not been told of yet.
        delivered: Events that it was told of since the start.
        failures: Deliveries that failed since the start; each is tried again.
        problem: Why it cannot be told of events now; empty while it can.
    """

    name: str
    kind: str
    queue: int
    delivered: int
    failures: int
    problem: str


class Delivery:
    """Tells every sink of every event, at least once and in order."""

    def __init__(
        self,
        outbox: Outbox,
        routes: Mapping[str, Route],
        *,
        pauses: tuple[float, float] = (FIRST_PAUSE, LONGEST_PAUSE),
    ) -> None:
        """Start a thread per sink.

        Args:
            outbox: Stays the caller's, and is closed after this. It is told which sinks there are.
            routes: The sinks by their names in site.yaml; the outbox knows their places by these.
            pauses: Seconds of the first and of the longest pause after failures.
        """
        outbox.set_sinks(list(routes))
        self._workers = [_Worker(outbox, *item, pauses) for item in routes.items()]
        self._unsubscribe = outbox.subscribe(self._wake)
        for worker in self._workers:
            worker.thread.start()

    def __enter__(self) -> "Delivery":
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def status(self) -> list[SinkStatus]:
        """Every sink, in the order in which they were given."""
        return [worker.status() for worker in self._workers]

    def close(self, timeout: float = 2.0) -> None:
        """Stop after what is being delivered now; idempotent.

        Args:
            timeout: Seconds to wait for that. A sink that hangs is abandoned: what it was not told
                of is delivered by the next process.
        """
        self._unsubscribe()
        for worker in self._workers:
            worker.stop.set()
            worker.wake.set()
        end = time.monotonic() + timeout
        for worker in self._workers:
            worker.thread.join(max(0.0, end - time.monotonic()))
            if worker.thread.is_alive():
                log.warning("sink %s does not answer, and is abandoned", worker.name)

    def _wake(self) -> None:
        for worker in self._workers:
            worker.wake.set()


class _Worker:
    """The thread of one sink."""

    def __init__(
        self, outbox: Outbox, name: str, route: Route, pauses: tuple[float, float]
    ) -> None:
        self.name = name
        self.stop = threading.Event()
        self.wake = threading.Event()
        self.thread = threading.Thread(target=self._work, name=f"sink {name}", daemon=True)
        self._outbox = outbox
        self._route = route
        self._pauses = pauses
        self._problem = ""
        self._delivered = self._failures = 0

    def status(self) -> SinkStatus:
        """As it is now."""
        try:
            queue = self._outbox.pending(self.name)
        except EdgecnnError:  # which whoever writes the outbox reports
            queue = 0
        return SinkStatus(
            name=self.name, kind=self._route.kind, queue=queue, delivered=self._delivered,
            failures=self._failures, problem=self._problem,
        )  # fmt: skip

    def _work(self) -> None:
        sink, started = self._route.sink, False
        try:
            attempt = 0
            while not self.stop.is_set():
                self.wake.clear()
                try:
                    if not started:
                        sink.start()
                        started = True
                    more = self._deliver_batch()
                except EdgecnnError as error:
                    self._fail(str(error))
                except Exception as error:
                    log.exception("sink %s", self.name)
                    self._fail(f"a defect of this sink: {type(error).__name__}")
                else:
                    attempt = 0
                    if not more:
                        self.wake.wait()
                    continue
                self.stop.wait(self._pause(attempt))
                attempt += 1
        finally:
            sink.close()

    def _deliver_batch(self) -> bool:
        """Deliver what comes next; whether there may be more."""
        place = self._outbox.cursor(self.name)
        batch = self._outbox.events.replay(after=place, limit=BATCH)
        events = [event for _, event in batch if self._route.takes(event)]
        if events:
            self._route.sink.deliver(events)
            self._delivered += len(events)
            if self._problem:
                log.warning("sink %s takes events again", self.name)
                self._problem = ""
        if batch:
            self._outbox.advance(self.name, batch[-1].sequence)
        return len(batch) == BATCH

    def _fail(self, reason: str) -> None:
        self._failures += 1
        if not self._problem:
            log.warning("sink %s is down: %s; its events wait in the outbox", self.name, reason)
        self._problem = reason

    def _pause(self, attempt: int) -> float:
        first, longest = self._pauses
        pause = min(longest, first * 2.0 ** min(attempt, 16))
        return pause * random.uniform(0.5, 1.0)  # noqa: S311  (chance, not a secret)
