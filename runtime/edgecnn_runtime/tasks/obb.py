"""Rotated boxes in a picture, each with a class."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgecnn_runtime.bundle import manifest
from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.decode.base import DecoderFactory
from edgecnn_runtime.decode.obb import ObbDecoder
from edgecnn_runtime.evaluation.overlaps import clip, counterclockwise, polygon_area
from edgecnn_runtime.geometry import box_around, corners_of
from edgecnn_runtime.tasks import detect
from edgecnn_runtime.tasks.base import Matches
from edgecnn_runtime.tasks.findings import PARTNER_IOU, finding_distances, match_findings
from edgecnn_runtime.types import Detection, RotatedBox, RotatedDetection

if TYPE_CHECKING:
    from edgecnn_runtime.draw import Canvas
    from edgecnn_runtime.evaluation.dataset import LabeledImage, LabeledSet, SourceLocation
    from edgecnn_runtime.evaluation.metrics import Score

decoders: Mapping[type[Any], DecoderFactory[list[RotatedDetection]]] = {manifest.Obb: ObbDecoder}
columns: tuple[str, ...] = (
    "label", "class", "score", "x1", "y1", "x2", "y2", "center", "width", "height", "angle",
    "corners",
)  # fmt: skip
decides, locates = False, True


def serialize(objects: list[RotatedDetection]) -> list[dict[str, object]]:
    """One record per rotated box.

    ``label``, ``index``, ``score``, ``box`` (the smallest upright one around it), ``center``,
    ``width``, ``height``, ``angle`` (radians, as ``RotatedBox`` has it) and ``corners``.
    """
    return [
        {
            "label": found.label,
            "index": found.index,
            "score": round(found.score, 4),
            "box": [round(float(value), 1) for value in box_around(corners)],
            "center": [round(float(x), 1), round(float(y), 1)],
            "width": round(float(width), 1),
            "height": round(float(height), 1),
            "angle": round(float(angle), 4),
            "corners": [[round(float(x), 1), round(float(y), 1)] for x, y in corners],
        }
        for found in objects
        for x, y, width, height, angle in [found.rotated_box]
        for corners in [corners_of(found.rotated_box)]
    ]


def draw(canvas: "Canvas", objects: list[RotatedDetection]) -> None:
    """Outlines and tags in the color of their class."""
    from edgecnn_runtime.draw import class_color

    ranked = sorted(detections(objects), key=lambda found: found.score)
    for found in ranked:
        canvas.polygon(found.corners, class_color(found.index))
    for found in ranked:  # tags last, the surest on top
        text = f"{found.label} {found.score:.2f}".strip()
        canvas.tag(found.box, text, class_color(found.index))


def count(objects: list[RotatedDetection]) -> int:
    """The number of rotated boxes."""
    return len(objects)


def detections(objects: list[RotatedDetection]) -> list[Detection]:
    """The smallest upright box around each, and its corners."""
    return [
        Detection(
            box_around(corners), found.score, found.label, found.index, corners=corners, shape=found
        )
        for found in objects
        for corners in [corners_of(found.rotated_box)]
    ]


def matches(
    ours: list[RotatedDetection], reference: list[RotatedDetection], threshold: float
) -> Matches:
    """Every box has a partner of its class and score, with a rotated IoU as ``detect`` asks for."""
    return match_findings(ours, reference, threshold, _overlap, _same)


def distances(
    ours: list[RotatedDetection], reference: list[RotatedDetection], threshold: float
) -> Sequence[float]:
    """The mean square of what differs, in units of its margin; one per box of both results."""
    return finding_distances(ours, reference, threshold, _gaps)


def rotated_iou(one: RotatedBox, other: RotatedBox) -> float:
    """Intersection over union of two rotated boxes, exactly."""
    if one == other:
        return 1.0
    if math.hypot(one.x - other.x, one.y - other.y) >= (_diagonal(one) + _diagonal(other)) / 2:
        return 0.0
    # OpenCV's own intersection fails where edges lie on each other
    ours, theirs = (counterclockwise(corners_of(each)) for each in (one, other))
    shared = polygon_area(clip(ours, theirs))
    whole = one.width * one.height + other.width * other.height - shared
    return min(1.0, shared / whole) if whole > 0 else 0.0


def read_labels(source: "SourceLocation", model: ModelSpec) -> "LabeledSet":
    """YOLO texts with four corners, COCO JSON, or a table with one object per row."""
    from edgecnn_runtime.evaluation.label_shapes import ROTATED
    from edgecnn_runtime.evaluation.object_labels import read_object_labels

    return read_object_labels(source, model, ROTATED)


def score(
    samples: "Sequence[LabeledImage]", results: Sequence[list[RotatedDetection]], _model: ModelSpec
) -> "Score":
    """Mean average precision at a rotated IoU of 0.5; that from 0.5 to 0.95 beside it."""
    from edgecnn_runtime.evaluation import measures, metrics

    return metrics.mean_average_precision(samples, results, measures.ROTATED)


def score_classes(
    samples: "Sequence[LabeledImage]", results: Sequence[list[RotatedDetection]], model: ModelSpec
) -> "Mapping[str, Score]":
    """For each class, the average precision at a rotated IoU of 0.5."""
    from edgecnn_runtime.evaluation import measures, metrics

    return metrics.average_precision_by_class(samples, results, model, measures.ROTATED)


def summarize(objects: list[RotatedDetection]) -> str:
    """``3 × ship``."""
    return detect.summarize(detections(objects))


def _overlap(ours: RotatedDetection, other: RotatedDetection) -> float:
    return rotated_iou(ours.rotated_box, other.rotated_box)


def _same(ours: RotatedDetection, other: RotatedDetection) -> bool:
    return _overlap(ours, other) >= detect.MATCH_IOU


def _gaps(ours: RotatedDetection, other: RotatedDetection) -> list[float] | None:
    overlap = _overlap(ours, other)
    return None if overlap < PARTNER_IOU else [(1 - overlap) / (1 - detect.MATCH_IOU)]


def _diagonal(box: RotatedBox) -> float:
    return math.hypot(box.width, box.height)
