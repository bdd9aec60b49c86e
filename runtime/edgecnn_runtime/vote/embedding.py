"""Embeddings of one object → one embedding."""

from collections.abc import Sequence

import numpy as np

from edgecnn_runtime.vote.voter import Ballot, Outcome, VoteKind

BEST = 5
"""Embeddings that count: those of the best crops."""


def count_embeddings(ballots: Sequence[Ballot]) -> Outcome | None:
    """The direction of the weighted mean of the best few vectors, each of unit length.

    Args:
        ballots: Of ``Embedding``, the heaviest first. A vector of zeros counts nowhere.

    Returns:
        The vector; its score is the length of the mean, which is 1 where all point the same way
        (the mean resultant length; Mardia & Jupp, "Directional Statistics", 2000, section 9.2).
    """
    units, weights = [], []
    for result, weight in ballots:
        vector = result.vector.astype(np.float64)
        if (length := float(np.linalg.norm(vector))) > 0:
            units.append(vector / length)
            weights.append(weight)
    if not units:
        return None
    mean = np.average(units[:BEST], axis=0, weights=weights[:BEST])
    length = float(np.linalg.norm(mean))
    if length < 1e-6:
        return None
    return Outcome("", min(1.0, length), vector=(mean / length).astype(np.float32))


def _same(_one: str, _other: str) -> float:
    return 0.0


KIND = VoteKind("embed", lambda _result: "", count_embeddings, _same)
