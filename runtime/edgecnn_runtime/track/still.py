"""Pictures that have nothing to do with each other: every detection is an object of its own."""

from collections.abc import Sequence

from msgspec.structs import replace

from edgecnn_runtime.geometry import is_box
from edgecnn_runtime.track.tracker import Size
from edgecnn_runtime.types import Detection, Track


class StillTracker:
    """Tracker whose tracks are confirmed at once and end with the next frame."""

    def __init__(self, score: float = 0.0) -> None:
        """Nothing was seen yet.

        Args:
            score: Detections below it are no objects.
        """
        self._score = score
        self._tracks: list[Track] = []
        self._next = 1

    def update(
        self, detections: Sequence[Detection], at: float, _size: Size | None = None, /
    ) -> list[Track]:
        """The tracks of the last frame end, and each detection begins one."""
        ended = [replace(track, state="ended") for track in self._tracks]
        sure = [each for each in detections if each.score >= self._score and is_box(each.box)]
        self._tracks = [
            Track(self._next + i, "confirmed", found, found.box, (0.0, 0.0), at, at, 1)
            for i, found in enumerate(sure)
        ]
        self._next += len(sure)
        return [*ended, *self._tracks]

    def reset(self) -> None:
        """Forget the last frame."""
        self._tracks = []
