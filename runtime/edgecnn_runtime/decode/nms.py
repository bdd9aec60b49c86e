"""What every detector ends with: suppress overlaps, go back to frame pixels, name the classes."""

from collections.abc import Callable
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.preprocess import Geometry
from edgecnn_runtime.types import Box, Detection, Floats

MAX_CANDIDATES = 5000
"""Boxes that enter suppression, best first; as in OpenCV's FaceDetectorYN."""

MAX_COORDINATE = 1 << 17
"""No input is larger than half of this; a box that reaches beyond it is not in the image."""

ClassesOf: TypeAlias = Callable[[NDArray[np.intp]], NDArray[np.intp]]
"""Class numbers of some candidates by their indices: reading those of all is half of decoding a
head of 80 classes, and few candidates stay."""


class NonMaxSuppression:
    """Candidates → detections, best first."""

    def __init__(
        self,
        labels: tuple[str, ...],
        iou: float | None,
        max_detections: int,
        *,
        class_agnostic: bool = True,
    ) -> None:
        """Set the rules.

        Args:
            labels: Class names by class number.
            iou: Boxes that overlap a better one by more are dropped; None keeps all.
            max_detections: How many boxes stay, best first.
            class_agnostic: Whether boxes of different classes suppress each other.
        """
        self._labels = labels
        self._iou = iou
        self._max = max_detections
        self._agnostic = class_agnostic

    def detections(
        self,
        boxes: Floats,
        scores: Floats,
        classes_of: ClassesOf | None,
        points: Floats | None,
        geometry: Geometry,
        *,
        end: float = 0.0,
    ) -> list[Detection]:
        """Finish candidates; those that are empty, far off or not a number are dropped.

        Args:
            boxes: float32[K,4] x1, y1, x2, y2 in input pixels; may be written into.
            scores: float32[K] over 0; one over 1 counts as 1.
            classes_of: The class numbers of candidates; None means class 0.
            points: float32[K,P,2] in input pixels; may be written into.
            geometry: How the frame was fitted into the input.
            end: Pixels of the input that a box goes on beyond its right and lower end where
                overlaps are counted: some authors count the last pixel of the picture, too.

        Returns:
            Detections in pixels of the frame, best first.
        """
        places = np.arange(len(boxes))
        pairs = self.select(boxes, scores, classes_of, points, geometry, places=places, end=end)
        return [detection for detection, _ in pairs]

    def select(
        self,
        boxes: Floats,
        scores: Floats,
        classes_of: ClassesOf | None,
        points: Floats | None,
        geometry: Geometry,
        *,
        places: NDArray[np.intp],
        end: float = 0.0,
    ) -> list[tuple[Detection, int]]:
        """The same, each with its place: where the head has more about this candidate."""
        candidates = np.arange(len(boxes))
        if not _all_usable(boxes, scores, points):
            candidates = candidates[_usable(boxes, scores, points)]
            boxes, scores = boxes[candidates], scores[candidates]
            points = None if points is None else points[candidates]
        classes = None if self._agnostic or classes_of is None else classes_of(candidates)
        keep = self._best(boxes, scores, classes, end)
        boxes = geometry.boxes_to_frame(boxes[keep])
        landmarks = [()] * len(keep) if points is None else _pairs(points[keep], geometry)
        indices = [0] * len(keep)
        if classes_of is not None:
            indices = classes_of(candidates[keep]).tolist()
        labels, named, places = self._labels, len(self._labels), places[candidates[keep]]
        return [
            (
                Detection(
                    Box._make(box),
                    min(score, 1.0),
                    labels[index] if index < named else str(index),
                    index,
                    pairs,
                ),
                place,
            )
            for box, score, index, pairs, place in zip(
                boxes.tolist(),
                scores[keep].tolist(),
                indices,
                landmarks,
                places.tolist(),
                strict=True,
            )
            if box[2] > box[0] and box[3] > box[1]
        ]

    def _best(
        self, boxes: Floats, scores: Floats, classes: NDArray[np.intp] | None, end: float
    ) -> NDArray[np.intp]:
        """Indices of the boxes that stay, best first."""
        if self._iou is None or len(boxes) < 2:
            return np.argsort(-scores, kind="stable")[: self._max]
        rectangles = boxes.astype(np.float64)
        rectangles[:, 2:] -= rectangles[:, :2] - end
        if classes is not None:
            rectangles[:, 0] += classes * (4.0 * MAX_COORDINATE)  # classes never meet
        # lists: OpenCV reads an array one NumPy scalar after the other, several times slower
        indices = cv2.dnn.NMSBoxes(
            rectangles.tolist(), scores.tolist(), 0.0, self._iou, 1.0, MAX_CANDIDATES
        )
        return np.asarray(indices, np.intp)[: self._max]


def _all_usable(boxes: Floats, scores: Floats, points: Floats | None) -> bool:
    """Whether nothing has to be dropped, as nearly always: a few reductions instead of masks."""
    return bool(
        len(boxes)
        and _near(boxes)
        and (boxes[:, 2:] - boxes[:, :2]).min() > 0
        and scores.min() > 0
        and scores.max() < MAX_COORDINATE
        and (points is None or _near(points))
    )


def _near(values: Floats) -> bool:
    return bool(values.min() > -MAX_COORDINATE and values.max() < MAX_COORDINATE)  # NaN is neither


def _usable(boxes: Floats, scores: Floats, points: Floats | None) -> NDArray[np.bool_]:
    """Which candidates are boxes at all; every comparison with NaN is false."""
    good = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    good &= np.abs(boxes).max(axis=1) < MAX_COORDINATE
    good &= (scores > 0) & (scores < MAX_COORDINATE)
    if points is not None:
        good &= np.abs(points).max(axis=(1, 2)) < MAX_COORDINATE
    return good


def cxcywh_to_xyxy(centers: Floats, sizes: Floats) -> Floats:
    """Centers float32[K,2] and sizes float32[K,2] → x1, y1, x2, y2 float32[K,4]."""
    boxes = np.empty((len(centers), 4), np.float32)
    half = sizes * np.float32(0.5)
    np.subtract(centers, half, out=boxes[:, :2])
    np.add(centers, half, out=boxes[:, 2:])
    return boxes


def _pairs(points: Floats, geometry: Geometry) -> list[Any]:
    return [tuple(map(tuple, pairs)) for pairs in geometry.points_to_frame(points).tolist()]
