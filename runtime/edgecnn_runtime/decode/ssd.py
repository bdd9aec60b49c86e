"""Tables of boxes and scores (SSD: Liu et al., 2016; RetinaFace: Deng et al., 2019) → detections.

Boxes are offsets from prior boxes with variances, or corners where the graph decodes by itself.
"""

from itertools import product

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import Input, ModelSpec, Ssd
from edgecnn_runtime.decode.activations import raw_threshold, sigmoid_scores, softmax_scores
from edgecnn_runtime.decode.nms import NonMaxSuppression, cxcywh_to_xyxy
from edgecnn_runtime.decode.shapes import check_output_shape
from edgecnn_runtime.errors import BundleError
from edgecnn_runtime.preprocess import Geometry
from edgecnn_runtime.types import Detection, Floats, Tensors


class SsdDecoder:
    """A box per prior or row, once for each class that passes, besides the background."""

    def __init__(self, spec: Ssd, model: ModelSpec) -> None:
        """Lay out the priors.

        Raises:
            BundleError: There are more or fewer of them than rows in the outputs, or none at all
                although the graph does not decode.
        """
        self._spec = spec
        self._unit = np.ones(2, np.float32)
        count: int | None = None
        if not spec.decoded:
            if not spec.strides or len(spec.strides) != len(spec.min_sizes):
                raise BundleError("decode needs strides, and one list of min_sizes per stride")
            self._centers, self._sizes = priors(spec, model.input)
            count = len(self._centers)
        elif spec.normalized:
            self._unit = np.array((model.input.width, model.input.height), np.float32)
        count = check_output_shape(model, spec.boxes, count, 4)[0]
        self._first = int(spec.background)
        classes = check_output_shape(model, spec.scores, count, None)[1] - self._first
        if classes < 1:
            raise BundleError(f"output {spec.scores!r} has no class but background")
        if spec.points:
            check_output_shape(model, spec.landmarks, count, 2 * spec.points)
        self._threshold = raw_threshold(spec.values, spec.score)
        self._margin = np.empty((classes, count), np.float32)
        self._over = np.empty((classes, count), bool)
        self._any = np.empty(count, bool)
        self._suppression = NonMaxSuppression(
            model.labels, spec.iou, spec.max_detections, class_agnostic=False
        )

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> list[Detection]:
        """One item's detections, best first; class 0 is the first after any background."""
        anchors = self._candidates(outputs[self._spec.scores][item])
        raw = outputs[self._spec.scores][item][anchors].astype(np.float32)
        activate = softmax_scores if self._spec.background else sigmoid_scores
        probabilities = activate(self._spec.values, raw)[:, self._first :]
        rows, classes = (probabilities > self._spec.score).nonzero()
        anchors, scores = anchors[rows], probabilities[rows, classes]
        if not len(anchors):
            return []
        shape = outputs[self._spec.boxes][item][anchors].astype(np.float32)
        marks = None
        if self._spec.points:
            marks = outputs[self._spec.landmarks][item][anchors].astype(np.float32)
            marks = marks.reshape(len(anchors), -1, 2)
        if self._spec.decoded:
            corners = shape.reshape(-1, 2, 2)
            if self._spec.order == "yxyx":
                corners = corners[..., ::-1]
            boxes = (corners * self._unit).reshape(-1, 4)
            points = None if marks is None else marks * self._unit
        else:
            boxes, points = self._from_priors(anchors, shape, marks)
        return self._suppression.detections(boxes, scores, classes.__getitem__, points, geometry)

    def _from_priors(
        self, anchors: NDArray[np.intp], shape: Floats, marks: Floats | None
    ) -> tuple[Floats, Floats | None]:
        """Corners and landmarks in pixels, from offsets that are scaled by the variances."""
        near, far = (np.float32(variance) for variance in self._spec.variances)
        centers, sizes = self._centers[anchors], self._sizes[anchors]
        boxes = cxcywh_to_xyxy(
            centers + shape[:, :2] * near * sizes, sizes * np.exp(shape[:, 2:] * far)
        )
        if marks is None:
            return boxes, None
        return boxes, centers[:, None] + marks * near * sizes[:, None]

    def _candidates(self, scores: Floats) -> NDArray[np.intp]:
        """Rows that may pass the threshold; every one that does is among them."""
        values = scores.T  # class by class, the long axis last: NumPy needs no buffer
        if self._spec.background and self._spec.values == "logits":
            # a class's softmax is at most the sigmoid of its lead over the background
            np.subtract(values[1:], values[0], out=self._margin)
        else:
            np.copyto(
                self._margin, values[self._first :]
            )  # NumPy 2.2 compares strided values in a buffer
        np.greater(self._margin, self._threshold, out=self._over)
        np.logical_or.reduce(self._over, axis=0, out=self._any)
        return np.flatnonzero(self._any)


def priors(spec: Ssd, size: Input) -> tuple[Floats, Floats]:
    """Centers and sizes of all priors in input pixels, float32[A,2] each, in the heads' order."""
    centers, sizes = [], []
    for stride, edges in zip(spec.strides, spec.min_sizes, strict=True):
        columns, rows = -(-size.width // stride), -(-size.height // stride)
        y, x = np.divmod(np.arange(rows * columns), columns)
        cells = (np.stack((x, y), axis=1) + 0.5) * stride
        shapes = [
            (edge * ratio**0.5, edge / ratio**0.5)
            for edge, ratio in product(edges, spec.aspect_ratios)
        ]
        centers.append(np.repeat(cells, len(shapes), axis=0))
        sizes.append(np.tile(shapes, (len(cells), 1)))
    return np.concatenate(centers).astype(np.float32), np.concatenate(sizes).astype(np.float32)
