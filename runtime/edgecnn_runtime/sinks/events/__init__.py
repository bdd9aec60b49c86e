"""Who is told of events: each kind is one file here, with its ``KIND``, and one line below.

The settings of a kind are what stands in site.yaml under ``sinks``, with ``kind`` for its name.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias, Union

from edgecnn_runtime.sinks.event_sink import EventSink
from edgecnn_runtime.sinks.events import clips, csv, jsonl, mqtt, snapshots, webhook
from edgecnn_runtime.sinks.events.base import EventSinkKind, SinkContext, SinkSettings

__all__ = [
    "EVENT_SINKS", "EventSink", "EventSinkKind", "SinkConfig", "SinkContext", "SinkSettings",
    "kind_of", "open_event_sink",
]  # fmt: skip

EVENT_SINKS: Mapping[str, EventSinkKind] = {
    "jsonl": jsonl.KIND,
    "csv": csv.KIND,
    "mqtt": mqtt.KIND,
    "webhook": webhook.KIND,
    "snapshots": snapshots.KIND,
    "clips": clips.KIND,
}

if TYPE_CHECKING:
    SinkConfig: TypeAlias = SinkSettings
else:  # one of the kinds, told apart by the key `kind`: the type of a value in site.yaml
    SinkConfig = Union[tuple(kind.settings for kind in EVENT_SINKS.values())]  # noqa: UP007  (of a tuple)


def kind_of(settings: SinkSettings) -> str:
    """The name of a kind, by its settings."""
    return next(name for name, kind in EVENT_SINKS.items() if isinstance(settings, kind.settings))


def open_event_sink(settings: SinkSettings, context: SinkContext) -> EventSink:
    """Check the settings and make the sink; nothing is connected, written or started.

    Args:
        settings: Of one of EVENT_SINKS.
        context: What the sink may use of the site.

    Raises:
        ConfigError: A value cannot be right: a file of a secret, a certificate, a folder.
        BackendMissingError: A package is not installed.
    """
    return EVENT_SINKS[kind_of(settings)].open(settings, context)
