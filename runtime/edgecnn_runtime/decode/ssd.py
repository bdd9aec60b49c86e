"""Prior boxes with variances (Liu et al., 2016; RetinaFace: Deng et al., 2019) → detections."""

from itertools import product

import numpy as np

from edgecnn_runtime.bundle.manifest import Input, ModelSpec, Ssd
from edgecnn_runtime.decode.activations import raw_threshold, softmax_scores
from edgecnn_runtime.decode.nms import NonMaxSuppression, cxcywh_to_xyxy
from edgecnn_runtime.decode.shapes import check_output_shape
from edgecnn_runtime.errors import BundleError
from edgecnn_runtime.preprocess import Geometry
from edgecnn_runtime.types import Detection, Floats, Tensors


class SsdDecoder:
    """Offsets from priors, and the best class but the background."""

    def __init__(self, spec: Ssd, model: ModelSpec) -> None:
        """Lay out the priors.

        Raises:
            BundleError: There are more or fewer of them than rows in the outputs.
        """
        if len(spec.strides) != len(spec.min_sizes):
            raise BundleError("decode needs one list of min_sizes per stride")
        centers, sizes = priors(spec, model.input)
        count = len(centers)
        check_output_shape(model, spec.boxes, count, 4)
        classes = check_output_shape(model, spec.scores, count, None)[1]
        if classes < 2:
            raise BundleError(f"output {spec.scores!r} has no class but background")
        if spec.points:
            check_output_shape(model, spec.landmarks, count, 2 * spec.points)
        self._spec = spec
        self._centers, self._sizes = centers, sizes
        self._threshold = raw_threshold(spec.values, spec.score)
        self._margin = np.empty((classes - 1, count), np.float32)
        self._over = np.empty((classes - 1, count), bool)
        self._any = np.empty(count, bool)
        self._suppression = NonMaxSuppression(
            model.labels, spec.iou, spec.max_detections, class_agnostic=False
        )

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> list[Detection]:
        """One item's detections, best first; class 0 is the first after the background."""
        anchors = self._candidates(outputs[self._spec.scores][item])
        raw = outputs[self._spec.scores][item][anchors].astype(np.float32)
        probabilities = softmax_scores(self._spec.values, raw)[:, 1:]
        classes = probabilities.argmax(axis=1)
        scores = probabilities[np.arange(len(anchors)), classes]
        passes = scores > self._spec.score
        anchors, classes, scores = anchors[passes], classes[passes], scores[passes]
        if not len(anchors):
            return []
        near, far = (np.float32(variance) for variance in self._spec.variances)
        centers, sizes = self._centers[anchors], self._sizes[anchors]
        shape = outputs[self._spec.boxes][item][anchors].astype(np.float32)
        boxes = cxcywh_to_xyxy(
            centers + shape[:, :2] * near * sizes, sizes * np.exp(shape[:, 2:] * far)
        )
        points = None
        if self._spec.points:
            offsets = outputs[self._spec.landmarks][item][anchors].reshape(len(anchors), -1, 2)
            points = centers[:, None] + offsets.astype(np.float32) * near * sizes[:, None]
        return self._suppression.detections(boxes, scores, classes.__getitem__, points, geometry)

    def _candidates(self, scores: Floats) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
        """Priors that may pass the threshold; every one that does is among them."""
        values = scores.T  # class by class, the long axis last: NumPy needs no buffer
        if self._spec.values == "logits":
            # a class's softmax is at most the sigmoid of its lead over the background
            np.subtract(values[1:], values[0], out=self._margin)
        else:
            np.copyto(self._margin, values[1:])  # NumPy 2.2 compares strided values in a buffer
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
