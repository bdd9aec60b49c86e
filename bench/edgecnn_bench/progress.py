"""How a benchmark shows how far it is."""

from typing import Protocol


class BenchProgress(Protocol):
    """Called while a benchmark goes on."""

    def __call__(self, phase: str, done: float, total: float, /) -> None:
        """Show that ``done`` of ``total`` is over, in units of the phase ("opening", …)."""


def no_progress(_phase: str, _done: float, _total: float) -> None:
    """Show nothing."""
