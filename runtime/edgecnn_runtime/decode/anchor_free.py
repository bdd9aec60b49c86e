"""One box a grid cell: YuNet and CenterFace → detections."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.decode.boxes import Suppression, corners
from edgecnn_runtime.decode.shapes import expect
from edgecnn_runtime.errors import BundleError
from edgecnn_runtime.manifest import AnchorFree, Manifest
from edgecnn_runtime.preprocess import Geometry
from edgecnn_runtime.types import Detection, Floats, Tensors


def anchor_free_decoder(spec: AnchorFree, model: Manifest) -> "YunetDecoder | CenterfaceDecoder":
    """The decoder of ``spec.variant``. Raises BundleError for missing or misshapen outputs."""
    return YunetDecoder(spec, model) if spec.variant == "yunet" else CenterfaceDecoder(spec, model)


@dataclass(frozen=True, slots=True)
class _Level:
    """One stride of YuNet: its outputs' names, its cells float32[A,2] and scratch."""

    cls: str
    obj: str
    bbox: str
    kps: str
    stride: int
    cells: Floats
    product: Floats
    over: NDArray[np.bool_]


class YunetDecoder:
    """YuNet (Wu et al., 2023), the formulas of OpenCV's FaceDetectorYN::postProcess."""

    def __init__(self, spec: AnchorFree, model: Manifest) -> None:
        self._spec = spec
        self._levels = [_level(spec, model, stride) for stride in spec.strides]
        self._suppression = _suppression(spec, model)

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> list[Detection]:
        """One item's detections, best first."""
        squared = self._spec.score**2
        boxes, scores, points = [], [], []
        for level in self._levels:
            cls, obj = outputs[level.cls][item].reshape(-1), outputs[level.obj][item].reshape(-1)
            # of numbers that may leave 0..1 the product bounds the clamped one from above
            np.multiply(cls, obj, out=level.product)
            np.greater(level.product, squared, out=level.over)
            found = np.flatnonzero(level.over)
            if not len(found):
                continue
            cells, stride = level.cells[found], np.float32(level.stride)
            shape = outputs[level.bbox][item][found].astype(np.float32)
            sizes = np.exp(shape[:, 2:]) * stride
            boxes.append(corners((cells + shape[:, :2]) * stride, sizes))
            scores.append(np.sqrt(np.clip(cls[found], 0, 1) * np.clip(obj[found], 0, 1)))
            if self._spec.points:
                marks = outputs[level.kps][item][found].reshape(len(found), -1, 2)
                points.append((marks + cells[:, None]) * stride)
        if not boxes:
            return []
        marks = np.concatenate(points) if points else None
        score = np.concatenate(scores)
        kept = score > self._spec.score
        return self._suppression.detections(
            np.concatenate(boxes), np.where(kept, score, np.nan), None, marks, geometry
        )


class CenterfaceDecoder:
    """CenterFace (Xu et al., 2019): a heatmap at a quarter of the input.

    As in the authors' code, heights and y come before widths and x in every map. Unlike there, a
    box that begins outside the picture is cut, not moved.
    """

    def __init__(self, spec: AnchorFree, model: Manifest) -> None:
        if len(spec.strides) != 1:
            raise BundleError(f"{model.name}: a centerface head has one stride, not {spec.strides}")
        stride = spec.strides[0]
        rows, columns = -(-model.input.height // stride), -(-model.input.width // stride)
        roles = {"heatmap": 1, "scale": 2, "offset": 2}
        if spec.points:
            roles["landmarks"] = 2 * spec.points
        self._names = _names(spec, model, tuple(roles))
        for role, channels in roles.items():
            expect(model, self._names[role], channels, rows, columns)
        self._spec = spec
        self._cells = _cells(columns, rows)
        self._over = np.empty(rows * columns, bool)
        self._suppression = _suppression(spec, model)

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> list[Detection]:
        """One item's detections, best first."""
        heat = outputs[self._names["heatmap"]][item].reshape(-1)
        np.greater(heat, self._spec.score, out=self._over)
        found = np.flatnonzero(self._over)
        if not len(found):
            return []
        stride = np.float32(self._spec.strides[0])
        sizes = np.exp(self._map(outputs, "scale", item)[:, found].T[:, ::-1]) * stride
        offsets = self._map(outputs, "offset", item)[:, found].T[:, ::-1]
        boxes = corners((self._cells[found] + offsets + np.float32(0.5)) * stride, sizes)
        points = None
        if self._spec.points:
            marks = self._map(outputs, "landmarks", item)[:, found].T
            shares = marks.reshape(len(found), -1, 2)[..., ::-1]
            points = boxes[:, None, :2] + shares * sizes[:, None]
        scores = np.minimum(heat[found], 1.0)
        return self._suppression.detections(boxes, scores, None, points, geometry)

    def _map(self, outputs: Tensors, role: str, item: int) -> Floats:
        """A view of one item's map as [channels, cells]."""
        tensor: Floats = outputs[self._names[role]][item]
        return tensor.reshape(tensor.shape[0], -1)


def _level(spec: AnchorFree, model: Manifest, stride: int) -> _Level:
    columns, rows = model.input.width // stride, model.input.height // stride
    widths = {"cls": 1, "obj": 1, "bbox": 4, "kps": 2 * spec.points}
    roles = {role: f"{role}_{stride}" for role, width in widths.items() if width}
    names = _names(spec, model, tuple(roles.values()))
    for role, name in roles.items():
        expect(model, names[name], columns * rows, widths[role])
    return _Level(
        cls=names[roles["cls"]],
        obj=names[roles["obj"]],
        bbox=names[roles["bbox"]],
        kps=names[roles["kps"]] if spec.points else "",
        stride=stride,
        cells=_cells(columns, rows),
        product=np.empty(columns * rows, np.float32),
        over=np.empty(columns * rows, bool),
    )


def _names(spec: AnchorFree, model: Manifest, roles: tuple[str, ...]) -> dict[str, str]:
    missing = [role for role in roles if role not in spec.outputs]
    if missing:
        raise BundleError(f"{model.name}: decode.outputs names no {', '.join(missing)}")
    return {role: spec.outputs[role] for role in roles}


def _cells(columns: int, rows: int) -> Floats:
    """Column and row of every cell, row by row: float32[rows·columns, 2]."""
    y, x = np.divmod(np.arange(columns * rows), columns)
    return np.stack((x, y), axis=1).astype(np.float32)


def _suppression(spec: AnchorFree, model: Manifest) -> Suppression:
    return Suppression(model.labels, iou=spec.iou, max_detections=spec.max_detections)
