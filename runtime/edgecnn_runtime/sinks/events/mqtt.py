"""Events published to an MQTT broker, and what Home Assistant needs to show them.

    PREFIX/status                 online or offline, retained; the broker says offline for us
    PREFIX/CAMERA/event           each event as JSON
    PREFIX/CAMERA/state           state of the camera, number of events, last event; retained

A message is delivered once the broker has acknowledged it (QoS 1), and a batch once all of it is.
After a failure the connection is made anew and the whole batch is published again, so events arrive
in order, some of them twice.
"""

import logging
import socket
import threading
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edgecnn_runtime.errors import BackendMissingError, SinkDownError
from edgecnn_runtime.requirements import install_command
from edgecnn_runtime.sinks.events.base import (
    EventSinkKind,
    SinkContext,
    SinkSettings,
    file_name,
)
from edgecnn_runtime.sinks.events.home_assistant import CameraTopic, discovery_messages
from edgecnn_runtime.sinks.events.tls import Tls, tls_context
from edgecnn_runtime.sinks.serialize import event_record
from edgecnn_runtime.types import Event

ONLINE, OFFLINE = "online", "offline"
PORT, TLS_PORT = 1883, 8883
KEEPALIVE = 30
"""Seconds after which the broker says that we are offline, at half as much again."""
LONGEST_PAUSE = 15
"""Seconds between two attempts to connect, at most."""
FAREWELL = 1.0
"""Seconds that saying goodbye may take."""
REFUSED = 128
"""Reason codes from here on are failures."""

log = logging.getLogger(__name__)


class MqttSettings(SinkSettings, frozen=True, kw_only=True, tag_field="kind", tag="mqtt"):
    """Settings of an MQTT broker.

    Attributes:
        host: Its name or address.
        port: 1883, or 8883 with TLS.
        prefix: What topics begin with.
        username: Where the broker asks for one.
        password: The same.
        tls: True, or certificates, for a connection with TLS.
        client_id: Has to be unique at the broker; made of the names of host and sink where empty.
        protocol: Of MQTT. A broker of version 3.1.1 does not say that it refuses a message.
        timeout: Seconds to connect, and again for the acknowledgement of a batch.
        discovery: Tells Home Assistant of cameras and counts.
        discovery_prefix: What Home Assistant listens to.
    """

    host: Annotated[
        str, Meta(pattern=r"^[^\s/@]{1,253}$", description="a name or address, without mqtt://")
    ]
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    prefix: Annotated[str, Meta(pattern=r"^[^#+\x00/$][^#+\x00]*$", max_length=256)] = "edgecnn"
    username: str = ""
    password: str = ""
    tls: bool | Tls = False
    client_id: Annotated[str, Meta(max_length=64)] = ""
    protocol: Literal["5", "3.1.1"] = "5"
    timeout: Annotated[float, Meta(gt=0, le=120)] = 5.0
    discovery: Literal["homeassistant", "none"] = "none"
    discovery_prefix: Annotated[str, Meta(pattern=r"^[^#+\x00]+$")] = "homeassistant"


