"""Live progress: the step that runs and for how long, and a line for each that is done."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner


class Steps:
    """Shows steps as they run; where nobody watches (no terminal), a line when each ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, transient=True, refresh_per_second=8)
        self._start = time.perf_counter()

    def __enter__(self) -> "Steps":
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show ``name`` while the block runs, and how long it took when it ends."""
        start = time.perf_counter()
        self._live.update(_Running(name, start))
        try:
            yield
        except BaseException:
            self._live.update("")
            self._console.print(f"[red]✗[/] {name}", highlight=False)
            raise
        took = time.perf_counter() - start
        self._live.update("")
        self._console.print(f"[green]✓[/] {name:<24}[dim]{took:6.1f} s[/]", highlight=False)


class _Running:
    """A spinner whose words carry the time since the step began."""

    def __init__(self, name: str, start: float) -> None:
        self._name, self._start = name, start
        self._spinner = Spinner("dots")

    def __rich__(self) -> Spinner:
        took = time.perf_counter() - self._start
        self._spinner.update(text=f"{self._name:<24}{took:6.1f} s")
        return self._spinner
