"""A real MQTT broker, Debian's Mosquitto, on a loopback port."""

import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Broker:
    """Mosquitto; it keeps what subscribers have missed while it is down."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.port = free_port()
        self._folder = folder
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
        """Start it, and wait until it listens."""
        assert PROGRAM is not None
        self._process = subprocess.Popen([PROGRAM, "-c", str(self._config)])
        for _ in range(3000):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None, "mosquitto has ended"
            threading.Event().wait(0.01)
        raise AssertionError("mosquitto does not listen")

    def stop(self) -> None:
        """End it; what its subscribers have missed is on the disk."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


class Subscriber:
    """Collects messages, and misses none while it or the broker is away."""

    def __init__(self, port: int, topic: str = "#", **options: Any) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()
        self._subscribed = 0
        client = Client(CallbackAPIVersion.VERSION2, client_id="subscriber", clean_session=False)
        client.reconnect_delay_set(1, 1)
        if "username" in options:
            client.username_pw_set(options["username"], options["password"])
        if "tls" in options:
            client.tls_set_context(options["tls"])
        client.on_connect = lambda *_: client.subscribe(topic, qos=1)
        client.on_subscribe = lambda *_: self._note(None)
        client.on_message = lambda _client, _data, message: self._note(message)
        client.connect("127.0.0.1", port)
        client.loop_start()
        self._client = client
        self.wait_for(lambda: self._subscribed > 0)

    def wait_for(self, condition: Any) -> None:
        """Until a condition holds, which is looked at after each message."""
        with self._changed:
            assert self._changed.wait_for(condition, 60)

    def payloads(self, end: str) -> list[bytes]:
        """Of the messages whose topic ends like this, in order."""
        return [payload for topic, payload in self.messages if topic.endswith(end)]

    def close(self) -> None:
        """End the connection."""
        self._client.disconnect()
        self._client.loop_stop()

    def _note(self, message: Any) -> None:
        with self._changed:
            if message is None:
                self._subscribed += 1
            else:
                self.messages.append((message.topic, message.payload))
            self._changed.notify_all()
