"""A webhook on loopback that is slow, refuses, or takes what it is sent, and remembers it."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, TypeAlias

Mood: TypeAlias = Literal["takes", "slow", "refuses"]
SLOW_SECONDS = 2.0


class WebhookReceiver:
    """Takes batches of events: ``with WebhookReceiver() as receiver: receiver.url``.

    Attributes:
        url: Where it listens.
        mood: What it does with the next batch.
        ids: Of the events that it has taken, in their order, repeated ones included.
    """

    def __init__(self) -> None:
        self.mood: Mood = "takes"
        self.ids: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if receiver.mood == "slow":
                    time.sleep(SLOW_SECONDS)
                refused = receiver.mood == "refuses"
                if not refused:
                    receiver.take(body)
                self.send_response(503 if refused else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/events"

    def __enter__(self) -> "WebhookReceiver":
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, body: bytes) -> None:
        """Remember the events of a batch: a JSON list of them, or an object that has it."""
        batch = json.loads(body)
        events = batch["events"] if isinstance(batch, dict) else batch
        self.ids += [event["id"] for event in events]
