"""A YOLO head of rotated boxes, raw or with its suppression inside the graph → rotated boxes."""

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import ModelSpec, Obb
from edgecnn_runtime.decode.activations import raw_threshold, sigmoid_scores
from edgecnn_runtime.decode.nms import MAX_CANDIDATES, MAX_COORDINATE
from edgecnn_runtime.decode.scratch import Scratch, column_maxima
from edgecnn_runtime.decode.shapes import check_output_shape
from edgecnn_runtime.preprocess import Geometry
from edgecnn_runtime.types import Floats, RotatedBox, RotatedDetection, Tensors

BLOCK = 128
"""Boxes that are compared with all others at a time: what bounds the memory."""
BETTER = np.tri(BLOCK, dtype=bool).T & ~np.eye(BLOCK, dtype=bool)
"""Of the boxes of a block, best first, which columns a row may suppress."""
SLACK = 0.01
"""Square pixels by which rounding may move the square of a distance, more than it does."""
EPS = 1e-7
"""Keeps quotients and logarithms finite, as in Ultralytics' ``batch_probiou``."""

Doubles: TypeAlias = NDArray[np.float64]


class ObbDecoder:
    """The layouts of ``manifest.Obb``."""

    def __init__(self, spec: Obb, model: ModelSpec) -> None:
        """Allocate for one model.

        Raises:
            BundleError: The output does not have the shape of the layout.
        """
        if spec.layout == "v8":
            _, count = check_output_shape(model, spec.output, 5 + spec.classes, None)
        else:
            count, _ = check_output_shape(model, spec.output, None, 7)
        self._spec, self._labels = spec, model.labels
        self._threshold = raw_threshold(spec.values, spec.score)
        self._best, self._over = np.empty(count, np.float32), np.empty(count, bool)
        self._rows, self._classes = Scratch(), Scratch()
        self._suppression = RotatedSuppression(spec.iou)

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> list[RotatedDetection]:
        """One item's rotated boxes, best first."""
        head = outputs[self._spec.output][item]
        boxes, scores, classes = self._v8(head) if self._spec.layout == "v8" else self._nms(head)
        if not len(boxes):
            return []
        usable = _usable(boxes, scores)
        if not usable.all():
            boxes, scores, classes = boxes[usable], scores[usable], classes[usable]
        keep = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
        if self._spec.layout == "v8":
            kinds = None if self._spec.class_agnostic else classes[keep]
            keep = keep[~self._suppression.overlapped(boxes[keep], kinds)]
        keep = keep[: self._spec.max_detections]
        labels, named = self._labels, len(self._labels)
        return [
            RotatedDetection(
                RotatedBox._make(box),
                min(score, 1.0),
                labels[index] if index < named else str(index),
                index,
            )
            for box, score, index in zip(
                boxes_to_frame(boxes[keep], geometry).tolist(),
                scores[keep].tolist(),
                classes[keep].tolist(),
                strict=True,
            )
        ]

    def _v8(self, head: Floats) -> tuple[Doubles, Floats, NDArray[np.intp]]:
        """[4+C+1,A]: boxes float64[K,5], scores and classes of the columns over the threshold."""
        stop = 4 + self._spec.classes
        column_maxima(head[4:stop], self._best)  # NaN stays NaN, which is not over
        np.greater(self._best, self._threshold, out=self._over)
        anchors = self._over.nonzero()[0]
        boxes = np.empty((len(anchors), 5))
        # take walks row by row, as the head lies in memory; head[:, anchors] does not
        boxes[:, :4] = self._rows.take(head[:4], anchors, axis=1).T
        boxes[:, 4] = head[stop].take(anchors)
        classes = np.zeros(len(anchors), np.intp)
        if self._spec.classes > 1:
            rows = self._rows.take(head[4:stop], anchors, axis=1).T
            classes = self._classes.copy_of(rows).argmax(axis=1)
        return boxes, self._scores(self._best[anchors]), classes

    def _nms(self, head: Floats) -> tuple[Doubles, Floats, NDArray[np.intp]]:
        """[K,7]: cx, cy, w, h, score, class, angle, as the graph's own suppression left them."""
        np.greater(head[:, 4], self._threshold, out=self._over)
        rows = self._rows.take(head, self._over.nonzero()[0], axis=0)
        rows = rows[(rows[:, 5] >= 0) & (rows[:, 5] < 65536)]
        boxes = rows[:, (0, 1, 2, 3, 6)].astype(np.float64)
        return boxes, self._scores(rows[:, 4].copy()), rows[:, 5].astype(np.intp)

    def _scores(self, raw: Floats) -> Floats:
        values = self._spec.values
        return raw if values == "probabilities" else sigmoid_scores(values, raw)


