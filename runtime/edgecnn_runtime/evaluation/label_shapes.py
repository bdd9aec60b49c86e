"""What labels say of an object besides its class, and the object that is made of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.evaluation.dataset import LabeledObject, SourceLocation, is_outside
from edgecnn_runtime.geometry import area, box_around
from edgecnn_runtime.run_length import from_polygons
from edgecnn_runtime.types import Box

BODY_SHARE = 0.53
"""The outline's share of the area of its box, about, for labels that do not say: Ultralytics takes
the same for key points."""
MIN_SIDE = 1e-3
"""In pixels: a rotated box with a shorter side has no area."""
MAX_COORDINATE = 1e6
"""In pixels."""
LEAST_POINTS = 3
"""Points of a polygon."""


@dataclass(frozen=True)
class LabelShape:
    """What each label has besides a class.

    Attributes:
        name: What it is.
        points: Key points of each object; 0 for other shapes.
    """

    name: Literal["boxes", "key points", "rotated boxes", "masks"]
    points: int = 0

    @property
    def noun(self) -> str:
        """One of them."""
        return "mask" if self.name == "masks" else "box"


BOXES = LabelShape("boxes")
ROTATED = LabelShape("rotated boxes")
MASKS = LabelShape("masks")


def keypoints(count: int) -> LabelShape:
    """Boxes with so many key points each."""
    return LabelShape("key points", count)


def pose_object(
    index: int,
    box: Box,
    points: Sequence[Sequence[float]],
    *,
    outline: float = 0.0,
    crowd: bool = False,
) -> LabeledObject:
    """A box with key points.

    Args:
        index: The number of its class.
        box: In pixels.
        points: x, y and visibility each.
        outline: The area of its outline in square pixels; 0.0 where labels do not say.
        crowd: Whether it is a region of many objects.
    """
    places = tuple((float(x), float(y), int(v)) for x, y, v in points)
    size = outline or BODY_SHARE * area(box)
    return LabeledObject(index, box, points=places, area=size, crowd=crowd)


def rotated_object(
    place: SourceLocation, index: int, corners: NDArray[np.float64]
) -> LabeledObject:
    """The smallest rotated box around its corners, float64[N,2] in pixels.

    Raises:
        UsageError: They lie on one line, or reach to infinity.
    """
    if len(corners) < LEAST_POINTS or np.abs(corners).max() > MAX_COORDINATE:
        raise place.error(f"its {len(corners)} corners are no rotated box of pixels")
    center, sides, angle = cv2.minAreaRect(corners.astype(np.float32))
    if min(sides) < MIN_SIDE:
        raise place.error("the corners lie on one line; a rotated box has an area")
    points = cv2.boxPoints((center, sides, angle))
    exact = tuple((float(x), float(y)) for x, y in points)
    return LabeledObject(index, box_around(exact), corners=exact)


def mask_object(
    place: SourceLocation,
    index: int,
    polygons: Sequence[NDArray[np.float64]],
    size: tuple[int, int],
) -> LabeledObject:
    """The pixels inside at least one of some polygons, float64[points,2] each, in pixels.

    Args:
        place: Where they are written.
        index: The number of the class.
        polygons: At least one.
        size: Width and height of the image.

    Raises:
        UsageError: A polygon has too few points, or lies outside the image.
    """
    width, height = size
    for polygon in polygons:
        if len(polygon) < LEAST_POINTS:
            raise place.error(
                f"a polygon with {len(polygon)} points; it has {LEAST_POINTS} or more"
            )
        around = Box(*polygon.min(0).tolist(), *polygon.max(0).tolist())
        if is_outside(around, width, height):
            raise place.error(
                f"a polygon reaches from x={around.x1:g}, y={around.y1:g} to x={around.x2:g}, "
                f"y={around.y2:g}, and its image has {width} × {height} pixels"
            )
    mask = from_polygons(polygons, height, width)
    around = box_around([(x, y) for polygon in polygons for x, y in polygon.tolist()])
    return LabeledObject(index, around, mask=mask)
