"""The live line of ``edgecnn run``, on stderr: drawn in place, or printed now and then to a log."""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from edgecnn.cli.terminal_text import escape_markup

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from edgecnn_runtime.camera import CameraJob
    from edgecnn_runtime.stats import StatsSnapshot

LOG_EVERY = 5.0
"""Seconds between two lines, where stderr is no terminal."""


class StatusLine:
    """Shows how the jobs are doing, each time ``show`` is called."""

    def __init__(self, console: "Console", jobs: "Sequence[CameraJob]", *, quiet: bool) -> None:
        from rich.live import Live as Drawn

        self._console = console
        self._jobs = jobs
        self._drawn: Drawn | None = None
        if console.is_terminal and not quiet:
            # Without redirect_stdout, or what is printed there would go to stderr as well.
            self._drawn = Drawn(
                self._table(), console=console, auto_refresh=False, transient=True,
                redirect_stdout=False,
            )  # fmt: skip
        self._quiet = quiet
        self._printed = time.monotonic()

    def __enter__(self) -> "StatusLine":
        if self._drawn is not None:
            self._drawn.start()
        return self

    def __exit__(self, *problem: object) -> None:
        if self._drawn is not None:
            with suppress(OSError):
                self._drawn.stop()

    def show(self) -> None:
        """Draw the lines anew; print them, where they cannot be drawn, every LOG_EVERY seconds.

        A terminal that was closed, or a full disk, ends the lines and not the run.
        """
        try:
            self._show()
        except OSError:
            self._drawn, self._quiet = None, True

    def _show(self) -> None:
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


def status_fields(job: "CameraJob") -> list[str]:
    """A job's figures, a few words each."""
    stats = job.stats.snapshot()
    counts = [f"{stats.frames:,} frames", f"{stats.results:,} found"] if stats.frames else []
    if job.error is not None:
        return ["lost", *counts]
    if job.source is None:
        return ["waiting" if job.may_wait else "connecting"]
    problem = trouble(job) or ("connecting" if job.source.connection.state == "connecting" else "")
    if problem:
        return [problem, *counts]
    fields = [
        f"{stats.fps_now:.1f} fps",
        f"p50 {1000 * stats.latency[0]:.1f} ms",
        f"p95 {1000 * stats.latency[1]:.1f} ms",
        f"{stats.frames:,} frames",
        f"{stats.results:,} found",
    ]
    if stats.wait is not None and stats.age is not None:
        fields[3:3] = [f"wait {1000 * stats.wait[0]:.0f} ms", f"age {1000 * stats.age[0]:.0f} ms"]
    return [*fields, f"dropped {drops(stats)}"] if stats.dropped else fields


def trouble(job: "CameraJob") -> str:
    """What is said of a camera without pictures, instead of figures of the past; or empty."""
    if job.source is None or job.error is not None or job.source.connection.state == "live":
        return ""
    connection = job.source.connection
    if connection.state == "stalled":
        return f"stalled: {connection.reason}"
    if not connection.failures:
        return ""
    what = "not there yet"
    if connection.picture is not None:
        what = f"lost {time.monotonic() - connection.picture:.0f} s ago"
    return f"{what}, trying again: {connection.reason}"


def reconnects(job: "CameraJob") -> int:
    """How often a camera that was lost became live again."""
    return 0 if job.source is None else job.source.connection.reconnects


def drops(stats: "StatsSnapshot") -> str:
    """``110 replaced, 3 too old``: frames without a result, by reason; empty without any."""
    return ", ".join(f"{count:,} {reason}" for reason, count in stats.dropped.items())
