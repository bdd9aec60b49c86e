"""A YOLO-style head, raw or with its suppression inside the graph → detections."""

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import ModelSpec, Yolo
from edgecnn_runtime.decode.activations import raw_threshold, sigmoid_scores
from edgecnn_runtime.decode.nms import NonMaxSuppression, cxcywh_to_xyxy
from edgecnn_runtime.decode.scratch import Scratch
from edgecnn_runtime.decode.shapes import check_output_shape
from edgecnn_runtime.preprocess import Geometry
from edgecnn_runtime.types import Detection, Floats, Tensors

REDUCES_IN_PLACE = np.lib.NumpyVersion(np.__version__) >= "2.3.0"
"""Older NumPy allocates 32 kB to reduce along the first axis, every time."""


class YoloDecoder:
    """Layouts v5, v8 and nms of ``manifest.Yolo``."""

    def __init__(self, spec: Yolo, model: ModelSpec) -> None:
        """Allocate for one model.

        Raises:
            BundleError: The output does not have the shape of the layout.
        """
        columns = {"v5": 5 + spec.classes, "v8": 4 + spec.classes, "nms": 6}[spec.layout]
        columns += spec.points * spec.point_dims
        if spec.layout == "v8":
            _, anchors = check_output_shape(model, spec.output, columns, None)
        else:
            anchors, _ = check_output_shape(model, spec.output, None, columns)
        self._spec = spec
        self._threshold = raw_threshold(spec.values, spec.score)
        self._best = np.empty(anchors, np.float32)
        self._over = np.empty(anchors, bool)
        self._rows, self._classes, self._landmarks = Scratch(), Scratch(), Scratch()
        size = (model.input.width, model.input.height)
        self._unit = np.array((*size, *size), np.float32) if spec.normalized else None
        iou = None if spec.layout == "nms" else spec.iou
        self._suppression = NonMaxSuppression(
            model.labels, iou, spec.max_detections, class_agnostic=spec.class_agnostic
        )
        self._read = {"v5": self._v5, "v8": self._v8, "nms": self._nms}[spec.layout]

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> list[Detection]:
        """One item's detections, best first."""
        return self._read(outputs[self._spec.output][item], geometry)

    def _v8(self, head: Floats, geometry: Geometry) -> list[Detection]:
        """[4+C+P,A]: one column per anchor."""
        stop = 4 + self._spec.classes
        _column_maxima(head[4:stop], self._best)  # NaN stays NaN, which is not over
        np.greater(self._best, self._threshold, out=self._over)
        anchors = self._over.nonzero()[0]
        if not len(anchors):
            return []
        # take walks row by row, as the head lies in memory; head[:, anchors] does not
        boxes = self._rows.take(head[:4], anchors, axis=1).T
        points = (
            self._landmarks.take(head[stop:], anchors, axis=1).T if self._spec.points else boxes
        )
        return self._suppression.detections(
            self._corners(boxes),
            self._scores(self._best[anchors]),
            lambda candidates: self._argmax(head[4:stop], anchors[candidates]),
            self._points(points),
            geometry,
        )

    def _v5(self, head: Floats, geometry: Geometry) -> list[Detection]:
        """[A,5+C+P]: one row per anchor; the score is objectness times the best class."""
        np.greater(head[:, 4], self._threshold, out=self._over)
        candidates = np.flatnonzero(self._over)
        rows = self._rows.take(head, candidates, axis=0)
        best_score = rows[:, 5 : 5 + self._spec.classes].max(axis=1)
        scores = self._scores(rows[:, 4]) * self._scores(best_score)
        passing = np.flatnonzero(scores > self._spec.score)
        if not len(passing):
            return []
        rows = self._rows.take(head, candidates[passing], axis=0)
        classes = self._classes.copy_of(rows[:, 5 : 5 + self._spec.classes])
        best, scores = classes.argmax(axis=1), scores[passing]
        return self._suppression.detections(
            self._corners(rows), scores, best.__getitem__, self._points(rows), geometry
        )

    def _nms(self, head: Floats, geometry: Geometry) -> list[Detection]:
        """[K,6+P]: x1, y1, x2, y2, score, class, as the graph's own suppression left them."""
        np.greater(head[:, 4], self._threshold, out=self._over)
        rows = self._rows.take(head, np.flatnonzero(self._over), axis=0)
        rows = rows[(rows[:, 5] >= 0) & (rows[:, 5] < 65536)]
        boxes, classes = self._pixels(rows[:, :4]), rows[:, 5].astype(np.intp)
        scores = self._scores(rows[:, 4])
        return self._suppression.detections(
            boxes, scores, classes.__getitem__, self._points(rows), geometry
        )

    def _argmax(self, classes: Floats, anchors: NDArray[np.intp]) -> NDArray[np.intp]:
        """The best class of each anchor, of float[C,A]; overwrites the rows of the boxes."""
        rows = self._classes.copy_of(self._rows.take(classes, anchors, axis=1).T)
        best: NDArray[np.intp] = rows.argmax(axis=1)
        return best

    def _points(self, rows: Floats) -> Floats | None:
        count, dims = self._spec.points, self._spec.point_dims
        if not count:
            return None
        points = rows[:, -count * dims :].reshape(len(rows), count, dims)[..., :2]
        return points if self._unit is None else points * self._unit[:2]

    def _corners(self, rows: Floats) -> Floats:
        boxes = self._pixels(rows[:, :4])
        return cxcywh_to_xyxy(boxes[:, :2], boxes[:, 2:])

    def _pixels(self, boxes: Floats) -> Floats:
        return boxes if self._unit is None else boxes * self._unit

    def _scores(self, raw: Floats) -> Floats:
        return (
            raw if self._spec.values == "probabilities" else sigmoid_scores(self._spec.values, raw)
        )


def _column_maxima(rows: Floats, out: Floats) -> None:
    """The largest value of each column of float[C,A]."""
    if REDUCES_IN_PLACE:
        np.maximum.reduce(rows, axis=0, out=out)
        return
    np.copyto(out, rows[0])
    for row in rows[1:]:
        np.maximum(out, row, out=out)
