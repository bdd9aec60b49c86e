"""Events at a real broker: who may connect, what others see of us, and what comes after a crash."""

import json
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgecnn_runtime.errors import SinkDownError
from edgecnn_runtime.sinks.events import SinkConfig, SinkContext, open_event_sink
from edgecnn_runtime.types import Event

MakeEvent = Callable[..., Event]
SECRET = "correct-horse-battery"

DAEMON = """
import sys, threading
from pathlib import Path
import msgspec
from edgecnn_runtime.delivery import Delivery, open_routes
from edgecnn_runtime.outbox import Outbox
from edgecnn_runtime.sinks.events import SinkConfig
from edgecnn_runtime.types import Event

folder, port, first, count = Path(sys.argv[1]), *map(int, sys.argv[2:])
settings = {"kind": "mqtt", "host": "127.0.0.1", "port": port, "timeout": 2}
sinks = {"home": msgspec.convert(settings, SinkConfig)}
with Outbox(folder, spacing=0.01) as outbox:
    delivery = Delivery(outbox, open_routes(sinks, folder, folder, ["gate"]), pauses=(0.05, 0.2))
    for number in range(first, first + count):
        outbox.append([Event(id=f"{number:032x}", type="entered", camera="gate", time=4e9)])
        print(number, flush=True)
    threading.Event().wait()
"""


def open_sink(folder: Path, port: int, **settings: Any) -> Any:
    context = SinkContext("home", folder, folder, ["gate", "yard"])
    values = {"kind": "mqtt", "host": "127.0.0.1", "port": port, "timeout": 2.0, **settings}
    sink = open_event_sink(msgspec.convert(values, SinkConfig), context)
    sink.start()
    return sink


@pytest.fixture
def secured(tmp_path: Path, start_broker: Callable[..., Any]) -> Any:
    """A broker for one user, who may write below edgecnn/, and one who reads all."""
    (tmp_path / "users").write_text(f"camera:{SECRET}\nreader:{SECRET}\n")
    subprocess.run(["mosquitto_passwd", "-U", tmp_path / "users"], check=True)
    (tmp_path / "users").chmod(0o600)
    acl = "user camera\ntopic write edgecnn/#\nuser reader\ntopic read #\n"
    (tmp_path / "acl").write_text(acl)
    files = f"password_file {tmp_path}/users", f"acl_file {tmp_path}/acl"
    return start_broker("allow_anonymous false", *files)


def test_a_wrong_password_is_told_and_not_shown(
    tmp_path: Path, secured: Any, make_event: MakeEvent
) -> None:
    sink = open_sink(tmp_path, secured.port, username="camera", password=f"{SECRET}!")
    with pytest.raises(SinkDownError, match="refuses us: Not authorized") as caught:
        sink.deliver([make_event(1)])
    assert SECRET not in str(caught.value)
    sink.close()


def test_a_message_that_the_broker_refuses_is_not_delivered(
    tmp_path: Path, secured: Any, subscribe: Callable[..., Any], make_event: MakeEvent
) -> None:
    """MQTT 5 says so, where 3.1.1 acknowledges what nobody may read."""
    user = {"username": "camera", "password": SECRET}
    sink = open_sink(tmp_path, secured.port, prefix="elsewhere", **user)
    for _ in range(10):  # a broker on a busy machine may hang up first
        with pytest.raises(SinkDownError) as caught:
            sink.deliver([make_event(1)])
        if "disconnected" not in str(caught.value):
            break
    assert "refuses a message" in str(caught.value)
    sink.close()
    subscriber = subscribe(secured.port, username="reader", password=SECRET)
    sink = open_sink(tmp_path, secured.port, **user)
    sink.deliver([make_event(2)])
    subscriber.wait_for(lambda: subscriber.payloads("/event"))
    assert subscriber.event_ids() == [make_event(2).id]
    sink.close()


