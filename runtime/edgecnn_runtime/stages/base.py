"""The seam of second stages: what looks closer at the tracks of a frame."""

from collections.abc import Sequence
from typing import Protocol

from edgecnn_runtime.types import Frame, Observation, Track


class Stage(Protocol):
    """Looks closer at tracks, for instance with a second model; one per camera."""

    def __call__(self, frame: Frame, tracks: Sequence[Track], /) -> Sequence[Observation]:
        """Look at those tracks that are worth it in this frame.

        Args:
            frame: The full frame.
            tracks: As the tracker left them after this frame.

        Returns:
            What is new; empty where nothing was looked at.
        """

    def reset(self) -> None:
        """Forget every track: the camera was reconnected."""
