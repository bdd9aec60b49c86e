"""Interleaved rounds: every row gets a slot in every round, beside a fixed reference workload.

Whatever happens to the machine happens to all rows alike, because in one round they run within
seconds of each other, in an order that changes from round to round.
"""

import gc
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgecnn_bench.power import EnergyMeter
from edgecnn_bench.reference_workload import ReferenceWorkload
from edgecnn_bench.schema import BenchSettings, MachineSample
from edgecnn_bench.stats import Samples
from edgecnn_bench.thermal import Condition, condition, external_load, steal_time

MIN_RUNS_PER_SLOT = 3
"""A slot has at least this many runs, however long they take."""
SLOT_WARMUP = 0.02
"""Seconds of unmeasured runs at the start of a slot: caches and clocks are as the row before it
left them."""
GAP = 0.005
"""Seconds of rest between rows, because an engine's worker threads spin after their last run."""
BURST, ROUND_REFERENCE = 0.03, 0.15
"""Seconds of the reference workload at least: each time, and per round."""


class Workload(Protocol):
    """Something to time.

    Attributes:
        key: Name, unique among what is measured together.
        frames: How many frames one ``run`` handles.
    """

    key: str
    frames: int

    @property
    def run(self) -> Callable[[], object]:
        """The work, once."""

    def begin(self) -> None:
        """Prepare for a slot; called before each."""

    def stages(self) -> Mapping[str, Sequence[float]]:
        """Milliseconds by stage of every ``run`` since ``begin``; may be empty."""


@dataclass
class WorkloadSamples:
    """What one workload's slots gave.

    Attributes:
        rounds: The round of each slot.
        times: Milliseconds of each run, slot by slot.
        stages: Milliseconds of each run by stage, all slots together.
        cpu_seconds: CPU time of this process in the slots.
        wall_seconds: Duration of the slots.
        joules: Energy by meter.
    """

    rounds: list[int] = field(default_factory=list)
    times: list[Samples] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    joules: dict[str, float] = field(default_factory=dict)


@dataclass
class LatencySamples:
    """What the rounds gave.

    Attributes:
        workloads: Samples by the workload's key.
        work: The reference workload's bursts of each round: nanoseconds of each run.
        moments: The machine in each round.
        conditions: The machine before the first round and after each.
        partial: Whether it was interrupted before the last round ended.
    """

    workloads: dict[str, WorkloadSamples]
    work: list[list[NDArray[np.int64]]]
    moments: list[MachineSample]
    conditions: list[Condition]
    partial: bool = False


def measure(
    workloads: Sequence[Workload],
    settings: BenchSettings,
    meters: Sequence[EnergyMeter] = (),
    progress: Callable[[int], None] = lambda _round: None,
) -> LatencySamples:
    """Warm every workload up, then run the rounds; Ctrl-C ends it early.

    Args:
        workloads: What to time, with different keys.
        settings: Seconds, rounds, warm-up and seed.
        meters: Energy meters to read.
        progress: Called with the number of rounds done.

    Returns:
        The samples of all rounds that ended.
    """
    samples = LatencySamples(
        {workload.key: WorkloadSamples() for workload in workloads}, [], [], [condition()]
    )
    rng = np.random.default_rng(settings.seed)
    try:
        for workload in workloads:
            time_calls(workload.run, settings.warmup_seconds)
        rig = _Rig(ReferenceWorkload(), meters, settings.seconds / settings.rounds)
        for number in range(settings.rounds):
            order = [workloads[i] for i in rng.permutation(len(workloads))]
            _round(number, order, samples, rig)
            progress(number + 1)
    except KeyboardInterrupt:
        samples.partial = True
    return samples


def time_calls(
    run: Callable[[], object], seconds: float, *, at_least: int = MIN_RUNS_PER_SLOT
) -> "array[int]":
    """Call a function again and again.

    Between two calls there is one subtraction, one append and one comparison. The garbage
    collector is off meanwhile, as in ``timeit``.

    Args:
        run: The function.
        seconds: How long, at least.
        at_least: How often, at least.

    Returns:
        Nanoseconds of each call.
    """
    clock = time.perf_counter_ns
    times = array("q")
    append = times.append
    collecting = gc.isenabled()
    gc.disable()
    try:
        stop = clock()
        end = stop + int(seconds * 1e9)
        while stop < end or len(times) < at_least:
            start = clock()
            run()
            stop = clock()
            append(stop - start)
    finally:
        if collecting:
            gc.enable()
    return times


@dataclass(frozen=True)
class _Rig:
    reference: ReferenceWorkload
    meters: Sequence[EnergyMeter]
    slot_seconds: float


def _round(number: int, order: Sequence[Workload], samples: LatencySamples, rig: _Rig) -> None:
    """One slot for each workload, with the reference workload before, between and after."""
    share = max(BURST, ROUND_REFERENCE / (len(order) + 1))
    work = [rig.reference.burst(share)]
    samples.work.append(work)
    try:
        for workload in order:
            own = samples.workloads[workload.key]
            times = _slot(workload, own, rig)
            own.rounds.append(number)
            own.times.append(times / 1e6)
            work.append(rig.reference.burst(share))  # before the rest: a rested task is favored
            time.sleep(GAP)
    finally:
        samples.conditions.append(condition())
        samples.moments.append(
            _moment(samples.conditions, float(np.median(np.concatenate(work))) / 1e6)
        )


def _slot(workload: Workload, own: WorkloadSamples, rig: _Rig) -> NDArray[np.int64]:
    """Nanoseconds of each run of one slot; CPU time, energy and stages are added to ``own``."""
    time_calls(workload.run, SLOT_WARMUP, at_least=1)
    workload.begin()
    joules = [meter.joules() for meter in rig.meters]
    cpu, wall = time.process_time(), time.perf_counter()
    times = time_calls(workload.run, rig.slot_seconds)
    own.cpu_seconds += time.process_time() - cpu
    own.wall_seconds += time.perf_counter() - wall
    for meter, before in zip(rig.meters, joules, strict=True):
        used = meter.joules() - before
        own.joules[meter.name] = own.joules.get(meter.name, 0.0) + used
    for name, values in workload.stages().items():
        own.stages.setdefault(name, []).extend(values)
    return np.frombuffer(times, dtype=np.int64)


def _moment(conditions: Sequence[Condition], reference_ms: float) -> MachineSample:
    before, after = conditions[-2:]
    return MachineSample(
        at_seconds=round(after.at - conditions[0].at, 2),
        reference_ms=reference_ms,
        mhz=after.mhz,
        celsius=after.celsius,
        others_cores=round(external_load(before, after), 3),
        stolen_cores=round(steal_time(before, after), 3),
    )
