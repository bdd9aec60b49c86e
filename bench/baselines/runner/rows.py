"""What a comparison found, as it is printed and written."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from rich import box
from rich.table import Table

from edgecnn_bench.stats import Interval


class BaselineRow(msgspec.Struct, frozen=True, kw_only=True):
    """Ours against theirs at one piece of work.

    ours, theirs: what ran, in words. fps: results a second by round, under the same two words.
    speed: ours over theirs. answers: how the two answered, in words. wanted: smallest speed ratio,
    None where none is asked. worse: whether our answers were worse than theirs.
    """

    work: str
    ours: str
    theirs: str
    fps: Mapping[str, Sequence[float]]
    speed: Interval
    answers: str
    wanted: float | None = None
    worse: bool = False

    @property
    def reached(self) -> bool:
        """Whether ours is as fast as wanted, and no worse."""
        return not self.worse and (self.wanted is None or self.speed.value >= self.wanted)


class BaselineComparison(msgspec.Struct, frozen=True, kw_only=True):
    """rows: what was raced. found: whatever else was measured, by name."""

    rows: Sequence[BaselineRow]
    found: dict[str, Any] = {}


def table(name: str, comparison: BaselineComparison) -> Table:
    """For each piece of work theirs, then ours with the ratio."""
    drawn = Table(title=f"edgecnn against {name}", title_justify="left", box=box.SIMPLE_HEAD)
    drawn.add_column("a second", overflow="fold")  # where it is narrow, figures stay whole
    drawn.add_column("", justify="right", no_wrap=True)
    for heading in ("times as fast", "wanted"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    shown = ("", "")
    for row in comparison.rows:
        if row.work != shown[0]:
            drawn.add_row(f"[bold]{row.work}")
        if (row.work, row.theirs) != shown:
            drawn.add_row(f"  {row.theirs}", digits(row.fps[row.theirs]))
        shown = (row.work, row.theirs)
        drawn.add_row(
            f"  {row.ours}",
            digits(row.fps[row.ours]),
            f"{digits(row.speed.value)} ({digits(row.speed.low)} to {digits(row.speed.high)})",
            "" if row.wanted is None else f"≥ {row.wanted:.3g}",
        )
    return drawn


def remarks(comparison: BaselineComparison) -> list[str]:
    """What the two answered, and what was missed."""
    return [
        f"{row.work}, {row.ours}: {row.answers}{'' if row.reached else ' [bold red]MISSED'}"
        for row in comparison.rows
    ]


def digits(numbers: float | Sequence[float]) -> str:
    """Three digits of a number, or of the median of several."""
    value = float(np.median(numbers))
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
