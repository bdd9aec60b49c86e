"""Heads with one box per grid cell, YuNet and CenterFace → detections."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from edgecnn_runtime.bundle.manifest import AnchorFree, ModelSpec
from edgecnn_runtime.decode.nms import NonMaxSuppression, cxcywh_to_xyxy
from edgecnn_runtime.decode.shapes import check_output_shape
from edgecnn_runtime.errors import BundleError
from edgecnn_runtime.preprocess import Geometry
from edgecnn_runtime.types import Detection, Floats, Tensors


def anchor_free_decoder(spec: AnchorFree, model: ModelSpec) -> "YunetDecoder | CenterfaceDecoder":
    """The decoder of ``spec.variant``.

    Raises:
        BundleError: An output is missing or has another shape.
    """
    return YunetDecoder(spec, model) if spec.variant == "yunet" else CenterfaceDecoder(spec, model)


class _Level(NamedTuple):
    """One stride of YuNet: its outputs' names by role, its first cell, and its cells' products."""

    names: Mapping[str, str]
    start: int
    products: Floats


class YunetDecoder:
    """YuNet (Wu et al., 2023), the formulas of OpenCV's FaceDetectorYN::postProcess."""

    def __init__(self, spec: AnchorFree, model: ModelSpec) -> None:
        self._spec = spec
        grids = [(model.input.width // s, model.input.height // s) for s in spec.strides]
        counts = [columns * rows for columns, rows in grids]
        self._cells = np.concatenate([_cells(columns, rows) for columns, rows in grids])
        self._strides = np.repeat(np.array(spec.strides, np.float32), counts)[:, None]
        self._products = np.empty(sum(counts), np.float32)
        self._over = np.empty(sum(counts), bool)
        self._ends = np.cumsum(counts)
        self._levels: list[_Level] = []
        for stride, count, end in zip(spec.strides, counts, self._ends.tolist(), strict=True):
            shapes = {"cls": (count, 1), "obj": (count, 1), "bbox": (count, 4)}
            if spec.points:
                shapes["kps"] = (count, 2 * spec.points)
            names = _output_names(spec, model, shapes, f"_{stride}")
            self._levels.append(_Level(names, end - count, self._products[end - count : end]))
        self._suppression = NonMaxSuppression(model.labels, spec.iou, spec.max_detections)

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> list[Detection]:
        """One item's detections, best first."""
        for level in self._levels:
            cls, obj = outputs[level.names["cls"]][item], outputs[level.names["obj"]][item]
            # of numbers that may leave 0..1 the product bounds the clamped one from above
            np.multiply(cls[:, 0], obj[:, 0], out=level.products)
        np.greater(self._products, self._spec.score**2, out=self._over)
        anchors = self._over.nonzero()[0]
        if not len(anchors):
            return []
        parts: list[list[Any]] = []
        first = 0
        for level, last in zip(
            self._levels, anchors.searchsorted(self._ends).tolist(), strict=True
        ):
            if first < last:
                cells = anchors[first:last] - level.start
                parts.append([outputs[name][item].take(cells, 0) for name in level.names.values()])
            first = last
        cls, obj, shape, *offsets = (
            np.concatenate(part, dtype=np.float32) for part in zip(*parts, strict=True)
        )
        cells, strides = self._cells.take(anchors, 0), self._strides.take(anchors, 0)
        boxes = cxcywh_to_xyxy((cells + shape[:, :2]) * strides, np.exp(shape[:, 2:]) * strides)
        points = None
        if offsets:
            pairs = offsets[0].reshape(len(anchors), -1, 2)
            points = (pairs + cells[:, None]) * strides[:, None]
        score = np.sqrt(_clamp(cls[:, 0]) * _clamp(obj[:, 0]))
        score[~(score > self._spec.score)] = np.nan
        return self._suppression.detections(boxes, score, None, points, geometry)


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
        self._cells = _cells(columns, rows)
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


def _cells(columns: int, rows: int) -> Floats:
    """Column and row of every cell, row by row: float32[rows·columns, 2]."""
    y, x = np.divmod(np.arange(columns * rows), columns)
    return np.stack((x, y), axis=1).astype(np.float32)


def _clamp(values: Floats) -> Floats:
    """Into 0..1, in place; NumPy's own ``clip`` takes several times as long for a few values."""
    return np.minimum(np.maximum(values, 0, out=values), 1, out=values)
