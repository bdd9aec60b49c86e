"""How a long export tells someone where it is."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol


class Progress(Protocol):
    """Told when a step begins; the context it gives back ends with the step."""

    def step(self, name: str) -> AbstractContextManager[None]:
        """Begin a step, named as a person would: ``trace``, ``verify on openvino``."""

    def update(self, done: int, total: int) -> None:
        """How far the step that runs has come; total: of pictures, tries …, at most."""


class NullProgress:
    """Tells nobody."""

    def step(self, name: str) -> AbstractContextManager[None]:  # noqa: ARG002
        """Nothing."""
        return nullcontext()

    def update(self, done: int, total: int) -> None:
        """Nothing."""


class Timed:
    """Passes steps on and keeps how long each took; ``seconds`` by name, in order."""

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
        """Passed on."""
        self._progress.update(done, total)
