"""The rules of a site: which events pass."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from edgecnn_runtime.rules import conditions
from edgecnn_runtime.rules.base import Rule
from edgecnn_runtime.rules.conditions import Names, as_tuple
from edgecnn_runtime.rules.schedule import Schedule
from edgecnn_runtime.rules.watchlist import WatchlistConfig
from edgecnn_runtime.schema_errors import Key, suggestion
from edgecnn_runtime.types import Event, EventType

Unit = Annotated[float, Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, Meta(ge=0.0)]

RULES: Mapping[str, Callable[[Any, Path], Rule]] = {
    "zone": conditions.in_zone,
    "line": conditions.on_line,
    "direction": conditions.in_direction,
    "label": conditions.of_class,
    "min_score": conditions.at_least_score,
    "min_size": conditions.at_least_size,
    "min_seconds": conditions.at_least_seconds,
    "schedule": conditions.within_schedule,
    "watchlist": conditions.on_watchlist,
}
"""What a key of RuleConfig asks of an event, made of its value and of the folder of its file."""


NOT_RECOGNIZED = "nothing is recognized without a second model: recognize: {model: NAME.edge}"
LISTED = 20
"""Classes that a message lists, at most."""


class RuleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of ``rules`` in site.yaml: about which events it speaks, and what they need.

    Attributes:
        when: The type or types of events that it speaks about; all where none is given.
        camera: The camera or cameras, in the same way.
        zone: The zone or zones that it has to happen in.
        line: The line or lines that have to be crossed.
        direction: In which direction.
        label: The class or classes of the detector.
        min_score: The least score of the event, one number or one per class.
        min_size: The least width and height of its box, as fractions of the frame's.
        min_seconds: How long the track has to have been seen.
        schedule: Days and times.
        watchlist: A file of texts, of which the event's text has to be one; or the file and what
            to do with it.
    """

    when: EventType | tuple[EventType, ...] = ()
    camera: str | tuple[str, ...] = ()
    zone: str | tuple[str, ...] | None = None
    line: str | tuple[str, ...] | None = None
    direction: Literal["in", "out"] | None = None
    label: str | tuple[str, ...] | None = None
    min_score: Unit | dict[str, Unit] | None = None
    min_size: Unit | None = None
    min_seconds: Seconds | None = None
    schedule: Schedule | None = None
    watchlist: str | WatchlistConfig | None = None


class _Entry(NamedTuple):
    """One entry, ready for use."""

    types: tuple[str, ...]
    cameras: tuple[str, ...]
    conditions: tuple[Rule, ...]


class Rules:
    """All rules of a site, as one rule.

    An event of which no entry speaks passes. Otherwise it passes as the first entry leaves it that
    speaks of it and lets it pass. Changes of a camera's own state pass unless an entry names their
    type, "camera", under ``when``.
    """

    def __init__(self, configs: Sequence[RuleConfig], folder: Path, *, timezone: str = "") -> None:
        """Prepare the rules.

        Args:
            configs: The entries, in their order.
            folder: What file names in them are relative to.
            timezone: IANA name of the time zone of schedules that name none.

        Raises:
            ConfigError: A list cannot be read, or a time zone is unknown.
        """
        self._entries = [_prepare(config, folder, timezone) for config in configs]

    def __call__(self, event: Event, /) -> Event | None:
        """The event, perhaps with a name, or None where the rules drop it."""
        spoken = False
        for types, cameras, rules in self._entries:
            if not _speaks_of(event, types, cameras):
                continue
            spoken = True
            outcome: Event | None = event
            for rule in rules:
                outcome = outcome and rule(outcome)
            if outcome is not None:
                return outcome
        return None if spoken else event


def rule_mistakes(
    rule: RuleConfig, classes: Sequence[Sequence[str]], *, recognizes: bool
) -> Iterator[tuple[Key, str]]:
    """What an entry asks for, and the models behind its events never give.

    Args:
        rule: The entry.
        classes: The class names of each detector behind its events; empty where every model looks
            at whole frames.
        recognizes: Whether anything is recognized.

    Yields:
        The key within the entry, and the reason.
    """
    labels = _keyed("label", rule.label or ())
    if isinstance(rule.min_score, Mapping):
        labels += [(("min_score", label), label) for label in rule.min_score]
    for key, label in labels:
        if problem := class_problem(label, classes):
            yield key, problem
    for key, name in _keyed("when", rule.when):
        if name == "recognized" and not recognizes:
            yield key, NOT_RECOGNIZED


def class_problem(label: str, classes: Sequence[Sequence[str]]) -> str:
    """Why no object is ever of a class; empty where one can be.

    Args:
        label: The name; a class that has none goes by its number.
        classes: As in ``rule_mistakes``.
    """
    if not classes:
        return (
            "nothing here has a class, because whole frames are looked at: the answer is the text "
            "of the event, which a watchlist can ask for"
        )
    number = int(label) if re.fullmatch("[0-9]{1,6}", label) else -1
    if any(label in names or number >= len(names) for names in classes):
        return ""
    known = list(dict.fromkeys(chain(*classes)))
    there = ", ".join(known[:LISTED]) + ", …" * (len(known) > LISTED) or "none, only numbers"
    return f"there is no class {label!r}" + (suggestion(label, known) or f"; there are: {there}")


def _keyed(key: str, names: Names) -> list[tuple[Key, str]]:
    """One name or several, each with its place in the file."""
    if isinstance(names, str):
        return [((key,), names)]
    return [((key, index), name) for index, name in enumerate(names)]


def _prepare(config: RuleConfig, folder: Path, timezone: str) -> _Entry:
    if config.schedule is not None and not config.schedule.zone:
        config = replace(config, schedule=replace(config.schedule, zone=timezone))
    asked = [(name, getattr(config, name)) for name in RULES]
    rules = tuple(RULES[name](value, folder) for name, value in asked if value is not None)
    return _Entry(as_tuple(config.when), as_tuple(config.camera), rules)


def _speaks_of(event: Event, types: tuple[str, ...], cameras: tuple[str, ...]) -> bool:
    if event.type not in types and (types or event.type == "camera"):
        return False
    return not cameras or event.camera in cameras
