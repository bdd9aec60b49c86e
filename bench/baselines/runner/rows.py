"""What a comparison measured, as it is printed and written."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from lib.experiment import Cell, Row

from edgecnn_bench.stats import Interval


class BaselineRow(msgspec.Struct, frozen=True, kw_only=True):
    """Ours against theirs at one piece of work.

    Attributes:
        work: What both did, in words.
        ours: What ran on our side, in words.
        theirs: What ran on the baseline's side, in words.
        fps: Results per second of every round, by ``ours`` and ``theirs``.
        speed: Our rate over theirs, with its 99 % interval.
        answers: How the answers of both compare, in words.
        goal: The smallest ``speed`` that is good enough; None where none is asked.
        worse: Whether our answers were worse than theirs.
        details: What else was measured, by name.
    """

    work: str
    ours: str
    theirs: str
    fps: Mapping[str, Sequence[float]]
    speed: Interval
    answers: str
    goal: float | None = None
    worse: bool = False
    details: Mapping[str, Any] = {}


def reached(row: Row) -> bool:
    """Whether ours is as fast as it should be, and its answers no worse."""
    return not row["worse"] and (row["goal"] is None or row["speed"].value >= row["goal"])


COLUMNS: Mapping[str, Cell] = {
    "work": "{work}",
    "theirs": lambda row: rate(row, "theirs"),
    "ours": lambda row: rate(row, "ours"),
    "times as fast": lambda row: times(row["speed"]),
    "goal": lambda row: "" if row["goal"] is None else f"≥ {row['goal']:.3g}",
}


def answers(rows: Sequence[Row]) -> list[str]:
    """How the answers compare, a line per row."""
    return [f"{row['work']}, {row['ours']}: {row['answers']}" for row in rows]


def rate(row: Row, side: str) -> str:
    """The median rate of one side, under its name."""
    return f"{row[side]}\n{digits(row['fps'][row[side]])}"


def times(speed: Interval) -> str:
    """The ratio, and its interval below."""
    return f"{digits(speed.value)}\n({digits(speed.low)} to {digits(speed.high)})"


def digits(numbers: float | Sequence[float]) -> str:
    """Three digits of a number, or of the median of several."""
    value = float(np.median(numbers))
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
