"""What every event sink must do, whoever writes the next one."""

import json
import re
import shutil
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import pytest

from edgecnn_runtime.config import parse_yaml
from edgecnn_runtime.errors import ConfigError, SinkDownError
from edgecnn_runtime.outbox import Outbox
from edgecnn_runtime.sinks.event_sink import FrameWatcher
from edgecnn_runtime.sinks.events import EVENT_SINKS, SinkConfig, SinkContext, open_event_sink
from edgecnn_runtime.sinks.events import fake as fake_module
from edgecnn_runtime.types import Event, Frame

KINDS = [*EVENT_SINKS, "fake"]
SECRET = "correct-horse-battery"
CROP = np.full((24, 94, 3), 200, np.uint8)
SPACING = 3.0
"""Seconds between two events: more than a clip takes."""
COUNT = 3


class Receiver(Protocol):
    """The other end of a sink: a file, a server, a broker."""

    settings: dict[str, Any]
    sink: Any

    @abstractmethod
    def ids(self) -> list[str]:
        """Of the events that have arrived, in order, or their ends."""

    @abstractmethod
    def fail(self) -> None:
        """From now on nothing can be delivered."""

    @abstractmethod
    def recover(self) -> None:
        """It can, again."""


class FileReceiver:
    """A file or folder, in whose place something else stands when it fails."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        key, name = ("file", f"out.{kind}") if kind in {"jsonl", "csv"} else ("folder", "out")
        self.path = folder / name
        self.settings = {"kind": kind, key: name}
        if kind == "clips":
            self.settings |= {"before": 0.3, "after": 0.3}
        self.sink: Any = None

    def ids(self) -> list[str]:
        if self.path.is_dir():
            names = [path.name for path in sorted(self.path.rglob("*-*.*"))]
            matches = [re.search("[0-9a-f]{12}(?=[-.])", name) for name in names]
            return [match[0] for match in matches if match]
        text = self.path.read_text() if self.path.exists() else ""
        return re.findall(r"^(?:\{\"id\":\")?([0-9a-f]{32})", text, re.MULTILINE)

    def fail(self) -> None:
        if self.path.exists():
            self.path.rename(self.path.with_name("aside"))
        if "file" in self.settings:
            self.path.mkdir()
        else:
            self.path.write_text("in the way")

    def recover(self) -> None:
        if self.path.is_dir():
            self.path.rmdir()
        else:
            self.path.unlink()
        aside = self.path.with_name("aside")
        if aside.exists():
            aside.rename(self.path)


class HttpReceiver:
    """A server that takes batches, or answers that it is busy."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.status == 200:
                    outer.posts.append(json.loads(body))
                self.send_response(outer.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *words: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{self.server.server_port}/hook?token={SECRET}"
        self.settings = {"kind": "webhook", "url": url, "secret": SECRET}
        self.sink: Any = None

    def ids(self) -> list[str]:
        return [event["id"] for post in self.posts for event in post["events"]]

    def fail(self) -> None:
        self.status = 503

    def recover(self) -> None:
        self.status = 200

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class BrokerReceiver:
    """A broker, which is stopped when it fails."""

    def __init__(self, broker: Any, subscriber: Any) -> None:
        self.broker, self.subscriber = broker, subscriber
        self.settings = {
            "kind": "mqtt", "host": "127.0.0.1", "port": broker.port, "username": "me",
            "password": SECRET, "timeout": 2,
        }  # fmt: skip
        self.sink: Any = None

    def ids(self) -> list[str]:
        return self.subscriber.event_ids()

    def fail(self) -> None:
        self.broker.stop()
        time.sleep(0.05)

    def recover(self) -> None:
        self.broker.start()


class FakeReceiver:
    """The sink that records."""

    def __init__(self) -> None:
        self.settings = {"kind": "fake"}
        self.sink: Any = None

    def ids(self) -> list[str]:
        return [event.id for event in self.sink.events]

    def fail(self) -> None:
        self.sink.down = "told to"

    def recover(self) -> None:
        self.sink.down = ""


@pytest.fixture(params=KINDS)
def receiver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """The other end of each kind of sink."""
    folder = tmp_path / "site"
    folder.mkdir()
    if request.param == "webhook":
        server = HttpReceiver()
        yield server
        server.close()
    elif request.param == "mqtt":
        broker = request.getfixturevalue("start_broker")()
        yield BrokerReceiver(broker, request.getfixturevalue("subscribe")(broker.port))
    elif request.param == "fake":
        yield FakeReceiver()
    else:
        yield FileReceiver(folder, request.param)


@pytest.fixture
def events(tmp_path: Path, make_event: Callable[..., Event]) -> list[Event]:
    """Of the last seconds, with pictures, as a sink gets them: from an outbox."""
    now = time.time()
    with Outbox(tmp_path / "outbox") as outbox:
        outbox.append(
            [
                make_event(
                    i + 1, time=now - SPACING * (COUNT - i), text='A"B,1', images={"crop": CROP}
                )
                for i in range(COUNT)
            ]
        )
        return [event for _, event in outbox.events.replay()]


def open_sink(receiver: Any, tmp_path: Path) -> Any:
    context = SinkContext("mine", tmp_path / "site", tmp_path / "outbox", ["gate"])
    if receiver.settings["kind"] == "fake":
        receiver.sink = fake_module.KIND.open(fake_module.FakeSettings(), context)
    else:
        receiver.sink = open_event_sink(msgspec.convert(receiver.settings, SinkConfig), context)
    return receiver.sink


def start(receiver: Any, tmp_path: Path, events: Sequence[Event] = ()) -> Any:
    """An open sink that has been started, and has seen frames around these events if it wants."""
    sink = open_sink(receiver, tmp_path)
    sink.start()
    if isinstance(sink, FrameWatcher) and events:
        pixels = np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8)
        pixels.setflags(write=False)
        offset = time.monotonic() - time.time()
        for index in range(int(5 * (SPACING * (COUNT - 1) + 1.2))):
            captured = events[0].time - 0.6 + index / 5 + offset
            sink.watch("gate", Frame(pixels, index, captured, None, "camera", live=True))
    return sink


