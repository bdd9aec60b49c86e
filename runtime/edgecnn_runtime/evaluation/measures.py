"""What detections of each kind are judged by. Each follows what its field publishes."""

from collections.abc import Sequence

import numpy as np

from edgecnn_runtime.evaluation.dataset import LabeledObject
from edgecnn_runtime.evaluation.overlaps import (
    box_overlaps,
    mask_overlaps,
    point_similarities,
    rotated_overlaps,
)
from edgecnn_runtime.evaluation.ranking import FloatArray, Measure
from edgecnn_runtime.geometry import corners_of
from edgecnn_runtime.masks import run_lengths
from edgecnn_runtime.types import Detection, InstanceMask, PoseDetection, RotatedDetection


def _boxes(detections: Sequence[Detection], objects: Sequence[LabeledObject]) -> FloatArray:
    return box_overlaps([detection.box for detection in detections], objects)


def _poses(poses: Sequence[PoseDetection], objects: Sequence[LabeledObject]) -> FloatArray:
    return point_similarities([np.array(pose.keypoints)[:, :2] for pose in poses], objects)


def _rotated(found: Sequence[RotatedDetection], objects: Sequence[LabeledObject]) -> FloatArray:
    return rotated_overlaps([corners_of(each.rotated_box) for each in found], objects)


def _masks(instances: Sequence[InstanceMask], objects: Sequence[LabeledObject]) -> FloatArray:
    runs = [run_lengths(each.mask, each.origin, *each.size) for each in instances]
    return mask_overlaps(runs, objects)


BOXES = Measure("mAP", _boxes, strict=False)
"""Upright boxes by their IoU."""
KEYPOINTS = Measure("OKS-mAP", _poses, strict=True, limit=20)
"""Key points by their similarity, as COCO has it."""
ROTATED = Measure("rotated mAP", _rotated, strict=False, limit=None)
"""Rotated boxes by their IoU, however many there are: G.-S. Xia et al., "DOTA: A Large-scale
Dataset for Object Detection in Aerial Images" (CVPR 2018)."""
MASKS = Measure("mask mAP", _masks, strict=True)
"""Masks by their IoU, as COCO has it."""
