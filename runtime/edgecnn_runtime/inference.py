"""Frames → model → results: what the scheduler runs.

Here are no threads, files or sockets. ``source`` makes frames of cameras and files, ``scheduler``
decides whose newest frame is next and when, ``pipeline`` makes events of the results.
"""

import time
from collections.abc import Sequence

from edgecnn_runtime.model import Model
from edgecnn_runtime.preprocess import Roi
from edgecnn_runtime.types import Frame, FrameResult, Timings


class ModelInference:
    """Turns frames into results; used by one thread at a time."""

    def __init__(self, model: Model, *, roi: Roi | None = None) -> None:
        """Look at every frame, or at a part of it.

        Args:
            model: Stays the caller's.
            roi: x, y, width and height of the part, in pixels of the frame.
        """
        self.batch_size = model.batch_size
        self._model = model
        self._roi = roi

    def __call__(self, frames: Sequence[Frame], /) -> list[FrameResult]:
        """One result per frame, with its age and where the time went.

        Args:
            frames: At most ``batch_size``, of one or several cameras; sizes may differ.

        Raises:
            UsageError: The roi lies outside of a frame.
        """
        model, start = self._model, time.monotonic()
        geometries = [model.prepare(frame, i, self._roi) for i, frame in enumerate(frames)]
        prepared = time.monotonic()
        outputs = model.infer()
        inferred = time.monotonic()
        results = []
        for i, (frame, geometry) in enumerate(zip(frames, geometries, strict=True)):
            result, end = model.decode(outputs, i, geometry), time.monotonic()
            wait = start - frame.captured if frame.live else 0.0
            timings = Timings(wait, prepared - start, inferred - prepared, end - inferred)
            age = end - frame.captured if frame.live else None
            results.append(FrameResult(frame, model.spec.task, result, age, timings))
        return results

    def measure(self, runs: int = 5) -> float:
        """Seconds that one run of the engine takes here, whatever lies in its input buffer."""
        seconds = []
        for _ in range(runs):
            start = time.monotonic()
            self._model.infer()
            seconds.append(time.monotonic() - start)
        return min(seconds)