def arrived(receiver: Any, events: list[Event]) -> None:
    """Wait for the events, and look at their order, once what came twice is left out."""
    for _ in range(3000):
        if len(set(receiver.ids())) == len(events):
            break
        threading.Event().wait(0.01)
    ids = list(dict.fromkeys(receiver.ids()))
    assert [event.id.endswith(end) for event, end in zip(events, ids, strict=True)] == [True] * len(
        events
    )


def test_events_arrive_in_order(receiver: Any, tmp_path: Path, events: list[Event]) -> None:
    sink = start(receiver, tmp_path, events)
    sink.deliver(events[:1])
    sink.deliver(events[1:])
    arrived(receiver, events)
    sink.close()
    arrived(receiver, events)


def test_the_same_events_may_come_again(receiver: Any, tmp_path: Path, events: list[Event]) -> None:
    sink = start(receiver, tmp_path, events)
    sink.deliver(events[:2])
    sink.deliver(events[:2])
    sink.deliver(events)
    arrived(receiver, events)
    sink.close()


def test_what_could_not_be_delivered_is_delivered_later(
    receiver: Any, tmp_path: Path, events: list[Event]
) -> None:
    """And the message says why, without a secret."""
    sink = start(receiver, tmp_path, events)
    sink.deliver(events[:1])
    arrived(receiver, events[:1])
    receiver.fail()
    for _ in range(2):
        with pytest.raises(SinkDownError) as caught:
            sink.deliver(events[1:])
        assert SECRET not in str(caught.value)
        assert len(str(caught.value)) > 5
    receiver.recover()
    deliver_at_last(sink, events[1:])
    arrived(receiver, events)
    sink.close()


def deliver_at_last(sink: Any, events: list[Event]) -> None:
    """As the delivery does it: again after each failure."""
    for attempt in range(20):
        try:
            return sink.deliver(events)
        except SinkDownError:
            if attempt == 19:
                raise
            threading.Event().wait(0.5)
    return None


