"""Live progress: the step that is running and for how long, and a line for each finished step."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

WIDTH, BAR = 40, 8
"""Characters."""
SURE_AFTER = 2.0
"""Seconds before which the time that is left is not estimated."""


class ProgressPrinter:
    """Shows steps while they run; without a terminal, prints a line when each ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, transient=True, refresh_per_second=8)
        self._running: _Running | None = None

    def __enter__(self) -> "ProgressPrinter":
        self._live.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._live.stop()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show ``name`` while the block runs, and how long it took when it ends."""
        start = time.perf_counter()
        self._running = _Running(name, start)
        self._live.update(self._running)
        try:
            yield
        except BaseException:
            self._live.update("")
            self._console.print(Text.assemble(("✗", "red"), f" {name}"))
            raise
        took = time.perf_counter() - start
        self._live.update("")
        duration = (f"{took:6.1f} s", "dim")
        self._console.print(Text.assemble(("✓", "green"), f" {name:<{WIDTH}}", duration))

    def update(self, done: int, total: int) -> None:
        """Draw a bar for the step that is running."""
        if self._running:
            self._running.update(done, total)


class _Running:
    """A spinner with the step's name and time, and a bar once its progress is known."""

    def __init__(self, name: str, start: float) -> None:
        self._name, self._start = name, start
        self._spinner = Spinner("dots")
        self.done = self.total = 0
        self._counted_from = start

    def update(self, done: int, total: int) -> None:
        """Note how far the step is; a lower count than before begins another count."""
        if done < self.done:
            self._counted_from = time.perf_counter()
        self.done, self.total = done, total

    def __rich__(self) -> "Spinner | Table":
        now = time.perf_counter()
        took = f"{now - self._start:6.1f} s"
        if not self.total:
            self._spinner.update(text=Text(f"{self._name:<{WIDTH}}{took}"))
            return self._spinner
        self._spinner.update(text=Text(f"{self._name} {took}"))
        row = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=self.total, completed=self.done, width=BAR)
        left = time_left(self.done, self.total, now - self._counted_from)
        row.add_row(self._spinner, bar, f"{self.done} of {self.total}{left}")
        return row


def time_left(done: int, total: int, seconds: float) -> str:
    """An estimate of what a step still takes, if it goes on as it began: ", about 1:05 left"."""
    if not done or seconds < SURE_AFTER or done >= total:
        return ""
    minutes, rest = divmod(round(seconds / done * (total - done)), 60)
    return f", about {minutes}:{rest:02} left"
