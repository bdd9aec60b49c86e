"""Class scores and distributions over distances per cell (GFL: Li et al., 2020) → detections."""

import numpy as np

from edgecnn_runtime.bundle.manifest import Gfl, ModelSpec
from edgecnn_runtime.decode.activations import raw_threshold, sigmoid_scores, softmax_scores
from edgecnn_runtime.decode.grid import grid_cells
from edgecnn_runtime.decode.nms import NonMaxSuppression
from edgecnn_runtime.decode.scratch import Scratch, column_maxima
from edgecnn_runtime.decode.shapes import check_output_shape
from edgecnn_runtime.preprocess import Geometry
from edgecnn_runtime.types import Detection, Tensors


class GflDecoder:
    """NanoDet's rows: classes, then a softmax over the bins of each of four distances.

    As in NanoDet's own postprocessing, a cell stands for every class that passes, and boxes are cut
    at the edge of the input before they suppress each other.
    """

    def __init__(self, spec: Gfl, model: ModelSpec) -> None:
        """Lay out the cells' points.

        Raises:
            BundleError: The output has another shape than so many cells, classes and bins.
        """
        cells, self._strides = grid_cells(model.input, spec.strides)
        check_output_shape(model, spec.output, len(cells), spec.classes + 4 * spec.bins)
        self._spec = spec
        self._points = (cells + np.float32(spec.offset)) * self._strides
        self._bins = np.arange(spec.bins, dtype=np.float32)
        self._threshold = raw_threshold(spec.values, spec.score)
        size = (model.input.width, model.input.height)
        self._limit = np.array((*size, *size), np.float32)
        self._best = np.empty(len(cells), np.float32)
        self._over = np.empty(len(cells), bool)
        self._rows, self._classes = Scratch(), Scratch()
        self._suppression = NonMaxSuppression(
            model.labels, spec.iou, spec.max_detections, class_agnostic=False
        )

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> list[Detection]:
        """One item's detections, best first."""
        head, count = outputs[self._spec.output][item], self._spec.classes
        column_maxima(head[:, :count].T, self._best)  # NaN stays NaN: not over
        np.greater(self._best, self._threshold, out=self._over)
        anchors = self._over.nonzero()[0]
        if not len(anchors):
            return []
        rows = self._rows.take(head, anchors, axis=0)
        values = self._classes.copy_of(rows[:, :count])
        cells, classes = (values > self._threshold).nonzero()
        bins = rows[:, count:].reshape(len(anchors), 4, -1)
        distances = softmax_scores("logits", bins) @ self._bins
        distances *= self._strides.take(anchors, 0)
        points = self._points.take(anchors, 0)
        boxes = np.concatenate((points - distances[:, :2], points + distances[:, 2:]), axis=1)
        np.minimum(np.maximum(boxes, 0.0, out=boxes), self._limit, out=boxes)
        boxes, scores = boxes[cells], sigmoid_scores(self._spec.values, values[cells, classes])
        return self._suppression.detections(boxes, scores, classes.__getitem__, None, geometry)
