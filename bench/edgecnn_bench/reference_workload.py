"""A fixed piece of work, run beside every measurement, that nothing under test can change.

It is the yardstick for a machine that drifts: a lower clock, or another program that takes the
memory bus, slows the reference as it slows the rows beside it, and their ratio stays. One thread,
no BLAS and no engine: multiply-adds in cache, then a walk through memory beyond the cache.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

NAME = "mix-1"
"""Name in every report; results of different reference workloads are never compared."""
TYPICAL_MS = 10.0
"""The stretch over which the workload is averaged where there is no row's latency to use."""


def reference_workload() -> Callable[[], None]:
    """The work as a function that allocates nothing; about two milliseconds on a core of the 2020s.

    ``mix-1``: a float32 product, 128x768 by its like transposed, through ``np.einsum``'s own C
    loop (without ``optimize`` it never reaches BLAS, whose thread count is not ours to know),
    and one ``np.add`` from 8 MiB to 8 MiB. Inputs are fixed; so is the result.
    """
    rng = np.random.default_rng(20)
    left = rng.random((128, 768), dtype=np.float32)
    right = rng.random((128, 768), dtype=np.float32)
    product = np.empty((128, 128), dtype=np.float32)
    stream = rng.random(1 << 21, dtype=np.float32)
    total = np.empty_like(stream)

    def work() -> None:
        np.einsum("ik,jk->ij", left, right, out=product)
        np.add(stream, stream, out=total)

    return work


class ReferenceWorkload:
    """The reference workload, warmed up."""

    def __init__(self) -> None:
        self.work = reference_workload()
        self.burst(0.05)

    def burst(self, seconds: float) -> NDArray[np.int64]:
        """Run it for about so many seconds, at least three times.

        Returns:
            int64[n] nanoseconds of each run.
        """
        times: list[int] = []
        clock = time.perf_counter_ns
        end = clock() + int(seconds * 1e9)
        while len(times) < 3 or clock() < end:
            start = clock()
            self.work()
            times.append(clock() - start)
        return np.array(times, dtype=np.int64)


def at_scale(bursts: Sequence[NDArray[np.int64]], milliseconds: float) -> float:
    """How long the workload takes, averaged over stretches as long as a row's run.

    A process that is sometimes suspended for a few milliseconds hardly changes the median of short
    runs, and changes all of the long ones. So the yardstick is averaged over as many consecutive
    runs as fill the row's own latency, at most a burst, and the median of those averages is used.

    Args:
        bursts: int64[n] nanoseconds of each run, burst by burst.
        milliseconds: The row's latency.

    Returns:
        Milliseconds per run of the workload.
    """
    averages = []
    for burst in bursts:
        each = float(np.median(burst)) / 1e6
        size = min(len(burst), max(1, round(milliseconds / each)))
        whole = burst[: len(burst) // size * size].reshape(-1, size)
        averages.append(whole.mean(axis=1))
    return float(np.median(np.concatenate(averages))) / 1e6
