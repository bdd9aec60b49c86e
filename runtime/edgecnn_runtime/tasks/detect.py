"""Boxes in a picture, each with a class and perhaps landmarks or corners."""

from collections.abc import Mapping
from typing import Any

from edgecnn_runtime.bundle import manifest
from edgecnn_runtime.decode.anchor_free import anchor_free_decoder
from edgecnn_runtime.decode.base import DecoderFactory
from edgecnn_runtime.decode.ssd import SsdDecoder
from edgecnn_runtime.decode.yolo import YoloDecoder
from edgecnn_runtime.draw import Canvas, class_color
from edgecnn_runtime.tasks.base import printable
from edgecnn_runtime.types import Detection

decoders: Mapping[type[Any], DecoderFactory[list[Detection]]] = {
    manifest.Yolo: YoloDecoder,
    manifest.AnchorFree: anchor_free_decoder,
    manifest.Ssd: SsdDecoder,
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


def draw(canvas: Canvas, detections: list[Detection]) -> None:
    """Boxes, points and tags in the color of their class."""
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


def summarize(detections: list[Detection]) -> str:
    """``3 × face, 1 × plate``."""
    labels = [printable(detection.label) for detection in detections]
    counts = [f"{labels.count(label)} × {label}" for label in dict.fromkeys(labels)]
    return ", ".join(counts) or "nothing found"
