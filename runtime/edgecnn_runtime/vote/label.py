"""Classifications of one object → its class."""

from collections.abc import Sequence

import numpy as np

from edgecnn_runtime.vote.voter import Ballot, Outcome, VoteKind


def count_labels(ballots: Sequence[Ballot]) -> Outcome | None:
    """The class of the highest mean probability, weighted by the ballots' weights.

    Args:
        ballots: Of ``Classification``; a class that was the best in none is not chosen.
    """
    total = sum(weight for _, weight in ballots)
    if not total:
        return None
    mean = sum(result.scores.astype(np.float64) * weight for result, weight in ballots) / total
    names = {result.index: result.label for result, _ in ballots}
    best = max(names, key=lambda index: float(mean[index]))
    return Outcome(names[best], float(mean[best]))


def _differs(one: str, other: str) -> float:
    return float(one != other)


KIND = VoteKind("classify", lambda result: str(result.label), count_labels, _differs)
