"""How far two lists of boxes agree, frame by frame; a box is x1, y1, x2, y2, score."""

from collections.abc import Sequence
from typing import TypeAlias

from edgecnn_runtime.geometry import iou
from edgecnn_runtime.types import Box

Boxes: TypeAlias = Sequence[Sequence[float]]


def matched_boxes(theirs: Sequence[Boxes], ours: Sequence[Boxes], *, overlap: float = 0.5) -> str:
    """How many of their boxes one of ours covers, in words."""
    best = overlaps(theirs, ours)
    matches = sum(value >= overlap for value in best)
    return f"{matches} of their {len(best)} boxes found again (IoU ≥ {overlap:g})"


def overlaps(theirs: Sequence[Boxes], ours: Sequence[Boxes]) -> list[float]:
    """For each of their boxes the IoU with the best of ours; 0 where there is none."""
    return [
        max((iou(Box(*box[:4]), Box(*other[:4])) for other in our_boxes), default=0.0)
        for their_boxes, our_boxes in zip(theirs, ours, strict=True)
        for box in their_boxes
    ]
