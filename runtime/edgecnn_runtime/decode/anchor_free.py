"""Heads with one box per grid cell, YuNet and CenterFace → detections."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    """One stride of YuNet: its outputs' names by role, where its cells begin, and scratch."""

    names: Mapping[str, str]
    start: int
    product: Floats
    over: NDArray[np.bool_]


class YunetDecoder:
    """YuNet (Wu et al., 2023), the formulas of OpenCV's FaceDetectorYN::postProcess."""

    def __init__(self, spec: AnchorFree, model: ModelSpec) -> None:
        self._spec = spec
        self._levels: list[_Level] = []
        cells, strides = [np.empty((0, 2), np.float32)], [np.empty((0, 1), np.float32)]
        for stride in spec.strides:
            columns, rows = model.input.width // stride, model.input.height // stride
            count = columns * rows
            shapes = {"cls": (count, 1), "obj": (count, 1), "bbox": (count, 4)}
            if spec.points:
                shapes["kps"] = (count, 2 * spec.points)
            names = _output_names(spec, model, shapes, f"_{stride}")
            product, over = np.empty(count, np.float32), np.empty(count, bool)
            self._levels.append(_Level(names, sum(map(len, cells)), product, over))
            cells.append(_cells(columns, rows))
            strides.append(np.full((count, 1), stride, np.float32))
        self._cells, self._strides = np.concatenate(cells), np.concatenate(strides)
        self._suppression = NonMaxSuppression(model.labels, spec.iou, spec.max_detections)

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> list[Detection]:
        """One item's detections, best first."""
        squared = self._spec.score**2
        indices, scores, shapes, offsets = [], [], [], []
        for level in self._levels:
            cls, obj = (outputs[level.names[key]][item].reshape(-1) for key in ("cls", "obj"))
            # of numbers that may leave 0..1 the product bounds the clamped one from above
            np.multiply(cls, obj, out=level.product)
            np.greater(level.product, squared, out=level.over)
            over = np.flatnonzero(level.over)
            if not len(over):
                continue
            indices.append(over + level.start)
            scores.append(np.stack((cls[over], obj[over])))
            shapes.append(outputs[level.names["bbox"]][item][over])
            if self._spec.points:
                offsets.append(outputs[level.names["kps"]][item][over])
        if not indices:
            return []
        anchors = np.concatenate(indices)
        cells, strides = self._cells[anchors], self._strides[anchors]
        shape = np.concatenate(shapes).astype(np.float32)
        boxes = cxcywh_to_xyxy((cells + shape[:, :2]) * strides, np.exp(shape[:, 2:]) * strides)
        points = None
        if offsets:
            pairs = np.concatenate(offsets).reshape(len(anchors), -1, 2)
            points = (pairs + cells[:, None]) * strides[:, None]
        score = np.sqrt(np.clip(np.concatenate(scores, axis=1), 0, 1).prod(axis=0))
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
