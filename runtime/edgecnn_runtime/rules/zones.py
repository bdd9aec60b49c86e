"""Zones: named polygons in a camera's picture, in fractions of its width and height."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from edgecnn_runtime.errors import ConfigError
from edgecnn_runtime.types import Box, Point

Anchor: TypeAlias = Literal["bottom", "center"]
"""The point of a box that counts: the middle of its lower edge, where feet and wheels are, or its
center."""


@dataclass(frozen=True)
class Zones:
    """The zones of one camera.

    Attributes:
        polygons: Corners by name, as fractions of the frame's width and height; edges may cross,
            and what is enclosed an odd number of times is inside.
    """

    polygons: Mapping[str, Sequence[Point]] = field(default_factory=dict)

    def at(self, point: Point) -> tuple[str, ...]:
        """The names of the zones that a point is in, in their order.

        Args:
            point: As fractions of the frame's width and height.
        """
        return tuple(name for name, polygon in self.polygons.items() if contains(polygon, point))


def anchor_point(box: Box, anchor: Anchor = "bottom") -> Point:
    """The point of a box that counts, in the coordinates of the box."""
    x = (box.x1 + box.x2) / 2
    return x, box.y2 if anchor == "bottom" else (box.y1 + box.y2) / 2


def contains(polygon: Sequence[Point], point: Point) -> bool:
    """Whether a point is in a polygon: a ray from it crosses the edges an odd number of times.

    Args:
        polygon: Corners in order; the last one is joined to the first.
        point: In the same coordinates.
    """
    x, y = point
    inside = False
    for (x1, y1), (x2, y2) in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
            inside = not inside
    return inside


def check_polygon(points: Sequence[Point], where: str) -> None:
    """Check a zone or a masked area.

    Args:
        points: Its corners.
        where: Names it in the error.

    Raises:
        ConfigError: It has fewer than three corners or no area, or lies outside of the picture.
    """
    if len(points) < 3:
        raise ConfigError(f"{where}: an area has three corners or more, not {len(points)}")
    check_points(points, where)
    xs, ys = zip(*points, strict=True)
    if max(xs) - min(xs) < 1e-3 or max(ys) - min(ys) < 1e-3:
        raise ConfigError(f"{where}: all its corners are on one line; it encloses nothing")


def check_points(points: Sequence[Point], where: str) -> None:
    """Check that points are in the picture.

    Raises:
        ConfigError: One is not; the message says which.
    """
    for x, y in points:
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise ConfigError(
                f"{where}: [{x:g}, {y:g}] is outside of the picture: points are fractions of its "
                "width and height, from [0, 0] at the top left to [1, 1] at the bottom right"
            )
