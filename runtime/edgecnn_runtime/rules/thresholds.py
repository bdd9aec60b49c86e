"""Which tracks count: large, sure and lasting enough."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgecnn_runtime.types import Box, Track


@dataclass(frozen=True)
class Thresholds:
    """What a track needs before anything is said of it.

    Attributes:
        min_size: The least width and height of its box, as a fraction of the frame's shorter side.
        min_seconds: How long it has to be seen, from its first to its last detection.
        scores: The least score of its detection, by class; a class that is not named needs none.
    """

    min_size: float = 0.0
    min_seconds: float = 0.0
    scores: Mapping[str, float] = field(default_factory=dict)

    def accept(self, track: Track, width: int, height: int) -> bool:
        """Whether a track counts, in a frame of this width and height."""
        detection = track.detection
        return (
            detection.score >= self.scores.get(detection.label, 0.0)
            and track.last - track.first >= self.min_seconds
            and shorter_side(detection.box) >= self.min_size * min(width, height)
        )


def shorter_side(box: Box) -> float:
    """The smaller of a box's width and height."""
    return min(box.x2 - box.x1, box.y2 - box.y1)
