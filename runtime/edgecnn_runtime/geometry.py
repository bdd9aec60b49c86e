"""Areas and overlaps of boxes, and the corners of rotated ones."""

import math
from collections.abc import Sequence

from edgecnn_runtime.types import Box, Point, RotatedBox


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes; 0.0 where both are empty."""
    width = min(one.x2, other.x2) - max(one.x1, other.x1)
    height = min(one.y2, other.y2) - max(one.y1, other.y1)
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (area(one) + area(other) - both)


def area(box: Box) -> float:
    """The area of a box in square pixels."""
    return (box.x2 - box.x1) * (box.y2 - box.y1)


def is_box(box: Box) -> bool:
    """Whether a box is finite and not empty; every comparison with NaN is false."""
    width, height = box.x2 - box.x1, box.y2 - box.y1
    return 0 < width < math.inf and 0 < height < math.inf


def corners_of(box: RotatedBox) -> tuple[Point, Point, Point, Point]:
    """The corners of a rotated box, from its own upper left one on, clockwise."""
    cos, sin = math.cos(box.angle) / 2, math.sin(box.angle) / 2
    right, down = (box.width * cos, box.width * sin), (-box.height * sin, box.height * cos)
    return (
        (box.x - right[0] - down[0], box.y - right[1] - down[1]),
        (box.x + right[0] - down[0], box.y + right[1] - down[1]),
        (box.x + right[0] + down[0], box.y + right[1] + down[1]),
        (box.x - right[0] + down[0], box.y - right[1] + down[1]),
    )


def box_around(points: Sequence[Point]) -> Box:
    """The smallest upright box around points."""
    xs, ys = zip(*points, strict=True)
    return Box(min(xs), min(ys), max(xs), max(ys))
