"""The seam of trackers, and how a recipe offers one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import msgspec

from edgecnn_runtime.types import Detection, Track

Size: TypeAlias = tuple[int, int]


class Tracker(Protocol):
    """Gives the detections of one camera identities that last; used by one thread at a time."""

    def update(
        self, detections: Sequence[Detection], at: float, size: Size | None = None, /
    ) -> Sequence[Track]:
        """Take the detections of one frame.

        Args:
            detections: Of every score that the detector reports, doubtful ones too.
            at: When the frame was taken, in seconds. Frames may be dropped between two calls. One
                that is older than the frame before it changes nothing, unless it is so much older
                that the clock must have been set back: then every track ends.
            size: Width and height of the frame in pixels: what moves out of it is gone at once,
                and is not mistaken for what comes in there.

        Returns:
            Every track that is alive, and those that ended just now, in the order of their ids.

        Raises:
            ValueError: ``at`` is not finite.
        """

    def reset(self) -> None:
        """Forget everything: the camera was reconnected. Ids go on from where they were."""


@dataclass(frozen=True, slots=True)
class TrackerKind:
    """One kind of tracker.

    Attributes:
        settings: The Struct of its settings in a recipe; each has a default.
        make: Makes a tracker of such settings, one per camera.
    """

    settings: type[msgspec.Struct]
    make: Callable[[Any], Tracker]
