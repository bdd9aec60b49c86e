"""What detections of each kind are judged by. Each follows what its field publishes."""

from collections.abc import Sequence

from edgecnn_runtime.evaluation.dataset import LabeledObject
from edgecnn_runtime.evaluation.overlaps import box_overlaps
from edgecnn_runtime.evaluation.ranking import FloatArray, Measure
from edgecnn_runtime.types import Detection


def _boxes(detections: Sequence[Detection], objects: Sequence[LabeledObject]) -> FloatArray:
    return box_overlaps([detection.box for detection in detections], objects)


BOXES = Measure("mAP", _boxes, strict=False)
"""Upright boxes by their IoU."""
