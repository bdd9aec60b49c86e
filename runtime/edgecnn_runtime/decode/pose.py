"""A YOLO pose head, raw or with its suppression inside the graph → poses."""

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import ModelSpec, Pose, Yolo
from edgecnn_runtime.decode.nms import MAX_COORDINATE
from edgecnn_runtime.decode.yolo import YoloDecoder
from edgecnn_runtime.errors import BundleError
from edgecnn_runtime.preprocess import Geometry
from edgecnn_runtime.types import Floats, Keypoint, PoseDetection, Tensors

FIRST = {"v8": 4, "nms": 6}
"""Columns before the keypoints, without those of the classes."""


class PoseDecoder:
    """Boxes as ``YoloDecoder`` finds them, and the keypoints of those that stay."""

    def __init__(self, spec: Pose, model: ModelSpec) -> None:
        """Allocate for one model.

        Raises:
            BundleError: The output does not have the shape of the layout, or the skeleton joins
                keypoints that there are not.
        """
        if any(point >= spec.points for pair in spec.skeleton for point in pair):
            raise BundleError(
                f"decode.skeleton joins keypoints beyond the last one, {spec.points - 1}"
            )
        table = Yolo(
            output=spec.output,
            layout=spec.layout,
            classes=spec.classes,
            values=spec.values,
            score=spec.score,
            iou=spec.iou,
            max_detections=spec.max_detections,
            class_agnostic=spec.class_agnostic,
        )
        self._spec = spec
        self._boxes = YoloDecoder(table, model, extra=spec.points * spec.point_dims)
        self._first = FIRST[spec.layout] + (spec.classes if spec.layout == "v8" else 0)

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> list[PoseDetection]:
        """One item's poses, best first; one with a keypoint that is not a number is dropped."""
        pairs = self._boxes.select(outputs, item, geometry)
        if not pairs:
            return []
        table = outputs[self._spec.output][item]
        places = np.array([place for _, place in pairs])
        keypoints, usable = self._keypoints(
            table[self._first :].take(places, 1).T
            if self._spec.layout == "v8"
            else table.take(places, 0)[:, self._first :],
            geometry,
        )
        skeleton, make = self._spec.skeleton, Keypoint._make
        return [
            PoseDetection(
                found.box, found.score, found.label, found.index, tuple(map(make, rows)), skeleton
            )
            for (found, _), rows, good in zip(
                pairs, keypoints.tolist(), usable.tolist(), strict=True
            )
            if good
        ]

    def _keypoints(self, rows: Floats, geometry: Geometry) -> tuple[Floats, NDArray[np.bool_]]:
        """float32[K,P,3] x, y in frame pixels and visibility, and bool[K], which are usable."""
        dims = self._spec.point_dims
        values = rows.reshape(len(rows), self._spec.points, dims)
        keypoints = np.ones((len(rows), self._spec.points, 3), np.float32)
        keypoints[..., :dims] = values
        # every comparison with NaN is false
        near = np.abs(keypoints[..., :2]) < MAX_COORDINATE
        usable = np.asarray(near.all(axis=(1, 2)), np.bool_)
        geometry.points_to_frame(keypoints[..., :2])
        scores = keypoints[..., 2]
        np.fmax(scores, 0.0, out=scores)  # of a NaN and a number it takes the number
        np.minimum(scores, 1.0, out=scores)
        return keypoints, usable
