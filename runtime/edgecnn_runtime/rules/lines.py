"""Lines that tracks cross, and in which direction."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from edgecnn_runtime.errors import ConfigError
from edgecnn_runtime.rules.zones import check_points
from edgecnn_runtime.types import Point

BAND = 0.1
"""How far from a line a track has to be for its side to count, as a fraction of its size (the root
of its box's area): boxes tremble, and who stands on the line crosses it once."""


class Crossing(NamedTuple):
    """A line that was crossed.

    Attributes:
        line: Its name.
        direction: "in" from left to right, as seen from the line's first point looking at its
            second one; "out" the other way.
    """

    line: str
    direction: str


class LineCrossings:
    """Watches the tracks of one camera; only their way since the last position counts."""

    def __init__(self, lines: Mapping[str, Sequence[Point]]) -> None:
        """Watch lines.

        Args:
            lines: Two points each, by name, as fractions of the frame's width and height.
        """
        self._lines = lines
        self._places: dict[tuple[int, str], Point] = {}
        """By track and line: where it was when its side was last certain, as fractions."""

    def update(
        self, track: int, point: Point, size: float, width: int, height: int
    ) -> list[Crossing]:
        """The lines that a track crossed on its way from where it was before.

        Args:
            track: Its id.
            point: Where it is, in frame pixels.
            size: Of the object, in frame pixels.
            width: Of the frame.
            height: Of the frame.
        """
        crossings = []
        for name, ((ax, ay), (bx, by)) in self._lines.items():
            start, end = (ax * width, ay * height), (bx * width, by * height)
            side = _distance(start, end, point)
            if not abs(side) > BAND * size:
                continue
            x, y = self._places.get((track, name), (point[0] / width, point[1] / height))
            self._places[track, name] = point[0] / width, point[1] / height
            if _meets(start, end, (x * width, y * height), point):
                crossings.append(Crossing(name, "in" if side > 0 else "out"))
        return crossings

    def forget(self, track: int) -> None:
        """A track has ended."""
        for name in self._lines:
            self._places.pop((track, name), None)

    def reset(self) -> None:
        """Forget every track."""
        self._places.clear()


def check_line(points: Sequence[Point], where: str) -> None:
    """Check a line.

    Args:
        points: Its ends.
        where: Names it in the error.

    Raises:
        ConfigError: It has not two different ends, or lies outside of the picture.
    """
    if len(points) != 2:
        raise ConfigError(f"{where}: a line has two points, not {len(points)}")
    check_points(points, where)
    if math.dist(*points) < 1e-3:
        raise ConfigError(f"{where}: its two points are the same")


def _distance(start: Point, end: Point, point: Point) -> float:
    """Of a point from the endless line through two others; positive on its right."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    return (dx * (point[1] - start[1]) - dy * (point[0] - start[0])) / math.hypot(dx, dy)


def _meets(start: Point, end: Point, before: Point, now: Point) -> bool:
    """Whether the way between two points crosses a line between its ends."""
    side, other = _distance(start, end, before), _distance(start, end, now)
    if side * other >= 0:
        return False
    share = side / (side - other)
    x, y = before[0] + share * (now[0] - before[0]), before[1] + share * (now[1] - before[1])
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = ((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy)
    return 0 <= along <= 1
