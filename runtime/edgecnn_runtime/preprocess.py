"""From a camera's frame to the model's input, and back; all in uint8.

A frame (or a part of it) is resized straight into a slot of the backend's own input buffer: one
pass over the pixels, no copy, no allocation. There is no other preprocessing, because color order,
scale and mean are inside the artifact. Export calibrates and verifies with this module, so training
and deployment cannot disagree.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, TypeAlias

import cv2
import numpy as np

from edgecnn_runtime.bundle.manifest import Input
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.types import Floats, Pixels

Roi: TypeAlias = tuple[int, int, int, int]
"""A part of a frame: x, y, width, height in whole frame pixels."""

Rect: TypeAlias = tuple[int, int, int, int]
"""x1, y1, x2, y2 in whole pixels; x2 and y2 are exclusive."""

GEOMETRIES = 64
"""How many geometries are cached: cameras × regions that one model serves."""


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """Where a picture is in the model's input: for each coordinate, frame = input · gain + shift.

    Coordinates are measured from the outer corner of the first pixel, so resizing is a pure scale.

    Attributes:
        width: Of the frame, in pixels.
        height: Of the frame, in pixels.
        source: The part of the frame that is read.
        target: The part of the input that it fills.
        gain: float32[4], for x, y, x, y.
        shift: float32[4], for x, y, x, y, in frame pixels.
        limit: float32[4], the frame's width, height, width, height.
        interpolation: OpenCV's constant.
    """

    width: int
    height: int
    source: Rect
    target: Rect
    gain: Floats
    shift: Floats
    limit: Floats
    interpolation: int

    def boxes_to_frame(self, boxes: Floats) -> Floats:
        """Convert boxes to frame pixels, clipped at the frame's edge.

        Args:
            boxes: float32[K,4], x1, y1, x2, y2 in input pixels; overwritten.

        Returns:
            ``boxes``.
        """
        np.multiply(boxes, self.gain, out=boxes)
        np.add(boxes, self.shift, out=boxes)
        np.maximum(boxes, 0.0, out=boxes)
        return np.minimum(boxes, self.limit, out=boxes)

    def points_to_frame(self, points: Floats) -> Floats:
        """Convert points to frame pixels; they may be outside the frame.

        Args:
            points: float32[…,2], x, y in input pixels; overwritten.

        Returns:
            ``points``.
        """
        np.multiply(points, self.gain[:2], out=points)
        return np.add(points, self.shift[:2], out=points)


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
        self._framed: list[Rect] = [(0, 0, 0, 0)] * len(pixels)
        self._fit = lru_cache(GEOMETRIES)(partial(compute_geometry, spec))

    def load_frame(self, frame: Pixels, slot: int = 0, roi: Roi | None = None) -> Geometry:
        """Resize a frame, or a part of it, into a slot.

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
        geometry = self._fit(width, height, roi)
        x1, y1, x2, y2 = geometry.source
        left, top, right, bottom = geometry.target
        if geometry.target != self._framed[slot]:
            self._slots[slot][:] = self._pad
            self._framed[slot] = geometry.target
        cv2.resize(
            frame[y1:y2, x1:x2],
            (right - left, bottom - top),
            dst=self._slots[slot][top:bottom, left:right],
            interpolation=geometry.interpolation,
        )
        return geometry


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