class RotatedSuppression:
    """Which boxes a better one overlaps by more than a limit.

    Ultralytics' suppression: a box that is suppressed itself still suppresses others ("Fast NMS",
    Bolya et al., 2019), and the overlap is that of two Gaussians, see ``probiou``.
    """

    def __init__(self, limit: float) -> None:
        """limit: 0..1."""
        self._limit = limit
        # the distance of two Gaussians is at least that of their centers over their longer sides
        self._reach = -math.log(max(1 - (1 - limit) ** 2, EPS)) / 3
        self._apart, self._near, self._alike = Scratch(np.float64), Scratch(bool), Scratch(bool)

    def overlapped(self, boxes: Doubles, classes: NDArray[np.intp] | None) -> NDArray[np.bool_]:
        """bool[K].

        Args:
            boxes: float64[K,5] cx, cy, w, h, angle, best first.
            classes: int[K]; boxes of different classes do not suppress each other. None: all do.
        """
        covered = np.zeros(len(boxes), np.bool_)
        shapes = _covariances(boxes)
        # of two centers p and q, |p - q|² less what may be between them: a product of matrices
        left, right = np.ones((2, 4, len(boxes)))
        left[:2] = boxes[:, :2].T
        np.multiply(left[:2], -2, out=right[:2])
        sides = np.maximum(boxes[:, 2], boxes[:, 3])
        right[3] = left[2] = left[0] ** 2 + left[1] ** 2 - self._reach * sides**2
        kinds = None if classes is None else classes.astype(np.int32)
        for start in range(0, len(boxes), BLOCK):
            block, rest = slice(start, start + BLOCK), slice(start, None)
            size = min(BLOCK, len(boxes) - start), len(boxes) - start
            apart, near = self._apart.array(*size), self._near.array(*size)
            np.less_equal(np.matmul(left[:, block].T, right[:, rest], out=apart), SLACK, out=near)
            near[:, : size[0]] &= BETTER[: size[0], : size[0]]
            if kinds is not None:
                alike = self._alike.array(*size)
                near &= np.equal(kinds[block, None], kinds[rest], out=alike)
            # a dozen times as fast as nonzero of two axes
            first, second = (
                places + start for places in divmod(near.ravel().nonzero()[0], size[1])
            )
            covered[second[probiou(boxes, shapes, first, second) > self._limit]] = True
        return covered


def probiou(
    boxes: Doubles, shapes: Doubles, first: NDArray[np.intp], second: NDArray[np.intp]
) -> Doubles:
    """One minus the Hellinger distance of pairs of boxes, taken as Gaussians, 0..1.

    Source: J. M. Llerena et al., "Gaussian Bounding Boxes and Probabilistic Intersection-over-Union
    for Object Detection", 2021; its small constants are those of Ultralytics' ``batch_probiou``.

    Args:
        boxes: float64[K,5] cx, cy, w, h, angle.
        shapes: float64[K,3], the covariances of their Gaussians.
        first: int[P], one box of each pair.
        second: int[P], the other one.
    """
    x, y = (boxes[first, :2] - boxes[second, :2]).T
    a1, b1, c1 = shapes[first].T
    a2, b2, c2 = shapes[second].T
    a, b, c = a1 + a2, b1 + b2, c1 + c2
    joint = a * b - c * c
    apart = (a * y * y + b * x * x - 2 * c * x * y) / (joint + EPS) / 4
    own = np.sqrt(np.maximum(a1 * b1 - c1 * c1, 0) * np.maximum(a2 * b2 - c2 * c2, 0))
    unlike = np.log(joint / (4 * own + EPS) + EPS) / 2
    distance = np.clip(apart + unlike, EPS, 100)
    overlap: Doubles = 1 - np.sqrt(1 - np.exp(-distance) + EPS)
    return overlap


def boxes_to_frame(boxes: Doubles, geometry: Geometry) -> Doubles:
    """Rotated boxes of the network's input in pixels of the frame, the longer side as the width.

    Args:
        boxes: float64[K,5] cx, cy, w, h, angle in input pixels.
        geometry: How the frame was fitted into the input. Where that stretches or turns it, center
            and axes go along.

    Returns:
        float64[K,5] cx, cy, width, height, angle; width ≥ height and -π/2 ≤ angle < π/2.
    """
    cos, sin = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    places = np.empty((len(boxes), 3, 2), np.float32)
    center, along, across = places[:, 0], places[:, 1], places[:, 2]
    center[:] = boxes[:, :2]
    along[:, 0], along[:, 1] = boxes[:, 2] * cos, boxes[:, 2] * sin
    across[:, 0], across[:, 1] = -boxes[:, 3] * sin, boxes[:, 3] * cos
    places[:, 1:] = center[:, None] + places[:, 1:] / 2
    geometry.points_to_frame(places)
    axes = 2 * (places[:, 1:] - center[:, None]).astype(np.float64)
    lengths = np.hypot(axes[..., 0], axes[..., 1])
    turned = lengths[:, 1] > lengths[:, 0]
    longer = np.where(turned[:, None], axes[:, 1], axes[:, 0])
    angle = np.arctan2(longer[:, 1], longer[:, 0])
    result = np.empty((len(boxes), 5))
    result[:, :2] = center
    result[:, 2], result[:, 3] = lengths.max(axis=1), lengths.min(axis=1)
    result[:, 4] = (angle + math.pi / 2) % math.pi - math.pi / 2
    return result


def _covariances(boxes: Doubles) -> Doubles:
    """float64[K,3]: variance of x, of y, and covariance, of uniform boxes' Gaussians."""
    width, height = boxes[:, 2] ** 2 / 12, boxes[:, 3] ** 2 / 12
    cos, sin = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    x = width * cos * cos + height * sin * sin
    y = width * sin * sin + height * cos * cos
    return np.stack([x, y, (width - height) * cos * sin], axis=1)


def _usable(boxes: Doubles, scores: Floats) -> NDArray[np.bool_]:
    """Which candidates are boxes at all; every comparison with NaN is false."""
    good = np.asarray((np.abs(boxes) < MAX_COORDINATE).all(axis=1), np.bool_)
    good &= (boxes[:, 2] > 0) & (boxes[:, 3] > 0)
    good &= (scores > 0) & (scores < MAX_COORDINATE)
    return good
