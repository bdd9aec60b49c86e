"""The seam of votes: many observations of a track, one decision."""

from typing import Protocol

from edgecnn_runtime.types import Decision, Observation, Track


class Voter(Protocol):
    """Collects the observations of the tracks of one camera."""

    def add(self, observation: Observation, /) -> None:
        """Count one observation."""

    def decide(self, track: Track, /) -> Decision | None:
        """What the observations of a track agree on so far; None where they do not yet."""

    def close(self, track: Track, /) -> Decision | None:
        """The last word on a track, whose observations are then forgotten."""

    def reset(self) -> None:
        """Forget every track: the camera was reconnected."""
