"""No vote: an answer that somebody else has found to be stable already."""

from edgecnn_runtime.types import Classification, Decision, Observation, Reading, Track
from edgecnn_runtime.vote.text import count_texts
from edgecnn_runtime.vote.voter import Ballot, Refine


class SingleVoter:
    """Voter for which the last observation of a track decides."""

    def __init__(self, refine: Refine | None = None) -> None:
        """Nothing is known yet.

        Args:
            refine: Applied to texts.
        """
        self._last: dict[int, Observation] = {}
        self._refine = refine

    def add(self, observation: Observation, /) -> None:
        """Replace the observation before."""
        self._last[observation.track] = observation

    def decide(self, track: Track, /) -> Decision | None:
        """What the last observation says; one vote per frame of the track."""
        last = self._last.get(track.id)
        if last is None:
            return None
        result = last.result
        if isinstance(result, Classification):
            return Decision(result.label, result.score, (), track.hits, last)
        if isinstance(result, Reading):
            outcome = count_texts([Ballot(result, 1.0)]) if self._refine and result.text else None
            if self._refine is None or outcome is None:
                return Decision(result.text, result.score, result.char_scores, track.hits, last)
            text, score, parts, _, _, details = self._refine(outcome)
            return Decision(text, score, parts, track.hits, last, details=details)
        return None

    def close(self, track: Track, /) -> Decision | None:
        """The same, and forget it."""
        decision = self.decide(track)
        self._last.pop(track.id, None)
        return decision

    def reset(self) -> None:
        """Forget everything."""
        self._last.clear()
