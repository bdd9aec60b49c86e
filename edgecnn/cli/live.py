"""The live line of ``edgecnn run``, on stderr: drawn in place, or printed now and then to a log."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgecnn.cli.terminal_text import escape_markup
from edgecnn_runtime.runner import CameraJob
from edgecnn_runtime.stats import StatsSnapshot

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

LOG_EVERY = 5.0
"""Seconds between two lines, where stderr is no terminal."""


class StatusLine:
    """Shows how the jobs are doing, each time ``show`` is called."""

    def __init__(self, console: "Console", jobs: Sequence[CameraJob], *, quiet: bool) -> None:
        from rich.live import Live as Drawn

        self._console = console
        self._jobs = jobs
        self._drawn: Drawn | None = None
        if console.is_terminal and not quiet:
            self._drawn = Drawn(self._table(), console=console, auto_refresh=False, transient=True)
        self._quiet = quiet
        self._printed = time.monotonic()

    def __enter__(self) -> "StatusLine":
        if self._drawn is not None:
            self._drawn.start()
        return self

    def __exit__(self, *problem: object) -> None:
        if self._drawn is not None:
            self._drawn.stop()

    def show(self) -> None:
        """Draw the lines anew; print them, where they cannot be drawn, every LOG_EVERY seconds."""
        if self._drawn is not None:
            self._drawn.update(self._table(), refresh=True)
        elif not self._quiet and time.monotonic() - self._printed >= LOG_EVERY:
            self._printed = time.monotonic()
            for job in self._jobs:
                line = f"{job.name}: {', '.join(status_fields(job))}"
                self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _table(self) -> "Table":
        from rich.spinner import Spinner
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for job in self._jobs:
            busy = "✗" if job.error else Spinner("dots", style="green")
            table.add_row(busy, f"[bold]{escape_markup(job.name)}[/]", *status_fields(job))
        return table


def status_fields(job: CameraJob) -> list[str]:
    """A job's figures, each a few words."""
    if job.source is None:
        return ["connecting"] if job.error is None else ["lost"]
    figures = job.meter.snapshot()
    words = [
        f"{figures.fps_now:.1f} fps",
        f"p50 {1000 * figures.p50:.1f} ms",
        f"p95 {1000 * figures.p95:.1f} ms",
        f"{figures.frames:,} frames",
        f"{figures.found:,} found",
    ]
    if figures.age_p50 is not None:
        words.insert(3, f"age {age(figures)}")
    if job.source.dropped:
        words.append(f"{job.source.dropped:,} dropped")
    return words


def age(figures: StatsSnapshot) -> str:
    """``63 ms``, p50; empty where frames have no age."""
    return "" if figures.age_p50 is None else f"{1000 * figures.age_p50:.0f} ms"
