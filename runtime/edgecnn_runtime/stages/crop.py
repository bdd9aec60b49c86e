"""Which part of a frame the second model is given for a detection."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from edgecnn_runtime.model import EVIDENCE_MARGIN, crop_region
from edgecnn_runtime.preprocess import Region, cut_warp
from edgecnn_runtime.stages.align import align_face, rectify
from edgecnn_runtime.types import Box, Detection, Pixels, Point

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
    if detection.corners:
        return rectify(detection.corners, margin, ordered=True)
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
"""Along the detector's box, upright where it is rotated; four corners straightened; a face turned
by five landmarks."""


def evidence(pixels: Pixels, box: Box, corners: Sequence[Point] = ()) -> Pixels:
    """The picture that shows an object and a little around it.

    Args:
        pixels: uint8[H,W,3] BGR, the frame.
        box: Where the object is in it.
        corners: Those of its rotated box, as ``Detection`` has them.

    Returns:
        uint8[h,w,3] BGR: a view of the frame, or a new picture in which the object is upright.
    """
    warp = rectify(corners, EVIDENCE_MARGIN, ordered=True) if corners else None
    if warp is not None:
        return cut_warp(pixels, warp)
    height, width = pixels.shape[:2]
    x, y, w, h = crop_region(box, width, height, EVIDENCE_MARGIN)
    return pixels[y : y + h, x : x + w]
