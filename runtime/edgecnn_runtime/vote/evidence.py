"""The few observations of a track that may become its evidence."""

from collections.abc import Callable

from edgecnn_runtime.types import Observation

ANSWERS = 3
"""Answers whose observation is kept: each holds a whole frame."""


class Evidence:
    """The observation with the best crop for each answer, for a few answers."""

    def __init__(self) -> None:
        self._best: dict[str, Observation] = {}

    def add(self, answer: str, observation: Observation) -> None:
        """Keep an observation if it is the best one for its answer.

        Args:
            answer: What it says.
            observation: With its crop and frame.
        """
        best = self._best.get(answer)
        if best is None or observation.quality > best.quality:
            self._best[answer] = observation
        if len(self._best) > ANSWERS:
            del self._best[min(self._best, key=lambda other: self._best[other].quality)]

    def best(self, distance: Callable[[str], float]) -> Observation:
        """The observation whose answer is nearest to the decision, and of those the best crop.

        Args:
            distance: Of an answer from the decision.

        Raises:
            ValueError: There is none.
        """
        answers = self._best
        return answers[min(answers, key=lambda each: (distance(each), -answers[each].quality))]
