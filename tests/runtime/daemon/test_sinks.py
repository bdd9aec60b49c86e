"""What happens in front of cameras reaches every kind of sink of a site."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edgecnn_runtime.daemon.supervisor import Daemon
from edgecnn_runtime.outbox import OutboxReader
from edgecnn_runtime.sinks.events import EVENT_SINKS

SINKS = """\
sinks:
  table: {kind: csv, file: events.csv}
  home: {kind: mqtt, host: 127.0.0.1, port: BROKER, discovery: homeassistant}
  hook: {kind: webhook, url: "http://127.0.0.1:SERVER/", secret: {file: hook.secret}}
  pictures: {kind: snapshots, folder: pictures}
  videos: {kind: clips, folder: videos, before: 1, after: 1, events: [entered, left]}
"""


@pytest.fixture
def hook() -> Iterator[tuple[int, list[str]]]:
    """A server that takes everything: its port, and the ids of the events that have come."""
    ids: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            ids.extend(event["id"] for event in body["events"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_port, ids
        server.shutdown()


@pytest.mark.slow
def test_every_kind_is_told_of_every_event(
    site: Path,
    serve: Callable[[], Daemon],
    until: Callable[..., None],
    hook: tuple[int, list[str]],
    start_broker: Callable[..., Any],
    subscribe: Callable[..., Any],
) -> None:
    broker = start_broker()
    subscriber = subscribe(broker.port)
    port, posted = hook
    (site.parent / "hook.secret").write_text("correct-horse-battery\n")
    sinks = SINKS.replace("BROKER", str(broker.port)).replace("SERVER", str(port))
    site.write_text(site.read_text().replace("sinks:\n", sinks))
    daemon = serve()
    assert {sink.kind for sink in daemon.figures().sinks} == set(EVENT_SINKS)
    folder = site.parent
    until(lambda: list((folder / "videos").rglob("*-left-*.mp4")), "a clip of one who left", 120)
    daemon.__exit__()
    stored = [event for _, event in OutboxReader(folder / "state").replay(limit=10_000)]
    tracks = [event for event in stored if event.type != "camera"]
    assert {event.camera for event in tracks} == {"gate", "yard"}
    lines = (folder / "events.jsonl").read_text().splitlines()
    rows = (folder / "events.csv").read_text().splitlines()[1:]
    arrivals = {
        "log": [json.loads(line)["id"] for line in lines],
        "table": [row.partition(",")[0] for row in rows],
        "home": list(dict.fromkeys(subscriber.event_ids())),
        "hook": list(dict.fromkeys(posted)),
    }
    for name, ids in arrivals.items():
        # What came last may have been left to the next process.
        assert ids == [event.id for event in stored[: len(ids)]], name
        assert len(ids) > len(stored) / 2, name
    pictures = {path.name.split("-")[-2] for path in (folder / "pictures").rglob("*.jpg")}
    assert pictures <= {event.id[-12:] for event in tracks if event.evidence}
    assert pictures
    assert all(path.stat().st_size > 1000 for path in (folder / "videos").rglob("*.mp4"))
    states = [json.loads(each)["state"] for each in subscriber.payloads("gate/state")]
    assert "live" in states
    assert len(subscriber.payloads("/config")) == 6
