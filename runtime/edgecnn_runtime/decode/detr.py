"""A box and class scores per query (DETR: Carion et al., 2020; RT-DETR, D-FINE) → detections."""

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import Detr, ModelSpec
from edgecnn_runtime.decode.activations import raw_threshold, sigmoid_scores, softmax_scores
from edgecnn_runtime.decode.nms import NonMaxSuppression, cxcywh_to_xyxy
from edgecnn_runtime.decode.scratch import column_maxima
from edgecnn_runtime.decode.shapes import check_output_shape
from edgecnn_runtime.errors import BundleError
from edgecnn_runtime.preprocess import Geometry
from edgecnn_runtime.types import Detection, Floats, Tensors

Indices = NDArray[np.intp]


class DetrDecoder:
    """Sigmoids of each class, or one softmax with a background at the end; nothing suppresses."""

    def __init__(self, spec: Detr, model: ModelSpec) -> None:
        """Allocate for one model.

        Raises:
            BundleError: The outputs are no such tables, or have too few columns.
        """
        self._first = 4 if spec.scores == spec.boxes else 0
        queries = check_output_shape(model, spec.boxes, None, None if self._first else 4)[0]
        columns = check_output_shape(model, spec.scores, queries, None)[1] - self._first
        if columns < spec.classes + spec.background:
            raise BundleError(
                f"output {spec.scores!r} has {columns} columns of scores, which is less than "
                f"{spec.classes} classes{' and the background' if spec.background else ''}"
            )
        self._spec = spec
        self._threshold = raw_threshold(spec.values, spec.score)
        # class by class, the long axis last: NumPy needs no buffer
        self._raw = np.empty((spec.classes, queries), np.float32)
        self._over = np.empty((spec.classes, queries), bool)
        self._best = np.empty(queries, np.float32)
        size = (model.input.width, model.input.height) if spec.normalized else (1, 1)
        self._unit = np.array((*size, *size), np.float32)
        self._suppression = NonMaxSuppression(model.labels, None, spec.max_detections)

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> list[Detection]:
        """One item's detections, best first."""
        table = outputs[self._spec.scores][item][:, self._first :]
        select = self._softmax if self._spec.background else self._sigmoids
        queries, classes, scores = select(table)
        if not len(queries):
            return []
        boxes = outputs[self._spec.boxes][item][queries, :4].astype(np.float32)
        boxes *= self._unit
        corners = cxcywh_to_xyxy(boxes[:, :2], boxes[:, 2:])
        return self._suppression.detections(corners, scores, classes.__getitem__, None, geometry)

    def _sigmoids(self, table: Floats) -> tuple[Indices, Indices, Floats]:
        """Every class that passes of every query, or the best class of each."""
        np.copyto(self._raw, table.T[: self._spec.classes])
        np.greater(self._raw, self._threshold, out=self._over)
        pairs = self._over.reshape(-1).nonzero()[0]
        classes, queries = np.divmod(pairs, self._raw.shape[1])
        raw = self._raw.reshape(-1)[pairs]
        if not self._spec.multi_label and len(pairs):
            order = np.lexsort((-raw, queries))  # of each query the best class first
            best = order[np.diff(queries[order], prepend=-1) > 0]
            queries, classes, raw = queries[best], classes[best], raw[best]
        return queries, classes, sigmoid_scores(self._spec.values, raw)

    def _softmax(self, table: Floats) -> tuple[Indices, Indices, Floats]:
        """The best class of each query that beats the threshold."""
        np.copyto(self._raw, table.T[: self._spec.classes])
        column_maxima(self._raw, self._best)
        if self._spec.values == "logits":
            # a class's softmax is at most the sigmoid of its lead over the background
            np.subtract(self._best, table[:, -1], out=self._best)
        queries = (self._best > self._threshold).nonzero()[0]
        probabilities = softmax_scores(self._spec.values, table[queries])
        probabilities = probabilities[:, : self._spec.classes]
        classes = probabilities.argmax(axis=1)
        scores = probabilities[np.arange(len(queries)), classes]
        passes = (scores > self._spec.score).nonzero()[0]
        return queries[passes], classes[passes], scores[passes]
