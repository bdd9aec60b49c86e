"""What a comparison is given."""

from dataclasses import dataclass
from pathlib import Path

from runner.process import BASELINES, Worker
from runner.race import Pace

QUICK_ROUNDS, QUICK_COUNT = 3, 24
LEAST = 100.0
"""Milliseconds of a block: 64 digits take only four, less than a sleeping core needs to wake."""


@dataclass(frozen=True)
class Setting:
    """One comparison's surroundings.

    Attributes:
        name: Name of the baseline.
        folder: Scratch folder, removed afterwards.
        python: Python of the baseline's environment.
        quick: Whether this only shows that it works.
    """

    name: str
    folder: Path
    python: Path
    quick: bool

    def theirs(self) -> Worker:
        """The baseline's worker in its environment."""
        return Worker(BASELINES / self.name / "worker.py", self.python)

    def ours(self) -> Worker:
        """edgecnn's worker, in this environment."""
        return Worker(BASELINES / "ours.py")

    def pace(self, rounds: int, count: int) -> Pace:
        """So many blocks of so many results, or a few short ones."""
        if self.quick:
            return Pace(QUICK_ROUNDS, min(count, QUICK_COUNT))
        return Pace(rounds, count, LEAST)
