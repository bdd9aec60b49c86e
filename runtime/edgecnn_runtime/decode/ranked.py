"""Boxes, class numbers and scores in an output each, after the graph's own selection."""

import numpy as np

from edgecnn_runtime.bundle.manifest import ModelSpec, Ranked
from edgecnn_runtime.decode.nms import NonMaxSuppression
from edgecnn_runtime.decode.shapes import check_output_shape
from edgecnn_runtime.preprocess import Geometry
from edgecnn_runtime.types import Detection, Tensors

MOST_CLASSES = 65536


class RankedDecoder:
    """The rows over the threshold, as they are."""

    def __init__(self, spec: Ranked, model: ModelSpec) -> None:
        """Allocate for one model.

        Raises:
            BundleError: The outputs do not have the same rows.
        """
        rows = check_output_shape(model, spec.boxes, None, 4)[0]
        for output in (spec.scores, spec.labels):
            check_output_shape(model, output, rows)
        self._spec = spec
        self._over = np.empty(rows, bool)
        size = (model.input.width, model.input.height) if spec.normalized else (1, 1)
        self._unit = np.array(size, np.float32)
        self._suppression = NonMaxSuppression(model.labels, None, spec.max_detections)

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> list[Detection]:
        """One item's detections, best first."""
        spec = self._spec
        np.greater(outputs[spec.scores][item], spec.score, out=self._over)
        if spec.count:
            count = float(outputs[spec.count][item].reshape(-1)[0])
            self._over[int(min(max(0.0, count), len(self._over))) :] = False  # NaN is 0, too
        rows = self._over.nonzero()[0]
        numbers = outputs[spec.labels][item][rows].astype(np.float32) - spec.first_class
        usable = (numbers > -0.5) & (numbers < MOST_CLASSES)
        rows, classes = rows[usable], np.rint(numbers[usable]).astype(np.intp)
        if not len(rows):
            return []
        corners = outputs[spec.boxes][item][rows].astype(np.float32).reshape(-1, 2, 2)
        if spec.order == "yxyx":
            corners = corners[..., ::-1]
        boxes = (corners * self._unit).reshape(-1, 4)
        scores = outputs[spec.scores][item][rows].astype(np.float32)
        return self._suppression.detections(boxes, scores, classes.__getitem__, None, geometry)
