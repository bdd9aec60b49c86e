"""Boxes in a picture with keypoints, such as people and their joints."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgecnn_runtime.bundle import manifest
from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.decode.base import DecoderFactory
from edgecnn_runtime.decode.pose import PoseDecoder
from edgecnn_runtime.evaluation.overlaps import sigmas
from edgecnn_runtime.geometry import area, iou
from edgecnn_runtime.tasks import detect
from edgecnn_runtime.tasks.base import Matches
from edgecnn_runtime.tasks.findings import finding_distances, match_findings
from edgecnn_runtime.types import Detection, PoseDetection

if TYPE_CHECKING:
    from edgecnn_runtime.draw import Canvas
    from edgecnn_runtime.evaluation.dataset import LabeledImage, LabeledSet, SourceLocation
    from edgecnn_runtime.evaluation.metrics import Score

VISIBLE = 0.25
"""A keypoint of a lower score is not drawn; Ultralytics draws from the same one on."""
MATCH_OKS = 0.8
"""OKS from which two poses are the same pose."""
COMPARED = 0.5
"""Keypoints that the reference sees with less are not compared."""

decoders: Mapping[type[Any], DecoderFactory[list[PoseDetection]]] = {manifest.Pose: PoseDecoder}
columns: tuple[str, ...] = ("label", "class", "score", "x1", "y1", "x2", "y2", "keypoints")
decides, locates = False, True


def serialize(poses: list[PoseDetection]) -> list[dict[str, object]]:
    """One record per pose: ``label``, ``index``, ``score``, ``box`` and ``keypoints``."""
    return [
        {
            "label": pose.label,
            "index": pose.index,
            "score": round(pose.score, 4),
            "box": [round(float(value), 1) for value in pose.box],
            "keypoints": [
                [round(float(x), 1), round(float(y), 1), round(float(score), 3)]
                for x, y, score in pose.keypoints
            ],
        }
        for pose in poses
    ]


def draw(canvas: "Canvas", poses: list[PoseDetection]) -> None:
    """Boxes, skeletons and tags in the color of their class."""
    from edgecnn_runtime.draw import class_color

    for pose in sorted(poses, key=lambda pose: pose.score):
        color = class_color(pose.index)
        seen = [(x, y) if score >= VISIBLE else None for x, y, score in pose.keypoints]
        for first, second in pose.skeleton:
            if (one := seen[first]) and (other := seen[second]):
                canvas.line(one, other, color, within=pose.box)
        canvas.points([point for point in seen if point], color, within=pose.box)
    detect.draw(canvas, [_box(pose) for pose in poses])


def count(poses: list[PoseDetection]) -> int:
    """The number of poses."""
    return len(poses)


def detections(poses: list[PoseDetection]) -> list[Detection]:
    """The boxes, with the keypoints as their points."""
    return [_box(pose, points=tuple((x, y) for x, y, _ in pose.keypoints)) for pose in poses]


def matches(ours: list[PoseDetection], reference: list[PoseDetection], threshold: float) -> Matches:
    """Every pose has a partner of its class, score, place and keypoints.

    A box and a score as ``detect`` compares them, and an OKS of MATCH_OKS.
    """
    return match_findings(ours, reference, threshold, _overlap, _same)


def distances(
    ours: list[PoseDetection], reference: list[PoseDetection], threshold: float
) -> Sequence[float]:
    """Those of ``detect``, with the OKS in place of landmarks; one per pose of both results."""
    return finding_distances(ours, reference, threshold, _gaps)


def oks(pose: PoseDetection, other: PoseDetection) -> float:
    """Object keypoint similarity of two poses, 0..1: the mean of exp(-d² / (2·area·(2σ)²)).

    Source: cocodataset.org, "Keypoint Evaluation". d is the distance of two keypoints, the area
    that of the other's box; σ is COCO's own for its 17 keypoints and 1/K for others. Keypoints that
    the other pose does not see are left out, unless it sees none.
    """
    spread = 8 * max(area(other.box), 1.0)
    pairs = [
        (math.hypot(x - u, y - v) / sigma, score)
        for (x, y, _), (u, v, score), sigma in zip(
            pose.keypoints, other.keypoints, sigmas(len(other.keypoints)), strict=False
        )
    ]
    seen = [distance for distance, score in pairs if score >= COMPARED]
    compared = seen or [distance for distance, _ in pairs]
    return sum(math.exp(-(distance**2) / spread) for distance in compared) / max(1, len(compared))


def read_labels(source: "SourceLocation", model: ModelSpec) -> "LabeledSet":
    """YOLO texts with keypoints, COCO JSON, or a table with one object per row."""
    from edgecnn_runtime.evaluation.label_shapes import keypoints
    from edgecnn_runtime.evaluation.object_labels import read_object_labels

    return read_object_labels(source, model, keypoints(getattr(model.decode, "points", 0)))


def score(
    samples: "Sequence[LabeledImage]", results: Sequence[list[PoseDetection]], _model: ModelSpec
) -> "Score":
    """Mean average precision at an OKS from 0.5 to 0.95; that at 0.5 beside it."""
    from edgecnn_runtime.evaluation import measures, metrics

    return metrics.mean_average_precision(samples, results, measures.KEYPOINTS)


def score_classes(
    samples: "Sequence[LabeledImage]", results: Sequence[list[PoseDetection]], model: ModelSpec
) -> "Mapping[str, Score]":
    """For each class, the average precision at an OKS from 0.5 to 0.95."""
    from edgecnn_runtime.evaluation import measures, metrics

    return metrics.average_precision_by_class(samples, results, model, measures.KEYPOINTS)


def summarize(poses: list[PoseDetection]) -> str:
    """``3 × person``."""
    return detect.summarize([_box(pose) for pose in poses])


def _box(pose: PoseDetection, points: tuple[tuple[float, float], ...] = ()) -> Detection:
    return Detection(pose.box, pose.score, pose.label, pose.index, points, shape=pose)


def _overlap(pose: PoseDetection, other: PoseDetection) -> float:
    return iou(pose.box, other.box)


def _same(pose: PoseDetection, other: PoseDetection) -> bool:
    return detect.same_box(_box(pose), _box(other)) and oks(pose, other) >= MATCH_OKS


def _gaps(pose: PoseDetection, other: PoseDetection) -> list[float] | None:
    boxes = detect.gaps(_box(pose), _box(other))
    return None if boxes is None else [*boxes, (1 - oks(pose, other)) / (1 - MATCH_OKS)]