def test_tls_needs_a_certificate_that_is_trusted(
    tmp_path: Path,
    start_broker: Callable[..., Any],
    subscribe: Callable[..., Any],
    certificate: tuple[Path, Path],
    make_event: MakeEvent,
) -> None:
    broker = start_broker(f"certfile {certificate[0]}", f"keyfile {certificate[1]}")
    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    subscriber = subscribe(broker.port, tls=trusted)
    for tls in (False, True):
        sink = open_sink(tmp_path, broker.port, tls=tls, timeout=1.0)
        with pytest.raises(SinkDownError):
            sink.deliver([make_event(1)])
        sink.close()
    sink = open_sink(tmp_path, broker.port, tls={"ca": str(certificate[0])})
    sink.deliver([make_event(2)])
    subscriber.wait_for(lambda: subscriber.payloads("/event"))
    assert subscriber.event_ids() == [make_event(2).id]
    sink.close()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_others_see_whether_we_are_here(
    tmp_path: Path, start_broker: Callable[..., Any], subscribe: Callable[..., Any], protocol: str
) -> None:
    broker = start_broker()
    subscriber = subscribe(broker.port)
    sink = open_sink(tmp_path, broker.port, protocol=protocol)
    subscriber.wait_for(lambda: subscriber.payloads("/status") == [b"online"])
    sink.close()
    subscriber.wait_for(lambda: subscriber.payloads("/status") == [b"online", b"offline"])


def test_home_assistant_is_told_of_cameras_and_counts(
    tmp_path: Path,
    start_broker: Callable[..., Any],
    subscribe: Callable[..., Any],
    make_event: MakeEvent,
) -> None:
    broker = start_broker()
    subscriber = subscribe(broker.port)
    sink = open_sink(tmp_path, broker.port, discovery="homeassistant")
    subscriber.wait_for(lambda: len(subscriber.payloads("/config")) == 6)
    configs = [(t, json.loads(p)) for t, p in subscriber.messages if t.endswith("/config")]
    assert len({config["unique_id"] for _, config in configs}) == 6
    for topic, config in configs:
        assert topic.split("/")[1] in {"sensor", "binary_sensor"}
        assert config["availability_topic"] == "edgecnn/status"
        assert config["device"]["name"] in {"gate", "yard"}
        assert config["state_topic"] == f"edgecnn/{config['device']['name']}/state"
    events = [
        make_event(1, type="camera", details={"state": "live"}),
        make_event(2, text="AB 123"),
        make_event(3, text="CD 456", type="left"),
    ]
    sink.deliver(events[:2])
    sink.deliver(events)  # what comes again is not counted again
    subscriber.wait_for(lambda: len(subscriber.payloads("gate/state")) == 2)
    state = json.loads(subscriber.payloads("gate/state")[-1])
    assert state == {"state": "live", "count": 2, "last": "CD 456", "type": "left"}
    used = {key for _, config in configs for key in state if key in config["value_template"]}
    assert used == {"state", "count", "last"}
    sink.close()


@pytest.mark.slow
def test_every_event_arrives_through_outages_and_kills(
    tmp_path: Path, start_broker: Callable[..., Any], subscribe: Callable[..., Any]
) -> None:
    """In order, once ids that come again are left out: as the broker and the daemon go and come."""
    broker = start_broker()
    subscriber = subscribe(broker.port)

    def daemon(first: int, count: int) -> "subprocess.Popen[str]":
        words = [sys.executable, "-c", DAEMON, str(tmp_path / "state")]
        words += [str(n) for n in (broker.port, first, count)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

    def arrived() -> list[int]:
        return [int(each, 16) for each in dict.fromkeys(subscriber.event_ids())]

    total = 0
    for turn in range(4):
        with daemon(total, 40) as process:
            assert process.stdout is not None
            for number in range(40):
                assert int(process.stdout.readline()) == total + number
                if number == 10 and turn % 2:
                    broker.stop()
                if number == 30 and turn == 3:
                    broker.start()
            if turn == 0:
                subscriber.wait_for(lambda: len(arrived()) == 40)
            elif turn == 1:
                threading.Event().wait(0.5)
            process.send_signal(signal.SIGKILL)
        total += 40
        if turn == 1:
            broker.start()
    with daemon(total, 1) as process:
        subscriber.wait_for(lambda: len(arrived()) == total + 1)
        process.kill()
    assert arrived() == list(range(total + 1))
    assert b"offline" in subscriber.payloads("/status"), "the broker said it for those killed"


def test_a_prefix_that_is_no_topic_is_refused() -> None:
    for prefix in ("a/#", "+/b", "", "$SYS/a", "/a"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"kind": "mqtt", "host": "a", "prefix": prefix}, SinkConfig)
