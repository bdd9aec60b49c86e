"""A YOLO-style head, raw or with its suppression inside the graph → detections."""

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import ModelSpec, Yolo
from edgecnn_runtime.decode.activations import raw_threshold, sigmoid_scores
from edgecnn_runtime.decode.grid import STRIDES, grid_cells
from edgecnn_runtime.decode.nms import NonMaxSuppression, cxcywh_to_xyxy
from edgecnn_runtime.decode.scratch import Scratch, column_maxima
from edgecnn_runtime.decode.shapes import check_output_shape
from edgecnn_runtime.preprocess import Geometry
from edgecnn_runtime.types import Detection, Floats, Tensors


class YoloDecoder:
    """The layouts of ``manifest.Yolo``."""

    def __init__(self, spec: Yolo, model: ModelSpec, *, extra: int = 0) -> None:
        """Allocate for one model.

        Args:
            spec: The head.
            model: What it stands in.
            extra: Columns behind those of the layout, which ``select`` leads to.

        Raises:
            BundleError: The output does not have the shape of the layout.
        """
        first = {"v8": 4, "nms": 4}.get(spec.layout, 5)
        classes = 2 if spec.layout == "nms" else spec.classes
        marks = spec.points * spec.point_dims
        columns = first + classes + marks + extra
        cells: int | None = None
        if spec.layout == "yolox":
            self._cells, self._strides = grid_cells(model.input, spec.strides or STRIDES)
            cells = len(self._cells)
        if spec.layout == "v8":
            _, anchors = check_output_shape(model, spec.output, columns, None)
        else:
            anchors, _ = check_output_shape(model, spec.output, cells, columns)
        self._class_columns = slice(first, first + classes)
        self._point_columns = slice(-marks, None)
        if spec.layout == "v5-face":
            self._class_columns = slice(first + marks, columns)
            self._point_columns = slice(first, first + marks)
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
        self._read = {"v8": self._v8, "nms": self._nms}.get(spec.layout, self._v5)

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> list[Detection]:
        """One item's detections, best first."""
        return [detection for detection, _ in self.select(outputs, item, geometry)]

    def select(
        self, outputs: Tensors, item: int, geometry: Geometry
    ) -> list[tuple[Detection, int]]:
        """One item's detections, best first, and where the table has each: its row or column."""
        return self._read(outputs[self._spec.output][item], geometry)

    def _v8(self, head: Floats, geometry: Geometry) -> list[tuple[Detection, int]]:
        """[4+C+P,A]: one column per anchor."""
        stop = 4 + self._spec.classes
        column_maxima(head[4:stop], self._best)  # NaN stays NaN, which is not over
        np.greater(self._best, self._threshold, out=self._over)
        anchors = self._over.nonzero()[0]
        if not len(anchors):
            return []
        # take walks row by row, as the head lies in memory; head[:, anchors] does not
        boxes = self._rows.take(head[:4], anchors, axis=1).T
        points = (
            self._landmarks.take(head[stop:], anchors, axis=1).T if self._spec.points else boxes
        )
        return self._suppression.select(
            self._corners(boxes),
            self._scores(self._best[anchors]),
            lambda candidates: self._argmax(head[4:stop], anchors[candidates]),
            self._points(points),
            geometry,
            places=anchors,
        )

    def _v5(self, head: Floats, geometry: Geometry) -> list[tuple[Detection, int]]:
        """[A,5+C+P]: one row per anchor; the score is objectness times the best class."""
        np.greater(head[:, 4], self._threshold, out=self._over)
        candidates = np.flatnonzero(self._over)
        rows = self._rows.take(head, candidates, axis=0)
        best_score = rows[:, self._class_columns].max(axis=1)
        scores = self._scores(rows[:, 4]) * self._scores(best_score)
        passing = np.flatnonzero(scores > self._spec.score)
        if not len(passing):
            return []
        candidates, scores = candidates[passing], scores[passing]
        rows = self._rows.take(head, candidates, axis=0)
        best = self._classes.copy_of(rows[:, self._class_columns]).argmax(axis=1)
        if self._spec.layout == "yolox":
            cells, strides = self._cells.take(candidates, 0), self._strides.take(candidates, 0)
            boxes = cxcywh_to_xyxy((cells + rows[:, :2]) * strides, np.exp(rows[:, 2:4]) * strides)
        else:
            boxes = self._corners(rows)
        return self._suppression.select(
            boxes, scores, best.__getitem__, self._points(rows), geometry, places=candidates
        )

    def _nms(self, head: Floats, geometry: Geometry) -> list[tuple[Detection, int]]:
        """[K,6+P]: x1, y1, x2, y2, score, class, as the graph's own suppression left them."""
        np.greater(head[:, 4], self._threshold, out=self._over)
        candidates = np.flatnonzero(self._over)
        rows = self._rows.take(head, candidates, axis=0)
        possible = (rows[:, 5] >= 0) & (rows[:, 5] < 65536)
        rows, candidates = rows[possible], candidates[possible]
        boxes, classes = self._pixels(rows[:, :4]), rows[:, 5].astype(np.intp)
        scores = self._scores(rows[:, 4])
        return self._suppression.select(
            boxes, scores, classes.__getitem__, self._points(rows), geometry, places=candidates
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
        points = rows[:, self._point_columns].reshape(len(rows), count, dims)[..., :2]
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
