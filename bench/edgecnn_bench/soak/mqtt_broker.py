"""A real MQTT broker, Debian's Mosquitto, on a loopback port, and whoever listens to it."""

import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PATIENCE = 60.0
"""Seconds after which something is said to hang."""


class Broker:
    """Mosquitto; it keeps what subscribers have missed while it is down.

    Attributes:
        port: On 127.0.0.1.
    """

    def __init__(self, folder: Path, *settings: str) -> None:
        """Write its configuration.

        Args:
            folder: For configuration and messages; exists.
            settings: Lines of the configuration.
        """
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = int(listener.getsockname()[1])
        self._config = folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1", f"persistence_location {folder}/",
            "persistence true", "max_queued_messages 0", "log_type error",
        ]  # fmt: skip
        if os.geteuid() == 0:
            lines.append("user root")  # otherwise it becomes a user who may not write the folder
        if not any(line.startswith("allow_anonymous") for line in settings):
            lines.append("allow_anonymous true")
        self._config.write_text("\n".join([*lines, *settings]) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens.

        Raises:
            RuntimeError: It ended instead, or does not listen.
        """
        assert PROGRAM is not None, "Debian's mosquitto is not installed"
        self._process = subprocess.Popen([PROGRAM, "-c", str(self._config)])
        pause = threading.Event()
        for _ in range(int(PATIENCE / 0.01)):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self._process.poll() is not None:
                raise RuntimeError("mosquitto has ended")
            pause.wait(0.01)
        raise RuntimeError("mosquitto does not listen")

    def stop(self) -> None:
        """End it; what its subscribers have missed is on the disk. Idempotent."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


class Subscriber:
    """Collects messages, and misses none while the broker is away.

    Attributes:
        messages: Topics and payloads, in the order in which they came.
    """

    def __init__(self, port: int, **options: Any) -> None:
        """Connect, and wait until everything is subscribed to.

        Args:
            port: Of the broker.
            options: ``username`` and ``password``, or ``tls``, an SSL context.
        """
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()
        self._subscribed = False
        client = Client(CallbackAPIVersion.VERSION2, client_id="subscriber", clean_session=False)
        client.reconnect_delay_set(1, 1)
        if "username" in options:
            client.username_pw_set(options["username"], options["password"])
        if "tls" in options:
            client.tls_set_context(options["tls"])
        client.on_connect = lambda *_: client.subscribe("#", qos=1)
        client.on_subscribe = lambda *_: self._note(None)
        client.on_message = lambda _client, _data, message: self._note(message)
        client.connect("127.0.0.1", port)
        client.loop_start()
        self._client = client
        self.wait_for(lambda: self._subscribed)

    def wait_for(self, condition: Callable[[], object], seconds: float = PATIENCE) -> None:
        """Until a condition holds, which is looked at after each message.

        Raises:
            TimeoutError: It does not.
        """
        with self._changed:
            if not self._changed.wait_for(condition, seconds):
                raise TimeoutError(f"{len(self.messages)} messages have come, and no more")

    def payloads(self, end: str) -> list[bytes]:
        """Of the messages whose topic ends like this, in order."""
        with self._changed:
            return [payload for topic, payload in self.messages if topic.endswith(end)]

    def event_ids(self) -> list[str]:
        """Of the events that have come, in order, also those that came again."""
        return [json.loads(payload)["id"] for payload in self.payloads("/event")]

    def close(self) -> None:
        """End the connection."""
        self._client.disconnect()
        self._client.loop_stop()

    def _note(self, message: Any) -> None:
        with self._changed:
            if message is None:
                self._subscribed = True
            else:
                self.messages.append((message.topic, message.payload))
            self._changed.notify_all()
