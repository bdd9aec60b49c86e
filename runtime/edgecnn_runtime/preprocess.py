"""From a camera's frame to the model's input, and back; all in uint8.

A frame (or a part of it, upright or not) is resampled straight into a slot of the backend's own
input buffer: one pass over the pixels, no copy, no allocation. There is no other preprocessing,
because color order, scale and mean are inside the artifact. Export calibrates and verifies with
this module, so training and deployment cannot disagree.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import Input
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.types import Floats, Pixels

Roi: TypeAlias = tuple[int, int, int, int]
"""A part of a frame: x, y, width, height in whole frame pixels."""

Rect: TypeAlias = tuple[int, int, int, int]
"""x1, y1, x2, y2 in whole pixels; x2 and y2 are exclusive."""

GEOMETRIES = 64
"""How many geometries are cached: cameras × regions that one model serves."""

CORNERS = (0, 1, 2, 1, 2, 3, 0, 3)
"""The coordinates of a box's four corners, among x1, y1, x2, y2."""
CENTERS = np.array([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]])
"""From coordinates that are measured from the first pixel's outer corner to OpenCV's."""


@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """A picture that is in a frame, but not upright: turned and scaled, or seen in perspective.

    Attributes:
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
        matrix: float64[3,3], from the picture's coordinates to the frame's: (x, y, 1) becomes
            (u, v, w), which is the point u/w, v/w. The third row is 0, 0, 1 unless the picture is
            seen in perspective; the first two are then the usual 2×3 matrix of an affine map.
    """

    width: int
    height: int
    matrix: NDArray[np.float64]


Region: TypeAlias = Roi | Warp
"""What a model may look at instead of the whole frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """Where a picture is in the model's input: for each coordinate, frame = input · gain + shift.

    Of a ``Warp``, input · gain + shift is a coordinate of its picture, which its matrix takes to
    the frame. Coordinates are measured from the outer corner of the first pixel, so resizing is a
    pure scale.

    Attributes:
        width: Of the frame, in pixels.
        height: Of the frame, in pixels.
        source: The part of the frame, or of the warp's picture, that is read.
        target: The part of the input that it fills.
        gain: float32[4], for x, y, x, y.
        shift: float32[4], for x, y, x, y, in frame pixels.
        limit: float32[4], the frame's width, height, width, height.
        interpolation: OpenCV's constant.
        matrix: float64[3,3], that of the warp; None where the picture is upright in the frame.
    """

    width: int
    height: int
    source: Rect
    target: Rect
    gain: Floats
    shift: Floats
    limit: Floats
    interpolation: int
    matrix: NDArray[np.float64] | None = None

    def boxes_to_frame(self, boxes: Floats) -> Floats:
        """Convert boxes to frame pixels, clipped at the frame's edge.

        A box of a warp becomes the smallest upright box around its four corners there: exact for
        each corner, and larger than the object where the warp turns it.

        Args:
            boxes: float32[K,4], x1, y1, x2, y2 in input pixels; overwritten.

        Returns:
            ``boxes``.
        """
        np.multiply(boxes, self.gain, out=boxes)
        np.add(boxes, self.shift, out=boxes)
        if self.matrix is not None:
            corners = _transform(self.matrix, boxes[:, CORNERS].reshape(-1, 4, 2))
            corners.min(axis=1, out=boxes[:, :2])
            corners.max(axis=1, out=boxes[:, 2:])
        np.maximum(boxes, 0.0, out=boxes)
        return np.minimum(boxes, self.limit, out=boxes)

    def points_to_frame(self, points: Floats) -> Floats:
        """Convert points to frame pixels, exactly; they may be outside the frame.

        Args:
            points: float32[…,2], x, y in input pixels; overwritten.

        Returns:
            ``points``.
        """
        np.multiply(points, self.gain[:2], out=points)
        np.add(points, self.shift[:2], out=points)
        return points if self.matrix is None else _transform(self.matrix, points)


class Preprocessor:
    """Resizes frames into the slots of an input buffer. Not thread-safe."""

    def __init__(self, spec: Input, pixels: Pixels) -> None:
        """Prepare for one buffer.

        Args:
            spec: What the model takes.
            pixels: uint8[N,height,width,3], the buffer to write into; owned by the caller.
        """
        if pixels.shape[1:] != (spec.height, spec.width, 3) or pixels.dtype != np.uint8:
            raise ValueError(f"the buffer is {pixels.dtype}{list(pixels.shape)}")
        self._slots = list(pixels)
        self._pad = np.array(spec.pad, np.uint8)
        self._bars = tuple(map(float, spec.pad))
        self._framed: list[Rect] = [(0, 0, 0, 0)] * len(pixels)
        self._fit = lru_cache(GEOMETRIES)(partial(compute_geometry, spec))

    def load_frame(self, frame: Pixels, slot: int = 0, roi: Region | None = None) -> Geometry:
        """Resize a frame, or a part of it, into a slot.

        What a warp shows of the outside of the frame gets the color of the bars. A warp is always
        interpolated linearly.

        Args:
            frame: uint8[H,W,3] BGR; rows may be strided. Read only during the call.
            slot: Which picture of the buffer is written.
            roi: The part of the frame; None for all of it.

        Returns:
            Where the frame is in the slot.

        Raises:
            UsageError: ``frame`` is anything else, or ``roi`` is not inside it.
        """
        check_frame(frame)
        height, width = frame.shape[:2]
        if isinstance(roi, Warp):
            geometry = _warped(self._fit(roi.width, roi.height, None), roi, width, height)
        else:
            geometry = self._fit(width, height, roi)
        left, top, right, bottom = geometry.target
        if geometry.target != self._framed[slot]:
            self._slots[slot][:] = self._pad
            self._framed[slot] = geometry.target
        target, size = self._slots[slot][top:bottom, left:right], (right - left, bottom - top)
        if geometry.matrix is None:
            x1, y1, x2, y2 = geometry.source
            cv2.resize(frame[y1:y2, x1:x2], size, dst=target, interpolation=geometry.interpolation)
        else:
            self._warp(frame, geometry, target, size)
        return geometry

    def _warp(
        self, frame: Pixels, geometry: Geometry, target: Pixels, size: tuple[int, int]
    ) -> None:
        """Resample what the geometry's matrix shows of a frame."""
        assert geometry.matrix is not None
        (gain_x, gain_y), (shift_x, shift_y) = geometry.gain[:2], geometry.shift[:2]
        left, top = geometry.target[:2]
        # OpenCV measures from the center of the first pixel, not from its outer corner
        to_picture = np.array(
            [
                [gain_x, 0.0, (left + 0.5) * gain_x + shift_x],
                [0.0, gain_y, (top + 0.5) * gain_y + shift_y],
                [0.0, 0.0, 1.0],
            ]
        )
        matrix = CENTERS @ geometry.matrix @ to_picture
        flags, border = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_CONSTANT
        if (matrix[2, :2] == 0.0).all():
            cv2.warpAffine(
                frame, matrix[:2] / matrix[2, 2], size, target, flags, border, self._bars
            )
        else:
            cv2.warpPerspective(frame, matrix, size, target, flags, border, self._bars)


