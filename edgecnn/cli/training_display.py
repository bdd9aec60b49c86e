"""What a training that counts steps shows: a bar, and a line now and then."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

MEAN_OF = 50
"""Steps whose mean loss is shown."""


def training_bar(console: "Console") -> "Progress":
    """A progress bar with a column for a note; a context manager that draws it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    return Progress(
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        "{task.fields[note]}",
        console=console,
        transient=True,
    )


class StepDisplay:
    """Shows how far a training is.

    Attributes:
        bar: A context manager that draws the progress bar.
        console: Takes lines above it.
    """

    def __init__(self, console: "Console", *, every: int) -> None:
        """Nothing is done yet.

        Args:
            console: Where it is shown.
            every: Steps between two lines.
        """
        self.console, self.bar = console, training_bar(console)
        self._task = self.bar.add_task("training", total=None, note="")
        self._every = every
        self._mean, self._steps = 0.0, 0

    def step(self, done: int, total: int, loss: float) -> None:
        """A step is done, and its loss; ``done`` counts those of earlier runs, too."""
        self._steps += 1
        self._mean += (loss - self._mean) * max(1 / MEAN_OF, 1 / self._steps)
        note = f"loss {self._mean:.4f}"
        self.bar.update(self._task, completed=done, total=total, note=note)
        if done % self._every == 0:
            self.console.print(f"step {done:6d}  {note}", highlight=False)
