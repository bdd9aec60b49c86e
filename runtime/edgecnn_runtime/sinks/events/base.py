"""What event sinks have in common: how they are registered, and what settings may hold."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from edgecnn_runtime.errors import ConfigError
from edgecnn_runtime.sinks.event_sink import EventSink
from edgecnn_runtime.types import Event, EventType

UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
BINARY_UNITS = {"k": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

Size: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,3})? ?([kMGT]i?)?B$", description="such as 500MB or 2GiB"),
]
"""Bytes, as people write them; ``size_in_bytes`` reads it."""
Days: TypeAlias = Annotated[float, Meta(gt=0, description="how many days, more than 0")]


class SinkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every kind of sink has.

    Attributes:
        events: Only events of these types; empty for all.
        cameras: Only of these cameras; empty for all.
    """

    events: tuple[EventType, ...] = ()
    cameras: tuple[str, ...] = ()

    def takes(self, event: Event) -> bool:
        """Whether the sink is told of an event."""
        return (not self.events or event.type in self.events) and (
            not self.cameras or event.camera in self.cameras
        )


@dataclass(frozen=True, slots=True)
class SinkContext:
    """What a sink may use of the site that it is opened for.

    Attributes:
        name: The sink's name in site.yaml.
        folder: The folder of site.yaml: relative paths of the settings begin here.
        outbox: The folder of the outbox: names of evidence files begin here.
        cameras: The names of all cameras.
    """

    name: str
    folder: Path
    outbox: Path
    cameras: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSinkKind:
    """One kind of event sink.

    Attributes:
        settings: What may stand in site.yaml; its tag is the kind's name.
        open: Checks the settings and makes the sink: see ``open_event_sink``.
    """

    settings: type[SinkSettings]
    open: Callable[[Any, SinkContext], EventSink]


def size_in_bytes(size: str) -> int:
    """What a Size means: 1kB is 1000 bytes, 1KiB and 1kiB are 1024."""
    match = re.fullmatch(r"([0-9.]+) ?([kMGT]?)(i?)B", size)
    assert match is not None, size  # its pattern was checked when the settings were read
    units = BINARY_UNITS if match[3] else UNITS
    return int(float(match[1]) * units[match[2]])


def output_path(name: str, key: str, context: SinkContext) -> Path:
    """The path of a file or folder that is written; its folder has to exist.

    Raises:
        ConfigError: It does not, or cannot be written.
    """
    where, path = f"sinks.{context.name}.{key}", context.folder / name
    try:
        if not path.parent.is_dir():
            raise ConfigError(f"{where}: there is not a folder {path.parent}: make it first")
        target = path if path.exists() else path.parent
    except OSError as error:
        raise ConfigError(f"{where}: {path}: {error.strerror}") from None
    if not os.access(target, os.W_OK):
        raise ConfigError(f"{where}: this user (uid {os.getuid()}) may not write {target}")
    return path


def file_name(text: str) -> str:
    """Text as part of the name of a file or topic: letters, digits, ``_``, ``-``, dots inside."""
    return re.sub(r"[^\w.-]+", "_", text).strip("._")[:64] or "_"
