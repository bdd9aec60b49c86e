"""Votes: many observations of a track, one decision.

A new kind of vote is one file here, with its ``KIND``, and one line in VOTERS.
"""

from collections.abc import Mapping

from edgecnn_runtime.vote import embedding, label, text
from edgecnn_runtime.vote.base import Voter
from edgecnn_runtime.vote.voter import TrackVoter, VoteKind

__all__ = ["VOTERS", "TrackVoter", "VoteKind", "Voter", "voter_for_task"]

VOTERS: Mapping[str, VoteKind] = {
    "text": text.KIND,
    "label": label.KIND,
    "embedding": embedding.KIND,
}


def voter_for_task(task: str) -> str:
    """The name in VOTERS of the vote that counts the results of a task; empty without one."""
    return next((name for name, kind in VOTERS.items() if kind.task == task), "")
