"""Areas and overlaps of boxes."""

import math

from edgecnn_runtime.types import Box


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