def test_the_next_process_goes_on(receiver: Any, tmp_path: Path, events: list[Event]) -> None:
    sink = start(receiver, tmp_path, events)
    sink.deliver(events[:2])
    sink.close()
    if receiver.settings["kind"] == "fake":
        return
    sink = start(receiver, tmp_path, events)
    sink.deliver(events[1:])
    arrived(receiver, events)
    sink.close()


def test_opening_one_does_nothing_yet(receiver: Any, tmp_path: Path) -> None:
    """It only checks, so that a site can be checked while its daemon runs."""
    before = sorted((tmp_path / "site").rglob("*"))
    threads = threading.active_count()
    sink = open_sink(receiver, tmp_path)
    assert threading.active_count() == threads
    sink.close()
    assert sorted((tmp_path / "site").rglob("*")) == before
    if isinstance(receiver, BrokerReceiver):
        assert receiver.subscriber.messages == []


@pytest.mark.parametrize("started", [False, True])
def test_it_may_be_closed_twice(receiver: Any, tmp_path: Path, started: bool) -> None:
    sink = start(receiver, tmp_path) if started else open_sink(receiver, tmp_path)
    sink.close()
    sink.close()


def test_a_picture_that_was_removed_is_no_failure(
    receiver: Any, tmp_path: Path, events: list[Event]
) -> None:
    """By the quota, before this sink was told."""
    shutil.rmtree(tmp_path / "outbox" / "evidence")
    sink = start(receiver, tmp_path, events)
    sink.deliver(events)
    sink.close()


def test_it_starts_while_the_other_end_is_away(
    receiver: Any, tmp_path: Path, events: list[Event]
) -> None:
    if receiver.settings["kind"] == "fake":
        pytest.skip("it has no other end")
    receiver.settings |= {"timeout": 0.5} if receiver.settings["kind"] == "mqtt" else {}
    receiver.fail()
    sink = start(receiver, tmp_path, events)
    with pytest.raises(SinkDownError):
        sink.deliver(events)
    receiver.recover()
    deliver_at_last(sink, events)
    arrived(receiver, events)
    sink.close()


# ---- settings, as they stand in site.yaml


class Site(msgspec.Struct, forbid_unknown_fields=True):
    sinks: dict[str, SinkConfig] = {}


@pytest.mark.parametrize("kind", EVENT_SINKS)
def test_its_settings_are_one_of_those_in_a_site(kind: str) -> None:
    required = {"file": "a", "folder": "a", "url": "http://a/", "host": "a"}
    names = {field.name for field in msgspec.structs.fields(EVENT_SINKS[kind].settings)}
    lines = [f"{key}: {value}" for key, value in required.items() if key in names]
    text = ", ".join([f"kind: {kind}", "events: [left]", "cameras: [gate]", *lines])
    site = parse_yaml(f"sinks:\n  mine: {{{text}}}\n", Site, "site.yaml")
    assert isinstance(site.sinks["mine"], EVENT_SINKS[kind].settings)
    with pytest.raises(ConfigError, match=r"site.yaml:2: sinks.mine.evnts: .*did you mean events"):
        parse_yaml(f"sinks:\n  mine: {{{text}, evnts: []}}\n", Site, "site.yaml")


def test_an_unknown_kind_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"site.yaml:3: .*webhok.*did you mean webhook"):
        parse_yaml("sinks:\n  mine:\n    kind: webhok\n    url: a\n", Site, "site.yaml")


@pytest.mark.parametrize("kind", ["jsonl", "csv", "snapshots", "clips"])
def test_a_folder_that_is_absent_is_named(tmp_path: Path, kind: str) -> None:
    key = "file" if kind in {"jsonl", "csv"} else "folder"
    settings = msgspec.convert({"kind": kind, key: "absent/out"}, SinkConfig)
    with pytest.raises(ConfigError, match=rf"sinks.mine.{key}: .*absent"):
        open_event_sink(settings, SinkContext("mine", tmp_path, tmp_path))
