"""How fast and how fresh: counted as it goes, without keeping every frame."""

import threading
import time
from dataclasses import dataclass

import numpy as np

from edgecnn_runtime.types import FrameResult

PERCENTILE_WINDOW = 4096
"""The latest frames that percentiles are taken over."""
RECENT = 2.0
"""Seconds that the current rate is taken over."""


@dataclass(frozen=True, slots=True)
class StatsSnapshot:
    """What a meter shows. Times in seconds; ages None where frames have none."""

    frames: int
    found: int
    fps: float
    fps_now: float
    p50: float
    p95: float
    age_p50: float | None
    age_p95: float | None


class StreamStats:
    """Counts frames and results, and keeps the latest times and ages. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times = np.zeros(PERCENTILE_WINDOW, np.float32)
        self._ages = np.zeros(PERCENTILE_WINDOW, np.float32)
        self._stamps = np.zeros(PERCENTILE_WINDOW, np.float64)
        self._frames = self._found = self._aged = 0
        self._began = time.monotonic()

    def add(self, seen: FrameResult) -> None:
        """Count a frame; the clock of the mean rate starts at the first one."""
        now = time.monotonic()
        with self._lock:
            at = self._frames % PERCENTILE_WINDOW
            if self._frames == 0:
                self._began = now - seen.timings.total
            self._times[at], self._stamps[at] = seen.timings.total, now
            if seen.age is not None:
                self._ages[self._aged % PERCENTILE_WINDOW] = seen.age
                self._aged += 1
            self._frames += 1
            self._found += count_results(seen)

    def snapshot(self) -> StatsSnapshot:
        """The figures now."""
        with self._lock:
            kept, now = min(self._frames, PERCENTILE_WINDOW), time.monotonic()
            p50, p95 = _percentiles(self._times[:kept])
            ages = (
                _percentiles(self._ages[: min(self._aged, PERCENTILE_WINDOW)])
                if self._aged
                else None
            )
            recent = int(np.count_nonzero(self._stamps[:kept] > now - RECENT))
            since = max(1e-9, now - self._began)
            return StatsSnapshot(
                frames=self._frames,
                found=self._found,
                fps=self._frames / since,
                fps_now=recent / min(RECENT, since),
                p50=p50,
                p95=p95,
                age_p50=ages[0] if ages else None,
                age_p95=ages[1] if ages else None,
            )


def count_results(seen: FrameResult) -> int:
    """How many things a frame showed: its detections, or whether it could be read at all."""
    if isinstance(seen.result, list):
        return len(seen.result)
    return 0 if getattr(seen.result, "text", None) == "" else 1


def _percentiles(values: "np.ndarray[tuple[int], np.dtype[np.float32]]") -> tuple[float, float]:
    if not len(values):
        return 0.0, 0.0
    p50, p95 = np.percentile(values, (50, 95))
    return float(p50), float(p95)
