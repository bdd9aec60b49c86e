"""Frame by frame results → one reading a digit → how many are right.

The readings are made without looking at the truth: whatever stays in the window for a few frames
is one digit, and its frames vote. Only then is the truth compared, by time.
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
"""Frames that a digit is seen in, at least."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the model said of the window in one frame."""

    frame: int
    label: str
    score: float


@dataclass(frozen=True, slots=True)
class DigitReading:
    """One digit passing: ``label`` won the vote of its frames, first to last.

    share: its part of all scores cast.
    """

    label: str
    first: int
    last: int
    share: float


@dataclass(frozen=True, slots=True)
class DigitScore:
    """pairs: each tile with its reading, None where it was missed. invented: no tile was there."""

    pairs: tuple[tuple[Tile, DigitReading | None], ...]
    invented: tuple[DigitReading, ...]

    @property
    def right(self) -> int:
        """Tiles whose digit was read."""
        return sum(is_right(tile, reading) for tile, reading in self.pairs)


def is_right(tile: Tile, reading: DigitReading | None) -> bool:
    """Whether a tile was read, and as what it is."""
    return reading is not None and reading.label == str(tile.digit)


def read_events(path: Path) -> list[Look]:
    """The lines that ``edgecnn run --events`` wrote for a classifier."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [
        Look(line["index"], line["results"][0]["label"], line["results"][0]["score"])
        for line in lines
    ]


def vote(looks: Iterable[Look]) -> list[DigitReading]:
    """Frames, in order → readings, in order."""
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
    """Each reading belongs to the tile that was in the window's middle during it.

    A second reading of the same tile counts as invented.
    """
    left = list(readings)
    pairs = []
    for tile in tiles:
        found = next((r for r in left if r.first <= tile.frame <= r.last), None)
        if found:
            left.remove(found)
        pairs.append((tile, found))
    return DigitScore(tuple(pairs), tuple(left))


def _count(ballot: Sequence[Look]) -> DigitReading:
    votes: dict[str, float] = {}
    for look in ballot:
        votes[look.label] = votes.get(look.label, 0.0) + look.score
    winner = max(votes, key=lambda label: votes[label])
    share = votes[winner] / sum(votes.values())
    return DigitReading(winner, ballot[0].frame, ballot[-1].frame, share)
