"""Interleaved rounds: every row gets a slot in every round, beside a fixed reference workload.

Whatever happens to the machine happens to all rows alike, because within one round they ran
within seconds of each other, in an order that changes from round to round.
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
"""Runs a slot has however long they take."""
SLOT_WARMUP = 0.02
"""Seconds of unmeasured runs at the start of a slot: caches and clocks are the neighbor's."""
GAP = 0.005
"""Seconds of rest between rows: engines' worker threads spin for a while after their last run."""
BURST, ROUND_REFERENCE = 0.03, 0.15
"""Seconds of the reference workload: at least so long each time, at least so long a round."""


class Workload(Protocol):
    """Something to time."""

    key: str
    frames: int
    """How many frames one ``run`` handles."""

    @property
    def run(self) -> Callable[[], object]:
        """The work, once."""

    def begin(self) -> None:
        """Called before every slot; its first runs settle caches and clocks."""

    def stages(self) -> Mapping[str, Sequence[float]]:
        """Milliseconds by stage of every ``run`` since ``begin``; may be empty."""


@dataclass
class WorkloadSamples:
    """What one subject's slots gave: the round of each, and its runs in milliseconds."""

    rounds: list[int] = field(default_factory=list)
    times: list[Samples] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    joules: dict[str, float] = field(default_factory=dict)


@dataclass
class LatencySamples:
    """What the rounds gave, by subject key.

    work: of each round, the reference workload's bursts: nanoseconds of each run in it.
    partial: interrupted before the last round ended.
    """

    tracks: dict[str, WorkloadSamples]
    work: list[list[NDArray[np.int64]]]
    moments: list[MachineSample]
    conditions: list[Condition]
    partial: bool = False


def measure(
    subjects: Sequence[Workload],
    settings: BenchSettings,
    meters: Sequence[EnergyMeter] = (),
    progress: Callable[[int], None] = lambda _round: None,
) -> LatencySamples:
    """Warm every subject up, then run the rounds; Ctrl-C ends it with what there is.

    progress: told the number of rounds done.
    """
    found = LatencySamples(
        {subject.key: WorkloadSamples() for subject in subjects}, [], [], [condition()]
    )
    rng = np.random.default_rng(settings.seed)
    try:
        for subject in subjects:
            time_calls(subject.run, settings.warmup_seconds)
        rig = _Rig(ReferenceWorkload(), meters, settings.seconds / settings.rounds)
        for number in range(settings.rounds):
            order = [subjects[i] for i in rng.permutation(len(subjects))]
            _round(number, order, found, rig)
            progress(number + 1)
    except KeyboardInterrupt:
        found.partial = True
    return found


def time_calls(
    run: Callable[[], object], seconds: float, *, at_least: int = MIN_RUNS_PER_SLOT
) -> "array[int]":
    """Call ``run`` again and again for that long, and that often; nanoseconds of each call.

    Between two calls there is one subtraction, one append and one comparison. The garbage
    collector is off meanwhile, as in ``timeit``.
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


def _round(number: int, order: Sequence[Workload], found: LatencySamples, rig: _Rig) -> None:
    """One slot for each subject, the reference workload before, between and after."""
    share = max(BURST, ROUND_REFERENCE / (len(order) + 1))
    work = [rig.reference.burst(share)]
    found.work.append(work)
    try:
        for subject in order:
            track = found.tracks[subject.key]
            times = _slot(subject, track, rig)
            track.rounds.append(number)
            track.times.append(times / 1e6)
            work.append(rig.reference.burst(share))  # before the rest: a rested task is favored
            time.sleep(GAP)
    finally:
        found.conditions.append(condition())
        found.moments.append(
            _moment(found.conditions, float(np.median(np.concatenate(work))) / 1e6)
        )


def _slot(subject: Workload, track: WorkloadSamples, rig: _Rig) -> NDArray[np.int64]:
    """Nanoseconds of each run of one slot; what else it cost goes into the track."""
    time_calls(subject.run, SLOT_WARMUP, at_least=1)
    subject.begin()
    joules = [meter.joules() for meter in rig.meters]
    cpu, wall = time.process_time(), time.perf_counter()
    times = time_calls(subject.run, rig.slot_seconds)
    track.cpu_seconds += time.process_time() - cpu
    track.wall_seconds += time.perf_counter() - wall
    for meter, before in zip(rig.meters, joules, strict=True):
        used = meter.joules() - before
        track.joules[meter.name] = track.joules.get(meter.name, 0.0) + used
    for name, values in subject.stages().items():
        track.stages.setdefault(name, []).extend(values)
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