def cut_warp(frame: Pixels, warp: Warp) -> Pixels:
    """The picture of a warp, black where it shows the outside of the frame.

    Args:
        frame: uint8[H,W,3] BGR.
        warp: Where the picture is in it.

    Returns:
        A new uint8[h,w,3] BGR.
    """
    matrix = CENTERS @ warp.matrix @ np.linalg.inv(CENTERS)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    picture: Any = cv2.warpPerspective(frame, matrix, (warp.width, warp.height), flags=flags)
    return np.asarray(picture, np.uint8)


def prepare(spec: Input, frames: Sequence[Pixels]) -> Pixels:
    """Resize frames into a new uint8[N,height,width,3], owned by the caller."""
    pixels = np.empty((len(frames), spec.height, spec.width, 3), np.uint8)
    preprocessor = Preprocessor(spec, pixels)
    for slot, frame in enumerate(frames):
        preprocessor.load_frame(frame, slot)
    return pixels


def compute_geometry(spec: Input, width: int, height: int, roi: Roi | None = None) -> Geometry:
    """Where a frame, or a part of it, is in the model's input.

    Args:
        spec: What the model takes.
        width: Of the frame, in pixels.
        height: Of the frame, in pixels.
        roi: The part of the frame; None for all of it.

    Raises:
        UsageError: ``roi`` is not inside the frame.
    """
    x, y, w, h = (0, 0, width, height) if roi is None else _inside(roi, width, height)
    source, target = (0, 0, w, h), (0, 0, spec.width, spec.height)
    if spec.resize == "letterbox":
        target = _letterbox(spec, w, h)
    elif spec.resize == "crop":
        source = _crop(spec, w, h)
    source = (source[0] + x, source[1] + y, source[2] + x, source[3] + y)
    return _geometry(spec, width, height, source, target)


