"""One voter for every kind of vote: it collects per track, and the kind counts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from edgecnn_runtime.types import Decision, Floats, Observation, Track
from edgecnn_runtime.vote.evidence import Evidence

MAX_BALLOTS = 32
"""Observations of one track that count at most: those with the best crops."""
MIN_WEIGHT = 1e-3
"""Even the worst crop counts a little."""


class Ballot(NamedTuple):
    """One observation, as it counts.

    Attributes:
        result: Of the second model.
        weight: The square of its crop's quality, above 0: with it, plates at the same score were
            right more often than with the quality itself.
    """

    result: Any
    weight: float


class Outcome(NamedTuple):
    """What the ballots agree on.

    Attributes:
        text: A text, or the name of a class; empty for an embedding.
        score: How sure it is, 0..1.
        part_scores: The same per character of a text; empty otherwise.
        vector: float32[D], unit length, where embeddings were counted.
        candidates: For each character of a text, all that may stand there, itself included, with
            their shares of the votes; empty where nothing tells them.
        details: More for the event, of plain JSON values.
    """

    text: str
    score: float
    part_scores: tuple[float, ...] = ()
    vector: Floats | None = None
    candidates: Sequence[Mapping[str, float]] = ()
    details: Mapping[str, Any] = {}


Refine: TypeAlias = Callable[[Outcome], Outcome]
"""What knows more of an outcome, such as the syntax of its text."""


class VoteKind(NamedTuple):
    """One way to count.

    Attributes:
        task: Whose results it counts, a key of ``tasks.TASKS``.
        answer: What one result answers: observations with the same answer compete for being the
            evidence.
        tally: What ballots agree on, the heaviest first; None where they say nothing.
        distance: How far an answer is from the outcome's text: the nearest is the evidence.
    """

    task: str
    answer: Callable[[Any], str]
    tally: Callable[[Sequence[Ballot]], Outcome | None]
    distance: Callable[[str, str], float]


class TrackVoter:
    """The votes of all tracks of one camera."""

    def __init__(
        self,
        kind: VoteKind,
        *,
        votes: int = 3,
        score: float = 0.5,
        refine: Refine | None = None,
    ) -> None:
        """Nothing is counted yet.

        Args:
            kind: How to count.
            votes: Observations that ``decide`` wants before it says anything.
            score: How sure a decision must be, 0..1.
            refine: Applied to every outcome, before it is judged.
        """
        self._kind, self._refine = kind, refine
        self._votes, self._score = votes, score
        self._tracks: dict[int, _Poll] = {}

    def add(self, observation: Observation, /) -> None:
        """Count one observation."""
        poll = self._tracks.setdefault(observation.track, _Poll())
        poll.add(observation, self._kind.answer(observation.result))

    def decide(self, track: Track, /) -> Decision | None:
        """The decision so far; None before enough observations make one that is sure enough."""
        return self._decision(self._tracks.get(track.id), self._votes)

    def close(self, track: Track, /) -> Decision | None:
        """The last word on a track, from as few observations as there are."""
        return self._decision(self._tracks.pop(track.id, None), 1)

    def reset(self) -> None:
        """Forget every track."""
        self._tracks.clear()

    def _decision(self, poll: "_Poll | None", votes: int) -> Decision | None:
        if poll is None or len(poll.ballots) < votes:
            return None
        if not poll.counted:
            poll.outcome, poll.counted = self._kind.tally(poll.ballots), True
            if poll.outcome is not None and self._refine is not None:
                poll.outcome = self._refine(poll.outcome)
        outcome = poll.outcome
        if outcome is None or outcome.score < self._score:
            return None
        best = poll.evidence.best(lambda answer: self._kind.distance(answer, outcome.text))
        return Decision(
            outcome.text, outcome.score, outcome.part_scores, len(poll.ballots), best,
            outcome.vector, outcome.details,
        )  # fmt: skip


class _Poll:
    """The observations of one track, and what they came to when they were last counted."""

    def __init__(self) -> None:
        self.ballots: list[Ballot] = []
        self.evidence = Evidence()
        self.outcome: Outcome | None = None
        self.counted = False

    def add(self, observation: Observation, answer: str) -> None:
        self.evidence.add(answer, observation)
        weight = max(MIN_WEIGHT, observation.quality**2)
        self.ballots.append(Ballot(observation.result, weight))
        self.ballots.sort(key=lambda ballot: -ballot.weight)
        del self.ballots[MAX_BALLOTS:]
        self.counted = False
