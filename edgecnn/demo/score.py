"""Results of frames → one reading per digit → how many are right.

The readings do not use the truth: what stays in the window for a few frames is one digit, and its
frames vote. Only then are the readings compared with the truth, by time.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgecnn.demo.scene import Tile

NONE = "none"
GAP = 2
"""Frames without a digit that do not end a reading."""
SHORTEST = 3
"""The fewest frames that make a reading."""


@dataclass(frozen=True, slots=True)
class Look:
    """The model's result for one frame."""

    frame: int
    label: str
    score: float


@dataclass(frozen=True, slots=True)
class DigitReading:
    """The reading of one digit.

    Attributes:
        label: The label that won the vote of its frames.
        first: Index of the first frame.
        last: Index of the last frame.
        share: Fraction of all scores that voted for it.
    """

    label: str
    first: int
    last: int
    share: float


@dataclass(frozen=True, slots=True)
class DigitScore:
    """Readings compared with the truth.

    Attributes:
        pairs: Each tile with its reading; None where there is none.
        invented: Readings that belong to no tile.
    """

    pairs: tuple[tuple[Tile, DigitReading | None], ...]
    invented: tuple[DigitReading, ...]

    @property
    def right(self) -> int:
        """How many tiles were read correctly."""
        return sum(is_right(tile, reading) for tile, reading in self.pairs)


def is_right(tile: Tile, reading: DigitReading | None) -> bool:
    """Whether a tile was read, and correctly."""
    return reading is not None and reading.label == str(tile.digit)


def read_events(path: Path) -> list[Look]:
    """Read the file that ``edgecnn run --events`` wrote for a classifier."""
    events = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    results = [(event["index"], event["results"][0]) for event in events]
    return [Look(index, result["label"], result["score"]) for index, result in results]


def vote(looks: Iterable[Look]) -> list[DigitReading]:
    """Readings, in order, of frames in order."""
    readings, ballot = [], list[Look]()
    for look in looks:
        if look.label == NONE:
            continue
        if ballot and look.frame - ballot[-1].frame > GAP + 1:
            readings.append(_count(ballot))
            ballot = []
        ballot.append(look)
    if ballot:
        readings.append(_count(ballot))
    return [reading for reading in readings if reading.last - reading.first + 1 >= SHORTEST]


def compare(readings: Sequence[DigitReading], tiles: Sequence[Tile]) -> DigitScore:
    """Assign each reading to the tile that was in the middle of the window during it.

    A second reading of the same tile counts as invented.
    """
    remaining = list(readings)
    pairs = []
    for tile in tiles:
        reading = next((r for r in remaining if r.first <= tile.frame <= r.last), None)
        if reading:
            remaining.remove(reading)
        pairs.append((tile, reading))
    return DigitScore(tuple(pairs), tuple(remaining))


def _count(ballot: Sequence[Look]) -> DigitReading:
    votes: dict[str, float] = {}
    for look in ballot:
        votes[look.label] = votes.get(look.label, 0.0) + look.score
    winner = max(votes, key=lambda label: votes[label])
    share = votes[winner] / sum(votes.values())
    return DigitReading(winner, ballot[0].frame, ballot[-1].frame, share)
