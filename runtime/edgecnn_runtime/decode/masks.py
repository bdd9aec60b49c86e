"""Boxes with weights of maps, and the maps → the pixels of every object.

As in YOLACT (Bolya et al., 2019) and Ultralytics' -seg heads: the weighted sum of the maps is
positive where the object is.
"""

import numpy as np

from edgecnn_runtime.bundle.manifest import ModelSpec, Segment, Yolo
from edgecnn_runtime.decode.resample import Resampler, pixels_inside, visible
from edgecnn_runtime.decode.scratch import Scratch
from edgecnn_runtime.decode.shapes import check_output_shape
from edgecnn_runtime.decode.yolo import YoloDecoder
from edgecnn_runtime.preprocess import Geometry, Rect
from edgecnn_runtime.types import Detection, Floats, InstanceMask, Tensors

MOST_PIXELS = 1 << 27
"""Mask pixels of one picture, a byte each. Objects whose masks would go beyond it are left out, the
least sure ones: 128 million are 64 full HD frames, one upon the other."""


class InstanceDecoder:
    """Detections of a YOLO head, and a mask for each, as large as its box in the frame.

    Sums are formed for the cells that a box touches, and resampled to its pixels alone.
    """

    def __init__(self, spec: Segment, model: ModelSpec) -> None:
        """Allocate for one model.

        Raises:
            BundleError: An output has another shape.
        """
        count = spec.coefficients
        _, rows, columns = check_output_shape(model, spec.maps, count, None, None)
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
        self._detector = YoloDecoder(table, model, extra=count)
        self._table, self._maps = spec.output, spec.maps
        self._across = spec.layout == "v8"
        self._resampler = Resampler(model.input, rows, columns)
        self._part = Scratch()

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> list[InstanceMask]:
        """One item's objects, best first; without a pixel there is none, as in Ultralytics."""
        table, maps = outputs[self._table][item], outputs[self._maps][item]
        instances, pixels = [], 0
        for detection, place in self._detector.select(outputs, item, geometry):
            weights = table[-len(maps) :, place] if self._across else table[place, -len(maps) :]
            if not np.isfinite(weights).all():  # what OpenCV makes of them differs by its version
                continue
            rect = pixels_inside(detection.box, visible(geometry))
            pixels += (rect[2] - rect[0]) * (rect[3] - rect[1])
            if pixels > MOST_PIXELS:
                break
            instance = self._instance(detection, weights, maps, rect, geometry)
            if instance.mask.any():
                instances.append(instance)
        return instances

    def _instance(
        self,
        detection: Detection,
        weights: Floats,
        maps: Floats,
        rect: Rect,
        geometry: Geometry,
    ) -> InstanceMask:
        left, top, right, bottom = cells = self._resampler.cells(rect, geometry)
        part = self._part.array(len(maps), bottom - top, right - left)
        np.copyto(part, maps[:, top:bottom, left:right])
        total = weights.astype(np.float32) @ part.reshape(len(maps), -1)
        total = total.reshape(bottom - top, right - left)
        values = self._resampler.sample(total, cells, rect, geometry)
        return InstanceMask(
            box=detection.box,
            score=detection.score,
            label=detection.label,
            index=detection.index,
            mask=np.greater(values, 0.0),
            origin=rect[:2],
            size=(geometry.height, geometry.width),
        )
