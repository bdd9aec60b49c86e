"""The seam of trackers."""

from collections.abc import Sequence
from typing import Protocol

from edgecnn_runtime.types import Detection, Track


class Tracker(Protocol):
    """Gives the detections of one camera identities that last; used by one thread at a time."""

    def update(self, detections: Sequence[Detection], at: float, /) -> Sequence[Track]:
        """Take the detections of one frame.

        Args:
            detections: Of every score that the detector reports, doubtful ones too.
            at: When the frame was taken, in seconds; frames may be dropped between two calls, but
                time never goes back.

        Returns:
            Every track that is alive, and those that ended just now.
        """

    def reset(self) -> None:
        """Forget everything: the camera was reconnected. Ids go on from where they were."""
