"""From the outbox to the sinks: at least once, in order, whatever a sink or the process does."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from edgecnn_runtime.delivery import BATCH, Delivery, Route
from edgecnn_runtime.errors import SinkDownError
from edgecnn_runtime.outbox import Outbox
from edgecnn_runtime.types import Event

MakeEvent = Callable[..., Event]
PAUSES = (0.001, 0.01)


class Recorder:
    """A sink that records, refuses on demand, and lets others wait for what it hears."""

    def __init__(self, down: str = "") -> None:
        self.events: list[Event] = []
        self.batches: list[int] = []
        self.down = down
        self.threads: set[str] = set()
        self.calls: list[str] = []
        self.heard = threading.Condition()

    def start(self) -> None:
        self.calls.append("start")

    def deliver(self, events: Sequence[Event], /) -> None:
        self.threads.add(threading.current_thread().name)
        with self.heard:
            self.heard.notify_all()
            if self.down:
                raise SinkDownError(self.down)
            self.events += events
            self.batches.append(len(events))

    def close(self) -> None:
        self.calls.append("close")

    def numbers(self) -> list[int]:
        return [int(event.id, 16) for event in self.events]

    def wait_for(self, count: int) -> None:
        with self.heard:
            assert self.heard.wait_for(lambda: len(self.events) >= count, 60)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path, spacing=0.0) as box:
        yield box


def test_every_sink_is_told_of_everything_in_order(outbox: Outbox, make_event: MakeEvent) -> None:
    sinks = {name: Recorder() for name in "ab"}
    with Delivery(outbox, {name: Route(sink=sink) for name, sink in sinks.items()}) as delivery:
        for number in range(50):
            outbox.append([make_event(number)])
        for sink in sinks.values():
            sink.wait_for(50)
    for name, sink in sinks.items():
        assert sink.numbers() == list(range(50))
        assert sink.threads == {f"sink {name}"}
        assert sink.calls == ["start", "close"]
    assert [(status.delivered, status.queue) for status in delivery.status()] == [(50, 0)] * 2


def test_a_sink_that_is_down_holds_nobody_up_and_misses_nothing(
    outbox: Outbox, make_event: MakeEvent
) -> None:
    down, well = Recorder("no route to host"), Recorder()
    routes = {"down": Route(sink=down, kind="mqtt"), "well": Route(sink=well)}
    with Delivery(outbox, routes, pauses=PAUSES) as delivery:
        outbox.append([make_event(number) for number in range(2 * BATCH + 5)])
        well.wait_for(2 * BATCH + 5)
        with down.heard:
            assert down.heard.wait(60)
        status = delivery.status()[0]
        assert (status.name, status.kind) == ("down", "mqtt")
        assert status.problem == "no route to host"
        assert (status.delivered, status.queue) == (0, 2 * BATCH + 5)
        assert status.failures > 0
        down.down = ""
        down.wait_for(2 * BATCH + 5)
        outbox.append([make_event(1000)])
        down.wait_for(2 * BATCH + 6)
    assert down.numbers() == [*range(2 * BATCH + 5), 1000]
    assert max(down.batches) == BATCH
    status = delivery.status()[0]
    assert (status.queue, status.problem) == (0, "")


def test_a_defect_of_a_sink_is_no_end_of_its_deliveries(
    outbox: Outbox, make_event: MakeEvent
) -> None:
    sink = Recorder()
    deliver, failures = sink.deliver, iter([ZeroDivisionError(), KeyError("x")])

    def defective(events: Sequence[Event], /) -> None:
        for failure in failures:
            raise failure
        deliver(events)

    sink.deliver = defective  # type: ignore[method-assign] # fails for a while
    with Delivery(outbox, {"sink": Route(sink=sink)}, pauses=PAUSES):
        outbox.append([make_event(1)])
        sink.wait_for(1)
    assert sink.numbers() == [1]


def test_a_sink_that_does_not_start_is_started_again(outbox: Outbox, make_event: MakeEvent) -> None:
    sink = Recorder()
    failed, may_start = threading.Event(), threading.Event()

    def start() -> None:
        if not may_start.is_set():
            failed.set()
            raise SinkDownError("no such host")

    sink.start = start  # type: ignore[method-assign] # fails for a while
    with Delivery(outbox, {"sink": Route(sink=sink)}, pauses=PAUSES) as delivery:
        outbox.append([make_event(1)])
        assert failed.wait(60)
        waits = range(6000)  # a minute: not hung
        assert any(delivery.status()[0].problem or may_start.wait(0.01) for _ in waits)
        assert delivery.status()[0].problem == "no such host"
        may_start.set()
        sink.wait_for(1)
    assert sink.numbers() == [1]


def test_a_sink_is_told_only_of_what_it_takes(outbox: Outbox, make_event: MakeEvent) -> None:
    """What it does not take counts as delivered."""
    sink = Recorder()
    route = Route(sink=sink, takes=lambda event: event.camera == "yard")
    with Delivery(outbox, {"sink": route}) as delivery:
        outbox.append([make_event(n, camera="yard" if n % 3 == 0 else "gate") for n in range(10)])
        sink.wait_for(4)
    assert sink.numbers() == [0, 3, 6, 9]
    assert delivery.status()[0].queue == 0


def test_the_next_process_goes_on_where_this_one_ended(
    tmp_path: Path, make_event: MakeEvent
) -> None:
    first, second = Recorder(), Recorder("down")
    with Outbox(tmp_path) as outbox:
        with Delivery(outbox, {"a": Route(sink=first), "b": Route(sink=second)}, pauses=PAUSES):
            outbox.append([make_event(1), make_event(2)])
            first.wait_for(2)
        outbox.append([make_event(3)])
    second.down = ""
    routes = {"a": Route(sink=first), "b": Route(sink=second)}
    with Outbox(tmp_path) as outbox, Delivery(outbox, routes):
        first.wait_for(3)
        second.wait_for(3)
    assert first.numbers() == second.numbers() == [1, 2, 3]


def test_a_new_sink_hears_nothing_of_before(outbox: Outbox, make_event: MakeEvent) -> None:
    sink = Recorder()
    outbox.append([make_event(1)])
    with Delivery(outbox, {"new": Route(sink=sink)}):
        outbox.append([make_event(2)])
        sink.wait_for(1)
    assert sink.numbers() == [2]


def test_a_sink_that_hangs_is_abandoned(outbox: Outbox, make_event: MakeEvent) -> None:
    inside, release = threading.Event(), threading.Event()
    sink = Recorder()

    def hang(_: Sequence[Event], /) -> None:
        inside.set()
        release.wait(60)

    sink.deliver = hang  # type: ignore[method-assign] # a sink that hangs
    delivery = Delivery(outbox, {"sink": Route(sink=sink)})
    outbox.append([make_event(1)])
    assert inside.wait(60)
    delivery.close(timeout=0.05)
    assert sink.calls == ["start"]
    assert outbox.pending("sink") == 1
    release.set()
