"""From tracks to what happens: who enters, crosses a line, is still there, and leaves."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edgecnn_runtime.rules.lines import LineCrossings
from edgecnn_runtime.rules.thresholds import Thresholds
from edgecnn_runtime.rules.zones import Anchor, Zones, anchor_point
from edgecnn_runtime.types import Box, EventType, Point, Track

SETTLE = 0.5
"""Seconds that a track has to be in a zone, or out of it, before it has entered or left it."""
PRESENT = 60.0
"""Seconds between two reports that a track is still there."""
NEARER = 1.3
"""What is so many times as large as it was has come nearer."""
SIDEWAYS = 0.5
"""How far something goes until it has gone anywhere, in sizes of its box."""
EVERYWHERE = ""
"""The zone of what happens outside of all zones."""


class Happening(NamedTuple):
    """Something that a track did in one frame.

    Attributes:
        type: "entered", "crossed", "present" or "left".
        track: As it stands after the frame.
        zone: Of an "entered" or "left": which zone; otherwise the first one that it is in.
        line: The line that was crossed.
        direction: "in" or "out".
        travel: Of a "left": which way it went since it entered, see ``travel``.
    """

    type: EventType
    track: Track
    zone: str = EVERYWHERE
    line: str = ""
    direction: str = ""
    travel: str = ""


class Happenings:
    """Watches the tracks of one camera; used by one thread at a time.

    A track enters when it is confirmed and the thresholds accept it: the zones that it is in then,
    or the picture ("") where it is in none. Later it enters and leaves zones, and it leaves the
    zones that it is in, or the picture, when it ends. A track that never entered never leaves.
    """

    def __init__(
        self,
        zones: Mapping[str, Sequence[Point]] | None = None,
        lines: Mapping[str, Sequence[Point]] | None = None,
        *,
        thresholds: Thresholds | None = None,
        present: float = PRESENT,
        anchor: Anchor = "bottom",
    ) -> None:
        """Watch a camera.

        Args:
            zones: Polygons by name, as fractions of the frame's width and height.
            lines: Two points each, by name, in the same coordinates.
            thresholds: Which tracks count.
            present: Seconds between two reports that a track is still there; ``math.inf`` for
                none.
            anchor: Which point of a box is in a zone or crosses a line.
        """
        self._zones, self._lines = Zones(zones or {}), LineCrossings(lines or {})
        self._thresholds = thresholds or Thresholds()
        self._present, self._anchor = present, anchor
        self._visits: dict[int, _Visit] = {}

    def update(
        self, tracks: Sequence[Track], at: float, width: int, height: int
    ) -> list[Happening]:
        """What happened in a frame.

        Args:
            tracks: As the tracker left them after it.
            at: When it was taken, on the monotonic clock.
            width: Of the frame, in pixels.
            height: Of the frame, in pixels.
        """
        return [each for track in tracks for each in self._follow(track, at, width, height)]

    def counts(self, track: int) -> bool:
        """Whether a track has entered and not left: of others, nothing is said."""
        return track in self._visits

    def zone(self, track: int) -> str:
        """The first zone that a track is in; empty outside of all."""
        visit = self._visits.get(track)
        return visit.zone if visit else EVERYWHERE

    def take_over(self, other: "Happenings") -> None:
        """Go on with the tracks of another one, with these zones and lines.

        Who is there has entered already; zones that are new are entered as if they were walked
        into, and those that are gone are left without a word.

        Args:
            other: Not used any more.
        """
        self._visits = other._visits
        for visit in self._visits.values():
            visit.zones = tuple(zone for zone in visit.zones if zone in self._zones.polygons)
            visit.next = visit.zones

    def reset(self) -> None:
        """Forget every track: the camera was reconnected."""
        self._visits.clear()
        self._lines.reset()

    def _follow(self, track: Track, at: float, width: int, height: int) -> Iterator[Happening]:
        visit = self._visits.get(track.id)
        if track.state == "confirmed":
            x, y = anchor_point(track.box, self._anchor)
            zones = self._zones.at((x / width, y / height))
            if visit is not None:
                yield from visit.move(track, zones, at)
            elif self._thresholds.accept(track, width, height):
                visit = self._visits[track.id] = _Visit(
                    zones, zones, at, at + self._present, track.box
                )
                for zone in zones or (EVERYWHERE,):
                    yield Happening("entered", track, zone)
            size = math.sqrt(
                max(0.0, (track.box.x2 - track.box.x1) * (track.box.y2 - track.box.y1))
            )
            for crossing in self._lines.update(track.id, (x, y), size, width, height):
                if visit is not None:
                    yield Happening("crossed", track, visit.zone, *crossing)
        if track.state == "ended":
            self._lines.forget(track.id)
            if visit is not None:
                del self._visits[track.id]
                for zone in visit.zones or (EVERYWHERE,):
                    yield Happening("left", track, zone, travel=visit.travel(track))
        elif visit is not None and track.state == "confirmed" and at >= visit.due:
            visit.due = at + self._present
            yield Happening("present", track, visit.zone)


@dataclass
class _Visit:
    """A track that has entered.

    Attributes:
        zones: The zones that it is in.
        next: The zones that its box was in last.
        since: Since when that has been so.
        due: When it is reported again as still there.
        entry: Where the track was when it entered.
    """

    zones: tuple[str, ...]
    next: tuple[str, ...]
    since: float
    due: float
    entry: Box

    def travel(self, track: Track) -> str:
        """Which way a track went since it entered."""
        return travel(self.entry, track.detection.box)

    @property
    def zone(self) -> str:
        return self.zones[0] if self.zones else EVERYWHERE

    def move(self, track: Track, zones: tuple[str, ...], at: float) -> Iterator[Happening]:
        """Enter and leave zones, once the track has stayed there."""
        if zones != self.next:
            self.next, self.since = zones, at
        if zones == self.zones or at - self.since < SETTLE:
            return
        before, self.zones = self.zones, zones
        for zone in zones:
            if zone not in before:
                yield Happening("entered", track, zone)
        for zone in before:
            if zone not in zones:
                yield Happening("left", track, zone, travel=self.travel(track))


def travel(start: Box, end: Box) -> str:
    """Which way something went in the picture, as its camera sees it.

    Args:
        start: Its box before.
        end: Its box afterwards.

    Returns:
        "nearer" or "farther" where its size changed, otherwise "left", "right", "up" or "down";
        empty where it stayed.
    """
    before, after = (
        math.sqrt(max(1.0, (box.x2 - box.x1) * (box.y2 - box.y1))) for box in (start, end)
    )
    if not 1 / NEARER < after / before < NEARER:
        return "nearer" if after > before else "farther"
    dx, dy = ((end[i] + end[i + 2] - start[i] - start[i + 2]) / 2 for i in (0, 1))
    if max(abs(dx), abs(dy)) < SIDEWAYS * (before + after) / 2:
        return ""
    if abs(dx) >= abs(dy):
        return "right" if dx > 0 else "left"
    return "down" if dy > 0 else "up"
