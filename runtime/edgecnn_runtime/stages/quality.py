"""How much a crop can be believed, before the second model is asked.

A score of 0..1 in four parts, whose product it is:

- size: how many of the pixels that the model takes the frame really has; below 1 it is enlarged.
- sharpness: variance of the Laplacian (Pech-Pacheco et al., ICPR 2000), here over the variance of
  the picture itself, so that a sharp picture of low contrast is not taken for a blurred one.
- exposure: whether the picture is neither black nor burnt out, and has any contrast.
- pose: whether the object faces the camera, from five landmarks or four corners; 1 without them.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from edgecnn_runtime.preprocess import Roi
from edgecnn_runtime.stages.align import clockwise
from edgecnn_runtime.types import Pixels, Point

SIDE = 64
"""Pixels of the square that sharpness and exposure are measured on."""
HALF_SHARP = 0.1
"""Ratio of the variances at which sharpness is 0.5: sharp faces have that, sharp letters ten times
as much, and both lose nearly all of it to blur."""
DARK, LIGHT, BURNT = 50.0, 200.0, 250.0
"""Mean gray values: at DARK and LIGHT nothing is lost yet, at 0 and BURNT everything is."""
PROFILE = 0.1
"""Pose of an object that is seen from the side: it says little, and may be all there is."""
CONTRAST = 20.0
"""Standard deviation of gray values from which more contrast is no gain."""


class Quality(NamedTuple):
    """The parts of a crop's quality, 0..1 each.

    Attributes:
        size: Pixels that the frame has, over those that the model takes.
        sharpness: Fine detail over coarse.
        exposure: Brightness and contrast.
        pose: 1 where the object faces the camera.
    """

    size: float
    sharpness: float
    exposure: float
    pose: float

    @property
    def score(self) -> float:
        """The product of the parts."""
        return math.prod(self)


class QualityMeter:
    """Measures crops for one model; its few buffers are its own. Not thread-safe."""

    def __init__(self, width: int, height: int) -> None:
        """Measure for a model.

        Args:
            width: Of the model's input, in pixels.
            height: Of the model's input, in pixels.
        """
        self._needed = float(width * height)
        self._small = np.empty((SIDE, SIDE, 3), np.uint8)
        self._gray = np.empty((SIDE, SIDE), np.uint8)
        self._edges = np.empty((SIDE, SIDE), np.int16)

    def __call__(self, frame: Pixels, roi: Roi, points: Sequence[Point] = ()) -> Quality:
        """The quality of one crop.

        Args:
            frame: uint8[H,W,3] BGR.
            roi: Where the object is in it.
            points: Its five landmarks or four corners, in frame pixels; any other number says
                nothing of its pose.
        """
        x, y, width, height = roi
        # linear: what aliases in the model's input aliases here, and area takes many times as long
        cv2.resize(frame[y : y + height, x : x + width], (SIDE, SIDE), dst=self._small)
        cv2.cvtColor(self._small, cv2.COLOR_BGR2GRAY, self._gray)
        cv2.Laplacian(self._gray, cv2.CV_16S, self._edges)
        mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(self._gray))
        detail = float(cv2.meanStdDev(self._edges)[1][0, 0]) ** 2
        return Quality(
            size=min(1.0, math.sqrt(width * height / self._needed)),
            sharpness=detail / (detail + HALF_SHARP * deviation**2 + 1e-6),
            exposure=exposure(mean, deviation),
            pose=pose(points),
        )


def exposure(mean: float, deviation: float) -> float:
    """Whether gray values are usable, 0..1.

    Args:
        mean: Of the gray values, 0..255.
        deviation: Their standard deviation.
    """
    brightness = min(1.0, mean / DARK, max(0.0, (BURNT - mean) / (BURNT - LIGHT)))
    return brightness * min(1.0, deviation / CONTRAST)


def pose(points: Sequence[Point]) -> float:
    """How directly an object faces the camera, PROFILE..1; turning it in the picture costs nothing.

    Args:
        points: Five landmarks of a face, four corners of a flat object, or anything else, which
            gives 1.
    """
    shapes = {5: _face_pose, 4: _flat_pose}
    if len(points) not in shapes:
        return 1.0
    value = shapes[len(points)](points)
    return min(1.0, max(PROFILE, value)) if math.isfinite(value) else PROFILE


def _face_pose(points: Sequence[Point]) -> float:
    """Of a face that looks straight ahead, the nose is in the middle between eyes and mouth.

    Sideways it is 0 where the nose is below one eye (about 45 degrees); up and down it is 0 where
    the nose is at the height of the eyes or of the mouth.
    """
    right, left, nose, mouth_right, mouth_left = (complex(*point) for point in points)
    across, eyes, mouth = left - right, (right + left) / 2, (mouth_right + mouth_left) / 2
    if not (abs(across) > 0 and abs(mouth - eyes) > 0):
        return 0.0
    sideways = abs(((nose - eyes) / across).real) / 0.5
    down = ((nose - eyes) / (mouth - eyes)).real
    upright = min(1.0, 2.5 * down, 2.5 * (1 - down))
    return (1 - sideways) * max(0.0, upright)


def _flat_pose(corners: Sequence[Point]) -> float:
    """Of a flat object seen straight on, opposite sides are equally long."""
    quad = clockwise(corners)
    top, right, bottom, left = (math.dist(quad[i], quad[(i + 1) % 4]) for i in range(4))
    longer = max(top, bottom) * max(left, right)
    return min(top, bottom) * min(left, right) / longer if longer > 0 else 0.0
