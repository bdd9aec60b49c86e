"""How fast and how fresh a stream is: counted as it goes, without keeping every frame."""

import math
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.tasks import TASKS
from edgecnn_runtime.types import FrameResult

PERCENTILE_WINDOW = 4096
"""The latest frames that percentiles are taken over."""
RECENT = 2.0
"""Seconds that the current rate is taken over."""
BUCKETS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.5,
)  # fmt: skip
"""Upper bounds of the buckets of every histogram, in seconds; one more has no bound."""

Stage: TypeAlias = Literal["wait", "prepare", "infer", "decode"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""The parts of a result's age; see ``types.Timings``."""

SPEED_WINDOW = 10.0
"""Seconds that are judged together, to tell whether a model is too slow for its camera."""
SPEED_SHARE = 0.8
"""The share of a camera's rate limit below which its results are too few."""
ENOUGH_SHARE = 0.9
"""The share from which on they are enough again."""
ENOUGH_WINDOWS = 3
"""Windows with enough results, one after another, after which a model is fast enough again. Near
the limit it would otherwise be too slow and fast enough by turns, each a warning and an event."""

DropReason: TypeAlias = Literal[
    "replaced", "too old", "rate limit", "sink behind", "no motion", "not decoded", "damaged"
]
"""Why a frame got no result: a newer one came while the engine was busy with others; it was older
than ``max_age`` when the engine was free; a newer one came while its camera had had its results
per second; a newer one came while the sinks of its camera were still busy; it showed what the last
one with a result had shown, shortly before; this machine had no time to decode it; it, or one that
it is built on, was damaged on the way."""
LATE: tuple[DropReason, ...] = ("replaced", "too old", "not decoded")
"""Those that a faster engine would have avoided."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often a time lay between two bounds, since the start.

    Attributes:
        counts: Times up to each of ``BUCKETS`` and above the one before; the last one has no bound.
        sum: Of all times, in seconds.
    """

    counts: Sequence[int]
    sum: float


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
        histograms: Of "age" and each of ``STAGES``; without "age" and "wait" where frames have no
            age.
    """

    frames: int
    results: int
    dropped: Mapping[DropReason, int]
    fps: float
    fps_now: float
    latency: tuple[float, float]
    wait: tuple[float, float] | None
    age: tuple[float, float] | None
    histograms: Mapping[str, Histogram] = field(default_factory=dict)


class StreamStats:
    """Counts frames, results and drops, and keeps the latest times and ages. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # a row each: when the result was there, the time it took, its frame's wait, its age
        self._latest = np.zeros((4, PERCENTILE_WINDOW))
        self._frames = self._results = 0
        self._dropped: dict[DropReason, int] = {}
        self._began = time.monotonic()
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

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
            self._record("prepare", timings.prepare)
            self._record("infer", timings.infer)
            self._record("decode", timings.decode)
            if result.age is not None:
                self._record("wait", timings.wait)
                self._record("age", result.age)

    def drop(self, reason: DropReason, count: int = 1) -> None:
        """Count frames that got no result."""
        with self._lock:
            self._dropped[reason] = self._dropped.get(reason, 0) + count

    def served_and_late(self) -> tuple[int, int]:
        """Frames with a result, and those for which the engine was not free in time."""
        with self._lock:
            return self._frames, sum(self._dropped.get(reason, 0) for reason in LATE)

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
                fps_now=int(np.count_nonzero(done > now - RECENT)) / min(RECENT, since),
                latency=_percentiles(total) or (0.0, 0.0),
                wait=_percentiles(wait),
                age=_percentiles(age),
                histograms={
                    name: Histogram(tuple(counts), self._sums[name])
                    for name, counts in self._counts.items()
                },
            )

    def _record(self, name: str, seconds: float) -> None:
        if name not in self._counts:
            self._counts[name], self._sums[name] = [0] * (len(BUCKETS) + 1), 0.0
        self._counts[name][bisect_left(BUCKETS, seconds)] += 1
        self._sums[name] += seconds


class SpeedCheck:
    """Whether a model is too slow for its camera: judged anew every SPEED_WINDOW seconds.

    It is too slow after one window with too few results. It is fast enough again after one in which
    it lost no frame, or after ENOUGH_WINDOWS with clearly enough results.
    """

    def __init__(
        self,
        stats: StreamStats,
        rate: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin.

        Args:
            stats: Of the camera.
            rate: The results per second that it is limited to; None for all.
            clock: Seconds.
        """
        self._stats, self._rate, self._clock = stats, rate, clock
        self._began = clock()
        self._served, self._late = stats.served_and_late()
        self._too_slow = False
        self._enough = 0

    def __call__(self) -> bool:
        """Whether it is too slow, as of the last whole window in which this was asked.

        A limited camera has too few results below SPEED_SHARE of its limit, and enough again from
        ENOUGH_SHARE on. Without a limit it has too few where it loses more frames to a busy engine
        than it has results, and enough where it loses half as many at most.
        """
        seconds = self._clock() - self._began
        if seconds >= SPEED_WINDOW:
            served, late = self._stats.served_and_late()
            if seconds <= 2 * SPEED_WINDOW:  # otherwise the camera was away for most of it
                self._judge(served - self._served, late - self._late, seconds)
            self._began, self._served, self._late = self._clock(), served, late
        return self._too_slow

    def _judge(self, results: int, lost: int, seconds: float) -> None:
        """Of one window."""
        few, enough = float(lost), 2.0 * lost
        if self._rate is not None:
            wanted = self._rate * seconds
            few, enough = SPEED_SHARE * wanted, ENOUGH_SHARE * wanted
        self._enough = self._enough + 1 if results >= enough else 0
        if lost == 0 or self._enough >= ENOUGH_WINDOWS:
            self._too_slow = False
        elif results < few:
            self._too_slow = True


def _percentiles(seconds: NDArray[np.float64]) -> tuple[float, float] | None:
    """p50 and p95 of the numbers in it; None where there is none."""
    numbers = seconds[~np.isnan(seconds)]
    if not len(numbers):
        return None
    p50, p95 = np.percentile(numbers, (50, 95))
    return float(p50), float(p95)
