"""One row run for minutes without a pause: how its latency changes as the chip gets warm."""

from collections.abc import Callable, Sequence

import numpy as np

from edgecnn_bench.latency import Workload, time_calls
from edgecnn_bench.power import EnergyMeter, total
from edgecnn_bench.reference_workload import TYPICAL_MS, ReferenceWorkload, at_scale
from edgecnn_bench.schema import Sustained, Window
from edgecnn_bench.stats import Interval, unpaired_ratio
from edgecnn_bench.thermal import condition, throttling

WINDOWS = 120
SHORTEST, LONGEST = 0.25, 5.0
"""Seconds of a window at least and at most; a run has WINDOWS of them if they are in between."""
MINUTE = 60.0
SETTLED = 0.05
BURST = 0.015


def sustained(
    workload: Workload,
    minutes: float,
    meters: Sequence[EnergyMeter] = (),
    progress: Callable[[float], None] = lambda _seconds: None,
) -> Sustained | None:
    """Run a workload without a pause; Ctrl-C ends it early.

    Args:
        workload: What to run.
        minutes: How long.
        meters: Energy meters to read.
        progress: Called with the seconds done.

    Returns:
        The run; None if it was interrupted before the first window ended.
    """
    length = min(LONGEST, max(SHORTEST, 60 * minutes / WINDOWS))
    reference = ReferenceWorkload()
    windows: list[Window] = []
    history = [condition()]
    start = history[0].at
    try:
        while not windows or windows[-1].at_seconds < 60 * minutes:
            joules = {meter.name: meter.joules() for meter in meters}
            work = reference.burst(BURST)
            times = np.frombuffer(time_calls(workload.run, length), dtype=np.int64) / 1e6
            workload.begin()
            now = condition()
            used = {meter.name: meter.joules() - joules[meter.name] for meter in meters}
            best = total(used, list(meters)) if used else None
            windows.append(
                Window(
                    at_seconds=round(now.at - start, 2),
                    n=len(times),
                    p50_ms=float(np.median(times)),
                    p95_ms=float(np.percentile(times, 95)),
                    reference_ms=at_scale([work], TYPICAL_MS),
                    mhz=now.mhz,
                    celsius=now.celsius,
                    watts=best[0] / (now.at - history[-1].at) if best else None,
                )
            )
            history.append(now)
            progress(windows[-1].at_seconds)
    except KeyboardInterrupt:
        if not windows:
            return None
    return Sustained(
        key=workload.key,
        minutes=round(windows[-1].at_seconds / 60, 2),
        last_over_first=last_over_first(windows),
        steady_seconds=steady_from(windows),
        throttled=throttling(history),
        windows=tuple(windows),
    )


def last_over_first(windows: Sequence[Window]) -> Interval:
    """p50 of the last minute over the first's; of the outer tenths in runs under ten minutes.

    Not in units of the reference workload, because the same heat slows that too.
    """
    end = windows[-1].at_seconds
    share = min(MINUTE, end / 10)
    first = [w.p50_ms for w in windows if w.at_seconds <= share] or [windows[0].p50_ms]
    last = [w.p50_ms for w in windows if w.at_seconds >= end - share]
    return unpaired_ratio(last, first)


def steady_from(windows: Sequence[Window]) -> float | None:
    """Seconds until p50, smoothed over three windows, stays within 5 % of the last tenth's.

    None where that holds for less than the last quarter: it did not settle.
    """
    p50 = np.array([window.p50_ms for window in windows])
    padded = np.concatenate([p50[:1], p50, p50[-1:]])
    smooth = np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
    tail = max(1, len(p50) // 10)
    final = float(np.median(p50[-tail:]))
    outside = np.flatnonzero(np.abs(smooth / final - 1) > SETTLED)
    index = int(outside[-1]) + 1 if len(outside) else 0
    if index > 0.75 * len(windows):
        return None
    return windows[index - 1].at_seconds if index else 0.0
