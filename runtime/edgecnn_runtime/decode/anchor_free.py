"""Heads with one box per grid cell, YuNet and CenterFace → detections."""

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class _Level:
    """One stride of YuNet: its outputs' names, where its cells begin, and scratch."""

    cls: str
    obj: str
    bbox: str
    kps: str
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
            self._levels.append(_level(spec, model, stride, columns * rows, sum(map(len, cells))))
            cells.append(_cells(columns, rows))
            strides.append(np.full((columns * rows, 1), stride, np.float32))
        self._cells, self._strides = np.concatenate(cells), np.concatenate(strides)
        self._suppression = _suppression(spec, model)

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> list[Detection]:
        """One item's detections, best first."""
        squared = self._spec.score**2
        indices, scores, shapes, offsets = [], [], [], []
        for level in self._levels:
            cls, obj = outputs[level.cls][item].reshape(-1), outputs[level.obj][item].reshape(-1)
            # of numbers that may leave 0..1 the product bounds the clamped one from above
            np.multiply(cls, obj, out=level.product)
            np.greater(level.product, squared, out=level.over)
            over = np.flatnonzero(level.over)
            if not len(over):
                continue
            indices.append(over + level.start)
            scores.append(np.stack((cls[over], obj[over])))
            shapes.append(outputs[level.bbox][item][over])
            if level.kps:
                offsets.append(outputs[level.kps][item][over])
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
        roles = {"heatmap": 1, "scale": 2, "offset": 2}
        if spec.points:
            roles["landmarks"] = 2 * spec.points
        self._names = _names(spec, tuple(roles))
        for role, channels in roles.items():
            check_output_shape(model, self._names[role], channels, rows, columns)
        self._spec = spec
        self._cells = _cells(columns, rows)
        self._over = np.empty(rows * columns, bool)
        self._suppression = _suppression(spec, model)

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


def _level(spec: AnchorFree, model: ModelSpec, stride: int, cells: int, start: int) -> _Level:
    widths = {"cls": 1, "obj": 1, "bbox": 4, "kps": 2 * spec.points}
    roles = {role: f"{role}_{stride}" for role, width in widths.items() if width}
    names = _names(spec, tuple(roles.values()))
    for role, name in roles.items():
        check_output_shape(model, names[name], cells, widths[role])
    return _Level(
        cls=names[roles["cls"]],
        obj=names[roles["obj"]],
        bbox=names[roles["bbox"]],
        kps=names[roles["kps"]] if spec.points else "",
        start=start,
        product=np.empty(cells, np.float32),
        over=np.empty(cells, bool),
    )


def _names(spec: AnchorFree, roles: tuple[str, ...]) -> dict[str, str]:
    missing = [role for role in roles if role not in spec.outputs]
    if missing:
        raise BundleError(f"decode.outputs names no {', '.join(missing)}")
    return {role: spec.outputs[role] for role in roles}


def _cells(columns: int, rows: int) -> Floats:
    """Column and row of every cell, row by row: float32[rows·columns, 2]."""
    y, x = np.divmod(np.arange(columns * rows), columns)
    return np.stack((x, y), axis=1).astype(np.float32)


def _suppression(spec: AnchorFree, model: ModelSpec) -> NonMaxSuppression:
    return NonMaxSuppression(model.labels, iou=spec.iou, max_detections=spec.max_detections)