class Mqtt:
    """Event sink that publishes; connected from ``start`` to ``close``, events or not."""

    def __init__(self, settings: MqttSettings, context: SinkContext) -> None:
        try:
            import paho.mqtt.client  # noqa: F401  (imported to see whether it can be)
        except ModuleNotFoundError:
            raise BackendMissingError(
                f"sinks.{context.name}: MQTT needs paho-mqtt: {install_command('serve')}"
            ) from None
        self._settings = settings
        tls = settings.tls if isinstance(settings.tls, Tls) else Tls()
        self._tls = tls_context(tls, context) if settings.tls else None
        self._client_id = settings.client_id or f"edgecnn-{socket.gethostname()}-{context.name}"
        self._port = settings.port or (TLS_PORT if settings.tls else PORT)
        self._where = f"mqtt://{settings.host}:{self._port}"
        self._status = f"{settings.prefix}/status"
        self._cameras = {name: CameraTopic() for name in context.cameras}
        self._changed = threading.Condition()
        self._connected = False
        self._answers: dict[int, str] = {}  # why a message was refused, by its number; "" if not
        self._reason = "not connected yet"
        self._client: Any = None

    def start(self) -> None:
        """Connect, in a thread of the client's own, again and again until it succeeds."""
        self._connect()

    def deliver(self, events: Sequence[Event], /) -> None:
        """Publish events and wait until the broker has acknowledged all of them.

        Raises:
            SinkDownError: It is not connected, does not answer or refuses them.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._connected, self._settings.timeout)
            if not self._connected:
                raise SinkDownError(f"{self._where}: {self._reason}")
            self._answers = {number: why for number, why in self._answers.items() if why}
        cameras = {}
        messages = set()
        for event in events:
            messages.add(self._publish(self._topic(event.camera, "event"), event_record(event)))
            cameras[event.camera] = self._cameras.setdefault(event.camera, CameraTopic())
            cameras[event.camera].add(event)
        for name, camera in cameras.items():
            messages.add(self._publish(self._topic(name, "state"), camera.record(), retain=True))
        with self._changed:
            self._changed.wait_for(
                lambda: messages <= self._answers.keys() or not self._connected,
                self._settings.timeout,
            )
            problem = "".join({self._answers.get(message, "") for message in messages})
            if not problem and not messages <= self._answers.keys():
                problem = "no acknowledgement in time" if self._connected else self._reason
        if problem:
            self._start_anew()
            raise SinkDownError(f"{self._where}: {problem}")

    def close(self) -> None:
        """Say that we are offline, and disconnect."""
        client, self._client = self._client, None
        if client is None:
            return
        if self._connected:
            message = client.publish(self._status, OFFLINE, qos=1, retain=True)
            try:
                message.wait_for_publish(FAREWELL)
            except (RuntimeError, ValueError):
                log.debug("%s: gone before we said goodbye", self._where)
        client.disconnect()  # its thread ends by itself

    def _topic(self, camera: str, what: str) -> str:
        return f"{self._settings.prefix}/{file_name(camera)}/{what}"

    def _publish(self, topic: str, record: object, *, retain: bool = False) -> int:
        """The number of the message; its acknowledgement may have come already."""
        data = msgspec.json.encode(record)
        return int(self._client.publish(topic, data, qos=1, retain=retain).mid)

    def _start_anew(self) -> None:
        """A client without messages: the old one would send what it has again, after a while."""
        old = self._client
        with self._changed:
            self._client, self._connected = None, False
            self._answers.clear()
        old.disconnect()
        self._connect()

    def _connect(self) -> None:
        from paho.mqtt.client import Client, MQTTv5, MQTTv311
        from paho.mqtt.enums import CallbackAPIVersion

        settings = self._settings
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=MQTTv5 if settings.protocol == "5" else MQTTv311,
        )
        if settings.username:
            client.username_pw_set(settings.username, settings.password or None)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        client.connect_timeout = settings.timeout
        client.reconnect_delay_set(1, LONGEST_PAUSE)
        client.will_set(self._status, OFFLINE, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        self._client = client
        client.connect_async(settings.host, self._port, KEEPALIVE)
        client.loop_start()

    def _on_connect(
        self, client: Any, _data: object, _flags: object, code: Any, _properties: object
    ) -> None:
        """In the client's thread: say that we are here, and what there is."""
        if client is not self._client:
            return
        if code.is_failure:
            with self._changed:
                self._reason = f"the broker refuses us: {code}"
            return
        client.publish(self._status, ONLINE, qos=1, retain=True)
        if self._settings.discovery == "homeassistant":
            prefix = self._settings.discovery_prefix
            for name in list(self._cameras):
                topic = self._topic(name, "state")
                for message in discovery_messages(prefix, name, topic, self._status):
                    client.publish(message.topic, message.payload, qos=1, retain=True)
        with self._changed:
            self._connected = True
            self._changed.notify_all()

    def _on_connect_fail(self, _client: Any, _data: object) -> None:
        with self._changed:
            self._reason = "cannot be reached"

    def _on_disconnect(
        self, client: Any, _data: object, _flags: object, code: Any, _properties: object
    ) -> None:
        with self._changed:
            if client is not self._client:
                return
            if self._connected:
                refusals = [answer for answer in self._answers.values() if answer]
                self._reason = refusals[-1] if refusals else f"disconnected: {code}"
            self._connected = False
            self._changed.notify_all()

    def _on_publish(
        self, client: Any, _data: object, mid: int, code: Any, _properties: object
    ) -> None:
        with self._changed:
            if client is not self._client:
                return
            refused = code.value >= REFUSED
            self._answers[mid] = f"the broker refuses a message: {code}" if refused else ""
            self._changed.notify_all()


KIND = EventSinkKind(settings=MqttSettings, open=Mqtt)
