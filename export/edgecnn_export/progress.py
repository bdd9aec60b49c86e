"""How a long export shows how far it is."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol


class Progress(Protocol):
    """Receives the steps of an export."""

    def step(self, name: str) -> AbstractContextManager[None]:
        """Begin a step.

        Args:
            name: In words: ``trace``, ``verify on openvino``.

        Returns:
            A context that ends with the step.
        """

    def update(self, done: int, total: int) -> None:
        """Report how far the current step is.

        Args:
            done: Images, tries and so on that are done.
            total: How many there are at most.
        """


class NullProgress:
    """Shows nothing."""

    def step(self, name: str) -> AbstractContextManager[None]:  # noqa: ARG002
        """Nothing."""
        return nullcontext()

    def update(self, done: int, total: int) -> None:
        """Nothing."""


class Timed:
    """Passes steps on, and measures how long each takes.

    Attributes:
        seconds: By step, in order.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Begin a step and time it."""
        start = time.perf_counter()
        with self._progress.step(name):
            yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def update(self, done: int, total: int) -> None:
        """Pass it on."""
        self._progress.update(done, total)
