"""Heads with boxes per grid cell, YuNet, SCRFD and CenterFace → detections."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import AnchorFree, ModelSpec
from edgecnn_runtime.decode.grid import cells_of
from edgecnn_runtime.decode.nms import NonMaxSuppression, cxcywh_to_xyxy
from edgecnn_runtime.decode.shapes import check_output_shape
from edgecnn_runtime.errors import BundleError
from edgecnn_runtime.preprocess import Geometry
from edgecnn_runtime.types import Detection, Floats, Tensors

Decoder: TypeAlias = "YunetDecoder | ScrfdDecoder | CenterfaceDecoder"


def anchor_free_decoder(spec: AnchorFree, model: ModelSpec) -> Decoder:
    """The decoder of ``spec.variant``.

    Raises:
        BundleError: An output is missing or has another shape.
    """
    makers: Mapping[str, Callable[[AnchorFree, ModelSpec], Decoder]] = {
        "yunet": YunetDecoder,
        "scrfd": ScrfdDecoder,
        "centerface": CenterfaceDecoder,
    }
    return makers[spec.variant](spec, model)


class _Level(NamedTuple):
    """One stride: its outputs' names by role, its first box, and the scores of its boxes."""

    names: Mapping[str, str]
    start: int
    scores: Floats


class _Levels:
    """The outputs of a head that has one of each role per stride, and its boxes' cells.

    Attributes:
        levels: One per stride.
        cells: Column and row of each box's cell, float32[A,2].
        strides: Of each box, float32[A,1].
        scores: float32[A], to be written through ``levels``.
    """

    def __init__(self, spec: AnchorFree, model: ModelSpec, widths: Mapping[str, int]) -> None:
        grids = [(model.input.width // s, model.input.height // s) for s in spec.strides]
        counts = [columns * rows * spec.anchors for columns, rows in grids]
        cells = np.concatenate([cells_of(columns, rows) for columns, rows in grids])
        self.cells = np.repeat(cells, spec.anchors, axis=0)
        self.strides = np.repeat(np.array(spec.strides, np.float32), counts)[:, None]
        self.scores = np.empty(sum(counts), np.float32)
        self._over = np.empty(sum(counts), bool)
        self._ends = np.cumsum(counts)
        self.levels: list[_Level] = []
        widths = {**widths, "kps": 2 * spec.points} if spec.points else widths
        for stride, count, end in zip(spec.strides, counts, self._ends.tolist(), strict=True):
            shapes = {role: (count, width) for role, width in widths.items()}
            names = _output_names(spec, model, shapes, f"_{stride}")
            self.levels.append(_Level(names, end - count, self.scores[end - count : end]))

    def over(self, threshold: float) -> NDArray[np.intp]:
        """Which boxes have a score over the threshold."""
        np.greater(self.scores, threshold, out=self._over)
        return self._over.nonzero()[0]

    def rows(self, outputs: Tensors, item: int, boxes: NDArray[np.intp]) -> list[Floats]:
        """The rows of these boxes (in order, at least one) in the outputs of each role."""
        parts: list[list[Any]] = []
        first = 0
        for level, last in zip(self.levels, boxes.searchsorted(self._ends).tolist(), strict=True):
            if first < last:
                rows = boxes[first:last] - level.start
                parts.append([outputs[name][item].take(rows, 0) for name in level.names.values()])
            first = last
        return [np.concatenate(part, dtype=np.float32) for part in zip(*parts, strict=True)]


class YunetDecoder:
    """YuNet (Wu et al., 2023), the formulas of OpenCV's FaceDetectorYN::postProcess."""

    def __init__(self, spec: AnchorFree, model: ModelSpec) -> None:
        self._spec = spec
        self._levels = _Levels(spec, model, {"cls": 1, "obj": 1, "bbox": 4})
        self._suppression = NonMaxSuppression(model.labels, spec.iou, spec.max_detections)

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> list[Detection]:
        """One item's detections, best first."""
        for level in self._levels.levels:
            cls, obj = outputs[level.names["cls"]][item], outputs[level.names["obj"]][item]
            # of numbers that may leave 0..1 the product bounds the clamped one from above
            np.multiply(cls[:, 0], obj[:, 0], out=level.scores)
        anchors = self._levels.over(self._spec.score**2)
        if not len(anchors):
            return []
        cls, obj, shape, *offsets = self._levels.rows(outputs, item, anchors)
        cells = self._levels.cells.take(anchors, 0)
        strides = self._levels.strides.take(anchors, 0)
        boxes = cxcywh_to_xyxy((cells + shape[:, :2]) * strides, np.exp(shape[:, 2:]) * strides)
        points = None
        if offsets:
            pairs = offsets[0].reshape(len(anchors), -1, 2)
            points = (pairs + cells[:, None]) * strides[:, None]
        score = np.sqrt(_clamp(cls[:, 0]) * _clamp(obj[:, 0]))
        score[~(score > self._spec.score)] = np.nan
        return self._suppression.detections(boxes, score, None, points, geometry)


class ScrfdDecoder:
    """SCRFD (Guo et al., 2021), the formulas of InsightFace's own SCRFD.forward.

    As there, overlaps are counted in whole pixels of the picture, the last one included.
    """

    def __init__(self, spec: AnchorFree, model: ModelSpec) -> None:
        self._spec = spec
        self._levels = _Levels(spec, model, {"score": 1, "bbox": 4})
        self._suppression = NonMaxSuppression(model.labels, spec.iou, spec.max_detections)

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> list[Detection]:
        """One item's detections, best first."""
        for level in self._levels.levels:
            np.copyto(level.scores, outputs[level.names["score"]][item][:, 0])
        anchors = self._levels.over(self._spec.score)
        if not len(anchors):
            return []
        score, distances, *offsets = self._levels.rows(outputs, item, anchors)
        strides = self._levels.strides.take(anchors, 0)
        centers = self._levels.cells.take(anchors, 0) * strides
        distances *= strides
        boxes = np.concatenate((centers - distances[:, :2], centers + distances[:, 2:]), axis=1)
        points = None
        if offsets:
            pairs = offsets[0].reshape(len(anchors), -1, 2)
            points = pairs * strides[:, None] + centers[:, None]
        pixel = 1.0 / float(geometry.gain[0])
        return self._suppression.detections(boxes, score[:, 0], None, points, geometry, end=pixel)


class CenterfaceDecoder:
    """CenterFace (Xu et al., 2019): a heatmap at a quarter of the input.

    As in the authors' code, heights and y come before widths and x in every map. Unlike there, a
    box that begins outside the image is cut, not moved.
    """

    def __init__(self, spec: AnchorFree, model: ModelSpec) -> None:
        if len(spec.strides) != 1:
            raise BundleError(f"a centerface head has one stride, not {spec.strides}")
        stride = spec.strides[0]
        rows, columns = -(-model.input.height // stride), -(-model.input.width // stride)
        shapes = dict.fromkeys(("scale", "offset"), (2, rows, columns))
        shapes["heatmap"] = (1, rows, columns)
        if spec.points:
            shapes["landmarks"] = (2 * spec.points, rows, columns)
        self._names = _output_names(spec, model, shapes)
        self._spec = spec
        self._cells = cells_of(columns, rows)
        self._over = np.empty(rows * columns, bool)
        self._suppression = NonMaxSuppression(model.labels, spec.iou, spec.max_detections)

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> list[Detection]:
        """One item's detections, best first."""
        heat = outputs[self._names["heatmap"]][item].reshape(-1)
        np.greater(heat, self._spec.score, out=self._over)
        cells = np.flatnonzero(self._over)
        if not len(cells):
            return []
        stride = np.float32(self._spec.strides[0])
        sizes = np.exp(self._map(outputs, "scale", item)[:, cells].T[:, ::-1]) * stride
        offsets = self._map(outputs, "offset", item)[:, cells].T[:, ::-1]
        boxes = cxcywh_to_xyxy((self._cells[cells] + offsets + np.float32(0.5)) * stride, sizes)
        points = None
        if self._spec.points:
            shares = self._map(outputs, "landmarks", item)[:, cells].T
            shares = shares.reshape(len(cells), -1, 2)[..., ::-1]
            points = boxes[:, None, :2] + shares * sizes[:, None]
        scores = np.minimum(heat[cells], 1.0)
        return self._suppression.detections(boxes, scores, None, points, geometry)

    def _map(self, outputs: Tensors, role: str, item: int) -> Floats:
        """A view of one item's map as [channels, cells]."""
        tensor: Floats = outputs[self._names[role]][item]
        return tensor.reshape(tensor.shape[0], -1)


def _output_names(
    spec: AnchorFree, model: ModelSpec, shapes: Mapping[str, tuple[int, ...]], suffix: str = ""
) -> dict[str, str]:
    """The name of each role's output, whose shape is checked."""
    missing = [role + suffix for role in shapes if role + suffix not in spec.outputs]
    if missing:
        raise BundleError(f"decode.outputs names no {', '.join(missing)}")
    names = {role: spec.outputs[role + suffix] for role in shapes}
    for role, name in names.items():
        check_output_shape(model, name, *shapes[role])
    return names


def _clamp(values: Floats) -> Floats:
    """Into 0..1, in place; NumPy's own ``clip`` takes several times as long for a few values."""
    return np.minimum(np.maximum(values, 0, out=values), 1, out=values)
