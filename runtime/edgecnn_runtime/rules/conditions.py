"""What a rule may ask of an event; each condition is a small rule of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from edgecnn_runtime.rules.base import Rule
from edgecnn_runtime.rules.schedule import Clock, Schedule
from edgecnn_runtime.rules.thresholds import shorter_side
from edgecnn_runtime.rules.watchlist import Watchlist, WatchlistConfig
from edgecnn_runtime.types import Event

Names = str | Sequence[str]
"""One name, or several of which any will do."""


def in_zone(names: Names, _folder: Path) -> Rule:
    """It happened in one of these zones."""
    return lambda event: event if event.zone in as_tuple(names) else None


def on_line(names: Names, _folder: Path) -> Rule:
    """One of these lines was crossed."""
    return lambda event: event if event.line in as_tuple(names) else None


def in_direction(direction: str, _folder: Path) -> Rule:
    """The line was crossed in this direction."""
    return lambda event: event if event.direction == direction else None


def of_class(labels: Names, _folder: Path) -> Rule:
    """The detector says that it is one of these classes."""
    return lambda event: event if event.label in as_tuple(labels) else None


def at_least_score(score: float | Mapping[str, float], _folder: Path) -> Rule:
    """The event's score is at least this number, or that of its class; others need none."""

    def rule(event: Event, /) -> Event | None:
        least = score if isinstance(score, (int, float)) else score.get(event.label, 0.0)
        return event if event.score >= least else None

    return rule


def at_least_size(size: float, _folder: Path) -> Rule:
    """Width and height of the box are at least this fraction of the frame's width and height."""

    def rule(event: Event, /) -> Event | None:
        box = event.relative_box
        return event if box is None or shorter_side(box) >= size else None

    return rule


def at_least_seconds(seconds: float, _folder: Path) -> Rule:
    """The track has been seen for at least so long."""
    return lambda event: event if event.seconds >= seconds else None


def within_schedule(schedule: Schedule, _folder: Path) -> Rule:
    """It happened at a time of the schedule."""
    clock = Clock(schedule)
    return lambda event: event if clock.covers(event.time) else None


def on_watchlist(config: str | WatchlistConfig, folder: Path) -> Rule:
    """Its text is on the list, or is not; the name that the list has for it is added."""
    settings = WatchlistConfig(file=config) if isinstance(config, str) else config
    watchlist = Watchlist(folder / settings.file)

    def rule(event: Event, /) -> Event | None:
        entry = watchlist.find(event.text, settings.distance, look_alikes=settings.look_alikes)
        if settings.let_pass not in {"all", "listed" if entry else "unlisted"}:
            return None
        if entry is None:
            return event
        details = {**event.details, "listed": entry.text}
        if entry.list:
            details["list"] = entry.list
        return replace(event, name=entry.name or event.name, details=details)

    return rule


def as_tuple(names: Names) -> tuple[str, ...]:
    """One name or several, as several."""
    return (names,) if isinstance(names, str) else tuple(names)
