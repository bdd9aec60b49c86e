"""Workers in turns: blocks of the same pictures, paired round by round."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgecnn_bench.stats import Interval, paired_ratio
from runner.process import Worker

SETTLE = 0.1
"""Seconds before a block, in which the neighbor's threads go to sleep."""
AHEAD = 2
"""Results before a block that do not count: the caches hold the neighbor's data."""


@dataclass(frozen=True)
class Pace:
    """How long a race is.

    Attributes:
        rounds: Blocks of each worker.
        count: Results per block at least.
        least: Milliseconds that a block of the quickest worker takes at least.
    """

    rounds: int
    count: int
    least: float = 0.0


def race(workers: Mapping[str, Worker], pace: Pace) -> dict[str, list[float]]:
    """Results per second by worker, one value per round; the first worker changes by round."""
    rates: dict[str, list[float]] = {name: [] for name in workers}
    names = list(workers)
    quickest = min(min(worker.run(AHEAD)) for worker in workers.values())
    count = max(pace.count, math.ceil(pace.least / quickest))
    for number in range(pace.rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            time.sleep(SETTLE)
            workers[name].run(AHEAD)
            times = workers[name].run(count)
            rates[name].append(1e3 * len(times) / float(np.sum(times)))
    return rates


def faster(ours: list[float], theirs: list[float]) -> Interval:
    """How many times as fast ours is, with the 99 % interval over the rounds."""
    return paired_ratio(ours, theirs)
