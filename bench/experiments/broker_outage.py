"""Does every event arrive after the broker was away, and the daemon was killed?

The outbox and the delivery of the daemon, in a process of their own, record 20 events a second and
publish them to a real broker (Mosquitto). The broker is stopped for ten minutes; then the process
is killed with kill -9, and both are started again. Whoever subscribes has to see every event, in
order once repeated ids are left out.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from lib.experiment import Experiment, Options, Row, main

from edgecnn_bench.soak.mqtt_broker import PROGRAM, Broker, Subscriber

RATE = 20.0
BEFORE, OUTAGE, QUICK_OUTAGE = 5.0, 600.0, 10.0
LONGEST_CATCH_UP = 300.0
DAEMON = """
import sys, threading, time
from pathlib import Path
import msgspec
from edgecnn_runtime.delivery import Delivery, open_routes
from edgecnn_runtime.outbox import Outbox
from edgecnn_runtime.sinks.events import SinkConfig
from edgecnn_runtime.types import Event

folder, port, rate = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
settings = {"kind": "mqtt", "host": "127.0.0.1", "port": port}
sinks = {"home": msgspec.convert(settings, SinkConfig)}
with Outbox(folder) as outbox:
    with Delivery(outbox, open_routes(sinks, folder, folder, ["gate"])):
        begin, number = time.monotonic(), 0
        while rate:
            threading.Event().wait(max(0.0, begin + number / rate - time.monotonic()))
            outbox.append([Event(id=f"{number:032x}", type="entered", camera="gate",
                                 time=time.time())])
            print(number, flush=True)
            number += 1
        threading.Event().wait()
"""


def measure(options: Options) -> Iterator[Row]:
    """One outage, and what came of it."""
    if PROGRAM is None:
        raise SystemExit("broker_outage needs Debian's mosquitto: apt install mosquitto")
    outage = QUICK_OUTAGE if options.quick else OUTAGE
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "broker").mkdir()
        broker = Broker(folder / "broker")
        broker.start()
        subscriber = Subscriber(broker.port)
        try:
            last = record_and_kill(folder / "state", broker, outage)
            began = time.monotonic()
            broker.start()
            with start_daemon(folder / "state", broker.port, 0.0) as daemon:
                try:
                    subscriber.wait_for(lambda: has(subscriber, last), LONGEST_CATCH_UP)
                except TimeoutError:
                    print("the last event has not come")
                seconds = time.monotonic() - began
                daemon.kill()
        finally:
            subscriber.close()
            broker.stop()
    ids = [int(each, 16) for each in subscriber.event_ids()]
    first_of_each = list(dict.fromkeys(ids))
    shared = {
        "goal": 0, "unit": "", "events": last + 1, "repeated": len(ids) - len(first_of_each),
        "outage_seconds": outage, "catch_up_seconds": seconds,
    }  # fmt: skip
    disorder = sum(a > b for a, b in pairwise(first_of_each))
    yield {"what": "acknowledged and lost", "value": last + 1 - len(first_of_each), **shared}
    yield {"what": "out of order", "value": disorder, **shared}


def has(subscriber: Subscriber, number: int) -> bool:
    """Whether an event has come just now."""
    return any(f"{number:032x}".encode() in payload for _, payload in subscriber.messages[-5:])


def record_and_kill(folder: Path, broker: Broker, outage: float) -> int:
    """Events with the broker, then without; the number of the last one that was acknowledged."""
    last = -1
    with start_daemon(folder, broker.port, RATE) as daemon:
        assert daemon.stdout is not None
        for line in daemon.stdout:
            last = int(line)
            if last == int(RATE * BEFORE):
                broker.stop()
            if last >= RATE * (BEFORE + outage):
                break
        daemon.kill()
        rest = [int(line) for line in daemon.stdout if line.endswith("\n")]
    return max([last, *rest])


def start_daemon(folder: Path, port: int, rate: float) -> "subprocess.Popen[str]":
    """A process that records events at a rate, or only delivers if that is 0."""
    words = [sys.executable, "-c", DAEMON, str(folder), str(port), str(rate)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def notes(rows: list[Row]) -> Iterator[str]:
    """What was not limited."""
    row = rows[0]
    yield (
        f"{row['events']:,} events, {row['repeated']} came twice; {row['outage_seconds']:.0f} s "
        f"without a broker; all were there {row['catch_up_seconds']:.1f} s after both had started"
    )


if __name__ == "__main__":
    sys.exit(
        main(
            __doc__,
            Experiment(
                name="broker_outage",
                title="the broker is away, and the daemon is killed",
                measure=measure,
                notes=lambda rows: notes(list(rows)),
                facts={"events_per_second": RATE},
                needs_assets=False,
            ),
        )
    )
