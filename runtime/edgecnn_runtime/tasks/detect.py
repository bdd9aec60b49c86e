"""Boxes in a picture, each with a class and perhaps landmarks or corners."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgecnn_runtime.bundle import manifest
from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.decode.anchor_free import anchor_free_decoder
from edgecnn_runtime.decode.base import DecoderFactory
from edgecnn_runtime.decode.detr import DetrDecoder
from edgecnn_runtime.decode.gfl import GflDecoder
from edgecnn_runtime.decode.ranked import RankedDecoder
from edgecnn_runtime.decode.ssd import SsdDecoder
from edgecnn_runtime.decode.yolo import YoloDecoder
from edgecnn_runtime.geometry import area, iou
from edgecnn_runtime.tasks.base import Matches, printable
from edgecnn_runtime.tasks.findings import PARTNER_IOU, finding_distances, match_findings
from edgecnn_runtime.types import Detection

if TYPE_CHECKING:
    from edgecnn_runtime.draw import Canvas
    from edgecnn_runtime.evaluation.dataset import LabeledImage, LabeledSet, SourceLocation
    from edgecnn_runtime.evaluation.metrics import Score

MATCH_IOU = 0.8
"""IoU from which two boxes are the same box."""
POINT_MARGIN = 0.25
"""How far a landmark may be off, as a share of the box's side (the square root of its area): by
more it is on another feature; the eyes of a face are about 0.4 apart."""

decoders: Mapping[type[Any], DecoderFactory[list[Detection]]] = {
    manifest.Yolo: YoloDecoder,
    manifest.AnchorFree: anchor_free_decoder,
    manifest.Ssd: SsdDecoder,
    manifest.Detr: DetrDecoder,
    manifest.Ranked: RankedDecoder,
    manifest.Gfl: GflDecoder,
}
columns: tuple[str, ...] = ("label", "class", "score", "x1", "y1", "x2", "y2", "points")
decides, locates = False, True


def serialize(detections: list[Detection]) -> list[dict[str, object]]:
    """One record per box: ``label``, ``index``, ``score``, ``box`` and ``points``."""
    return [
        {
            "label": detection.label,
            "index": detection.index,
            "score": round(detection.score, 4),
            "box": [round(float(value), 1) for value in detection.box],
            "points": [[round(float(x), 1), round(float(y), 1)] for x, y in detection.points],
        }
        for detection in detections
    ]


def draw(canvas: "Canvas", detections: list[Detection]) -> None:
    """Boxes, points and tags in the color of their class."""
    from edgecnn_runtime.draw import class_color

    ranked = sorted(detections, key=lambda detection: detection.score)
    for detection in ranked:
        color = class_color(detection.index)
        canvas.box(detection.box, color)
        canvas.points(detection.points, color, within=detection.box)
    for detection in ranked:  # tags last, the surest on top
        text = f"{detection.label} {detection.score:.2f}".strip()
        canvas.tag(detection.box, text, class_color(detection.index))


def count(detections: list[Detection]) -> int:
    """The number of boxes."""
    return len(detections)


def detections(result: list[Detection]) -> list[Detection]:
    """The result itself."""
    return result


def matches(ours: list[Detection], reference: list[Detection], threshold: float) -> Matches:
    """Every box has a partner of its class, score, place and landmarks.

    An IoU of MATCH_IOU, a score within SCORE_MARGIN, landmarks within POINT_MARGIN of the side. A
    box within SCORE_MARGIN of the threshold needs none.
    """
    return match_findings(ours, reference, threshold, _overlap, same_box)


def distances(
    ours: list[Detection], reference: list[Detection], threshold: float
) -> Sequence[float]:
    """The mean square of what differs, in units of its margin; one per box of both results."""
    return finding_distances(ours, reference, threshold, gaps)


def read_labels(source: "SourceLocation", model: ModelSpec) -> "LabeledSet":
    """YOLO texts beside images, COCO JSON, or a table with one box per row."""
    from edgecnn_runtime.evaluation.label_shapes import BOXES
    from edgecnn_runtime.evaluation.object_labels import read_object_labels

    return read_object_labels(source, model, BOXES)


def score(
    samples: "Sequence[LabeledImage]", results: Sequence[list[Detection]], _model: ModelSpec
) -> "Score":
    """Mean average precision at an IoU of 0.5; that from 0.5 to 0.95 beside it."""
    from edgecnn_runtime.evaluation import measures, metrics

    return metrics.mean_average_precision(samples, results, measures.BOXES)


def score_classes(
    samples: "Sequence[LabeledImage]", results: Sequence[list[Detection]], model: ModelSpec
) -> "Mapping[str, Score]":
    """For each class, the average precision at an IoU of 0.5."""
    from edgecnn_runtime.evaluation import measures, metrics

    return metrics.average_precision_by_class(samples, results, model, measures.BOXES)


def summarize(detections: list[Detection]) -> str:
    """``3 × face, 1 × plate``."""
    labels = [printable(detection.label) for detection in detections]
    counts = [f"{labels.count(label)} × {label}" for label in dict.fromkeys(labels)]
    return ", ".join(counts) or "nothing found"


def same_box(ours: Detection, other: Detection) -> bool:
    """Whether two detections of one class are the same: a box and its landmarks."""
    return iou(ours.box, other.box) >= MATCH_IOU and _same_points(ours, other)


def gaps(ours: Detection, other: Detection) -> list[float] | None:
    """How far boxes and landmarks are apart, in units of their margins; None of different ones."""
    overlap = iou(ours.box, other.box)
    if overlap < PARTNER_IOU:
        return None
    place = (1 - overlap) / (1 - MATCH_IOU)
    if not ours.points:
        return [place]
    side = max(ours.box.x2 - ours.box.x1, ours.box.y2 - ours.box.y1, 1.0)
    pairs = zip(ours.points, other.points, strict=False)
    points = max((math.dist(point, partner) for point, partner in pairs), default=0.0)
    return [place, points / (POINT_MARGIN * side)]


def _overlap(ours: Detection, other: Detection) -> float:
    return iou(ours.box, other.box)


def _same_points(ours: Detection, other: Detection) -> bool:
    if len(ours.points) != len(other.points):
        return False
    allowed = POINT_MARGIN * area(ours.box) ** 0.5
    return all(
        math.dist(point, partner) <= allowed
        for point, partner in zip(ours.points, other.points, strict=True)
    )
