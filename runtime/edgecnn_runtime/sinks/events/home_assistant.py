"""What Home Assistant is told of a camera, so that it shows it without being configured.

https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery: one retained message per entity, on
``PREFIX/COMPONENT/NODE/OBJECT/config``.
"""

import hashlib
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from edgecnn_runtime.sinks.events.base import file_name
from edgecnn_runtime.types import Event

RECENT = 256
"""Ids that a camera remembers: more than a batch has."""


class DiscoveryMessage(NamedTuple):
    """A retained message.

    Attributes:
        topic: Where it is published.
        payload: JSON.
    """

    topic: str
    payload: bytes


class CameraTopic:
    """What the retained state topic of a camera says."""

    def __init__(self) -> None:
        self._state = "unknown"
        self._count = 0
        self._last: Event | None = None
        self._recent: deque[str] = deque(maxlen=RECENT)

    def add(self, event: Event) -> None:
        """Count an event once, or take the new state of the camera."""
        if event.id in self._recent:  # its batch could not be delivered, and comes again
            return
        self._recent.append(event.id)
        if event.type == "camera" and "stream" in event.details:
            return  # the camera goes on without it
        if event.type == "camera":
            self._state = str(event.details.get("state", self._state))
        else:
            self._count += 1
            self._last = event

    def record(self) -> dict[str, Any]:
        """Plain values; the count begins anew when the daemon starts."""
        last = self._last
        return {
            "state": self._state,
            "count": self._count,
            "last": "" if last is None else last.name or last.text or last.label,
            "type": "" if last is None else last.type,
        }


def discovery_messages(
    prefix: str, camera: str, state_topic: str, status_topic: str
) -> Iterator[DiscoveryMessage]:
    """One message per entity of a camera.

    Args:
        prefix: What Home Assistant listens to.
        camera: Its name in site.yaml.
        state_topic: Where CameraTopic is published.
        status_topic: Where the daemon says that it is online.
    """
    # Two names may look the same as part of a topic; two entities of one id would be one.
    digest = hashlib.sha256(f"{status_topic}/{camera}".encode()).hexdigest()[:8]
    node = f"edgecnn_{file_name(camera).encode('ascii', 'ignore').decode()}_{digest}"
    node = node.replace(".", "_")
    device = {"identifiers": [node], "name": camera, "manufacturer": "edgecnn", "model": "camera"}
    shared = {
        "state_topic": state_topic,
        "availability_topic": status_topic,
        "device": device,
        "origin": {"name": "edgecnn"},
    }
    entities: tuple[tuple[str, str, dict[str, Any]], ...] = (
        (
            "binary_sensor",
            "live",
            {
                "name": "Live",
                "device_class": "connectivity",
                "value_template": "{{ 'ON' if value_json.state == 'live' else 'OFF' }}",
            },
        ),
        (
            "sensor",
            "events",
            {
                "name": "Events",
                "state_class": "total_increasing",
                "value_template": "{{ value_json.count }}",
            },
        ),
        ("sensor", "last", {"name": "Last event", "value_template": "{{ value_json.last }}"}),
    )
    for component, name, entity in entities:
        config = {**shared, **entity, "unique_id": f"{node}_{name}"}
        topic = f"{prefix}/{component}/{node}/{name}/config"
        yield DiscoveryMessage(topic, msgspec.json.encode(config))
