"""How fast and how fresh a stream is: counted as it goes, without keeping every frame."""

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.tasks import TASKS
from edgecnn_runtime.types import FrameResult

PERCENTILE_WINDOW = 4096
"""The latest frames that percentiles are taken over."""
RECENT = 2.0
"""Seconds that the current rate is taken over."""

DropReason: TypeAlias = Literal["replaced", "too old", "rate limit", "sink behind"]
"""Why a frame got no result: a newer one came while the engine was busy with others; it was older
than ``max_age`` when the engine was free; a newer one came while its camera had had its results
per second; a newer one came while the sinks of its camera were still busy."""


@dataclass(frozen=True, slots=True)
class StatsSnapshot:
    """The figures of a stream at one moment. Times in seconds.

    Attributes:
        frames: Frames with a result.
        results: Objects, classes, texts or vectors in them; see ``Task.count``.
        dropped: Frames without a result, by reason.
        fps: Results per second since the first one.
        fps_now: Results per second during the last ``RECENT`` seconds.
        latency: p50 and p95 from the start of inference to the result; zeros without frames.
        wait: p50 and p95 from capture to the start of inference; None where frames have no age.
        age: p50 and p95 from capture to the result; None where frames have no age.
    """

    frames: int
    results: int
    dropped: Mapping[DropReason, int]
    fps: float
    fps_now: float
    latency: tuple[float, float]
    wait: tuple[float, float] | None
    age: tuple[float, float] | None


class StreamStats:
    """Counts frames, results and drops, and keeps the latest times and ages. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # a row each: when the result was there, the time it took, its frame's wait, its age
        self._latest = np.zeros((4, PERCENTILE_WINDOW))
        self._frames = self._results = 0
        self._dropped: dict[DropReason, int] = {}
        self._began = time.monotonic()

    def add(self, result: FrameResult) -> None:
        """Count a result; the clock of the mean rate starts at the first one."""
        now, timings = time.monotonic(), result.timings
        ages = (math.nan, math.nan) if result.age is None else (timings.wait, result.age)
        with self._lock:
            if self._frames == 0:
                self._began = now - timings.total
            self._latest[:, self._frames % PERCENTILE_WINDOW] = (now, timings.total, *ages)
            self._frames += 1
            self._results += TASKS[result.task].count(result.result)

    def drop(self, reason: DropReason) -> None:
        """Count a frame that got no result."""
        with self._lock:
            self._dropped[reason] = self._dropped.get(reason, 0) + 1

    def snapshot(self) -> StatsSnapshot:
        """The figures now."""
        with self._lock:
            now = time.monotonic()
            since = max(1e-9, now - self._began)
            done, total, wait, age = self._latest[:, : self._frames]
            return StatsSnapshot(
                frames=self._frames,
                results=self._results,
                dropped=dict(self._dropped),
                fps=self._frames / since,
                fps_now=np.count_nonzero(done > now - RECENT) / min(RECENT, since),
                latency=_percentiles(total) or (0.0, 0.0),
                wait=_percentiles(wait),
                age=_percentiles(age),
            )


def _percentiles(seconds: NDArray[np.float64]) -> tuple[float, float] | None:
    """p50 and p95 of the numbers in it; None where there is none."""
    numbers = seconds[~np.isnan(seconds)]
    if not len(numbers):
        return None
    p50, p95 = np.percentile(numbers, (50, 95))
    return float(p50), float(p95)
