"""Which part of a frame the second model is given for a detection."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypeAlias

from edgecnn_runtime.model import crop_region
from edgecnn_runtime.preprocess import Region
from edgecnn_runtime.stages.align import align_face, rectify
from edgecnn_runtime.types import Detection

CropKind: TypeAlias = Literal["box", "corners", "landmarks"]


class Crop(NamedTuple):
    """One way to cut an object out of a frame.

    Attributes:
        points: How many points the detector has to give with every box.
        cut: The part of a frame of some width and height that a detection is, with a margin that
            is a fraction of the object's size; None where its points have no usable shape.
    """

    points: int
    cut: Callable[[Detection, int, int, float], Region | None]


def _box(detection: Detection, width: int, height: int, margin: float) -> Region | None:
    return crop_region(detection.box, width, height, margin)


def _corners(detection: Detection, _width: int, _height: int, margin: float) -> Region | None:
    return rectify(detection.points, margin)


def _landmarks(detection: Detection, _width: int, _height: int, margin: float) -> Region | None:
    return align_face(detection.points, margin)


CROPS: Mapping[CropKind, Crop] = {
    "box": Crop(0, _box),
    "corners": Crop(4, _corners),
    "landmarks": Crop(5, _landmarks),
}
"""Upright as the detector's box; four corners straightened; a face turned by five landmarks."""