def identity_geometry(spec: Input) -> Geometry:
    """The geometry of pixels that have the model's input size already, such as golden pictures."""
    size = (0, 0, spec.width, spec.height)
    return _geometry(spec, spec.width, spec.height, size, size)


def check_frame(frame: Any) -> None:
    """Check that a frame is uint8[H,W,3].

    Raises:
        UsageError: It is something else; the message says how to convert it.
    """
    if not isinstance(frame, np.ndarray):
        hint = ": the picture could not be read" if frame is None else ""
        raise UsageError(
            f"a frame is a NumPy array uint8[H,W,3] BGR, not {type(frame).__name__}{hint}"
        )
    if frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3 and frame.size:
        return
    actual = f"{frame.dtype}{list(frame.shape)}"
    raise UsageError(f"a frame is uint8[H,W,3] BGR, not {actual}: {_remedy(frame)}")


def _transform(matrix: NDArray[np.float64], points: Floats) -> Floats:
    """Apply a warp's matrix to points, float32[…,2], in place."""
    mapped = points.reshape(-1, 2).astype(np.float64) @ matrix[:, :2].T + matrix[:, 2]
    points[...] = (mapped[:, :2] / mapped[:, 2:]).reshape(points.shape)
    return points


def _warped(upright: Geometry, warp: Warp, width: int, height: int) -> Geometry:
    """The geometry of a warp's picture in a frame, from that of the picture alone."""
    limit = np.array((width, height) * 2, np.float32)
    return replace(upright, width=width, height=height, limit=limit, matrix=warp.matrix)


def _remedy(frame: "np.ndarray[Any, Any]") -> str:
    shape = frame.shape
    remedies = (
        (not frame.size, "it is empty; check where it was cut"),
        (frame.ndim == 2 or shape[2:] == (1,), "cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)"),
        (shape[2:] == (4,), "cv2.cvtColor(frame, cv2.COLOR_BGRA2BGR)"),
        (frame.ndim == 4, "give one picture, or a list of them to model.batch()"),
        (shape[2:] != (3,) and shape[:1] == (3,), "channels come last: frame.transpose(1, 2, 0)"),
        (shape[2:] != (3,), "its channels are blue, green, red"),
        (True, "give the camera's bytes 0..255; normalization is inside the model"),
    )
    return next(remedy for applies, remedy in remedies if applies)


def _inside(roi: Roi, width: int, height: int) -> Roi:
    x, y, w, h = roi
    if w < 1 or h < 1 or x < 0 or y < 0 or x + w > width or y + h > height:
        raise UsageError(
            f"the region x={x} y={y} width={w} height={h} is not inside the {width}x{height} frame"
        )
    return roi


def _letterbox(spec: Input, width: int, height: int) -> Rect:
    scale = min(spec.width / width, spec.height / height)
    w = min(max(round(width * scale), 1), spec.width)
    h = min(max(round(height * scale), 1), spec.height)
    if spec.pad_position == "corner":
        return 0, 0, w, h
    left, top = (spec.width - w) // 2, (spec.height - h) // 2
    return left, top, left + w, top + h


def _crop(spec: Input, width: int, height: int) -> Rect:
    """The part of the picture that resizing and then center-cropping shows, in whole pixels.

    Cropping first and resizing once gives the same picture with a fraction of the work, to within
    half a frame pixel.
    """
    resized_w = math.floor(spec.width / spec.crop_pct + 1e-6)
    resized_h = math.floor(spec.height / spec.crop_pct + 1e-6)
    scale = max(resized_w / width, resized_h / height)
    w = min(max(round(spec.width / scale), 1), width)
    h = min(max(round(spec.height / scale), 1), height)
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def _geometry(spec: Input, width: int, height: int, source: Rect, target: Rect) -> Geometry:
    x1, y1, x2, y2 = source
    left, top, right, bottom = target
    gain_x, gain_y = (x2 - x1) / (right - left), (y2 - y1) / (bottom - top)
    shift_x, shift_y = x1 - left * gain_x, y1 - top * gain_y
    shrinks = gain_x >= 1 and gain_y >= 1
    area = spec.interpolation == "area" and shrinks
    pairs = (gain_x, gain_y), (shift_x, shift_y), (width, height)
    gain, shift, limit = (np.array(pair * 2, np.float32) for pair in pairs)
    interpolation = cv2.INTER_AREA if area else cv2.INTER_LINEAR
    return Geometry(width, height, source, target, gain, shift, limit, interpolation)
