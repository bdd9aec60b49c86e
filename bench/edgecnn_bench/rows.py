"""From what the rounds gave to the rows of a report: figures, standings, remarks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from edgecnn_bench.latency import LatencySamples, WorkloadSamples
from edgecnn_bench.power import EnergyMeter, total
from edgecnn_bench.reference_workload import NAME, at_scale
from edgecnn_bench.schema import (
    STAGES,
    Accuracy,
    BenchRow,
    Cold,
    Energy,
    Machine,
    Memory,
    RoundSample,
    Scope,
    VersusFastest,
)  # fmt: skip
from edgecnn_bench.stats import (
    Interval,
    equivalence_verdict,
    median_interval,
    paired_ratio,
    relative_p10_p90,
    summarize,
)
from edgecnn_bench.thermal import throttling

NOISY = 0.10
"""A reference workload that spreads further than this deserves a remark."""
BUSY = 0.25
"""So do other programs that keep more than this many cores busy."""
NAMED = 3
"""Rows that a remark names; of more it says how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSpec:
    """One row before it is measured. artifact: "fp32", "int8-cpu": the file without its frame."""

    model: str
    scope: Scope
    artifact: str
    backend: str
    precision: str
    threads: int
    batch: int
    version: str = ""
    verified: bool = True
    self_test: str = ""
    accuracy: Accuracy | None = None

    @property
    def label(self) -> str:
        """What a person calls it, without model and scope."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        batch = f", batch {self.batch}" if self.batch != 1 else ""
        return f"{self.artifact} on {self.backend}/{self.precision}, {threads}{batch}"

    @property
    def key(self) -> str:
        """The label with model and scope: unique in a report."""
        return f"{self.model} {self.scope}: {self.label}"


def build_rows(
    jobs: Sequence[RowSpec],
    measured: LatencySamples,
    meters: Sequence[EnergyMeter],
    starts: dict[str, tuple[Cold, Memory]],
) -> tuple[BenchRow, ...]:
    """Rows of every job that got a slot, the fastest of each model and scope first.

    starts: cold start and memory by ``Job.key``, of the jobs that have them.
    """
    rows = []
    for job in jobs:
        track = measured.tracks.get(job.key)
        if track is not None and track.times:
            row = _row(job, track, measured, meters)
            cold, memory = starts.get(job.key, (None, None))
            rows.append(replace(row, cold=cold, memory=memory))
    return _ranked(rows)


def build_machine(measured: LatencySamples) -> Machine:
    """How the machine behaved in the rounds."""
    reference = [moment.reference_ms for moment in measured.moments] or [0.0]
    return Machine(
        reference=NAME,
        reference_ms=float(np.median(reference)),
        spread=relative_p10_p90(reference) if any(reference) else 0.0,
        throttled=throttling(measured.conditions),
        moments=tuple(measured.moments),
    )


def build_warnings(rows: Sequence[BenchRow], machine: Machine, *, partial: bool) -> tuple[str, ...]:
    """What a reader of the figures must know, most serious first."""
    remarks = _failed(rows)
    if partial:
        remarks.append(f"Interrupted after {len(machine.moments)} rounds: these are the ones done.")
    remarks += [f"The chip was held back: {reason}." for reason in machine.throttled]
    if machine.spread > NOISY:
        remarks.append(
            f"The machine was uneven: the reference workload spread by {machine.spread:.0%}. "
            "Times moved with it; ratios and verdicts allow for it."
        )
    busy = float(np.mean([m.others_cores for m in machine.moments] or [0.0]))
    if busy > BUSY:
        remarks.append(f"Other programs kept {busy:.1f} cores busy meanwhile.")
    stolen = float(np.mean([m.stolen_cores for m in machine.moments] or [0.0]))
    if stolen > BUSY / 5:
        remarks.append(f"The hypervisor withheld {stolen:.2f} cores meanwhile.")
    return (*remarks, *_undecided(rows))


def _row(
    job: RowSpec,
    track: WorkloadSamples,
    measured: LatencySamples,
    meters: Sequence[EnergyMeter],
) -> BenchRow:
    latency = summarize(track.times)
    slots = []
    for number, times in zip(track.rounds, track.times, strict=False):
        p50, p95 = np.percentile(times, (50, 95))
        ratio = float(p50) / at_scale(measured.work[number], float(p50))
        slots.append(
            RoundSample(
                round=number, n=len(times), p50_ms=float(p50), p95_ms=float(p95), ratio=ratio
            )
        )
    stages = {name: track.stages[name] for name in STAGES if track.stages.get(name)}
    return BenchRow(
        key=job.key,
        model=job.model,
        scope=job.scope,
        artifact=job.artifact,
        backend=job.backend,
        precision=job.precision,
        threads=job.threads,
        batch=job.batch,
        version=job.version,
        verified=job.verified,
        self_test=job.self_test,
        accuracy=job.accuracy,
        latency=latency,
        fps=1000 * job.batch / latency.mean,
        relative=median_interval([slot.ratio for slot in slots]),
        cpu_cores=round(track.cpu_seconds / max(track.wall_seconds, 1e-9), 3),
        stages_ms={name: float(np.median(times)) for name, times in stages.items()},
        slots=tuple(slots),
        energy=_energy(track, meters, latency.n * job.batch),
    )


def _energy(track: WorkloadSamples, meters: Sequence[EnergyMeter], frames: int) -> Energy | None:
    best = total(track.joules, list(meters)) if track.joules else None
    if best is None:
        return None
    joules, covers = best
    watts = joules / max(track.wall_seconds, 1e-9)
    return Energy(watts=watts, joules_per_frame=joules / frames, covers=covers)


def _ranked(rows: Sequence[BenchRow]) -> tuple[BenchRow, ...]:
    """Group by model and scope, fastest first, each row judged against the fastest verified one."""
    ranked = []
    for group in dict.fromkeys((row.model, row.scope) for row in rows):
        members = sorted(
            (row for row in rows if (row.model, row.scope) == group), key=_milliseconds_a_frame
        )
        best = next((row for row in members if row.verified), members[0])
        for row in members:
            standing = _standing(row, best)
            ranked.append(replace(row, standing=standing))
    return tuple(ranked)


def _milliseconds_a_frame(row: BenchRow) -> float:
    return row.latency.p50.value / row.batch


def _standing(row: BenchRow, best: BenchRow) -> VersusFastest | None:
    if row is best:
        one = Interval(value=1.0, low=1.0, high=1.0)
        return VersusFastest(against=best.key, verdict="fastest", ratio=one)
    mine = {slot.round: slot.p50_ms / row.batch for slot in row.slots}
    theirs = {slot.round: slot.p50_ms / best.batch for slot in best.slots}
    shared = sorted(mine.keys() & theirs.keys())
    if not shared:
        return None
    ratio = paired_ratio([mine[r] for r in shared], [theirs[r] for r in shared])
    return VersusFastest(
        against=best.key, verdict=equivalence_verdict(ratio, len(shared)), ratio=ratio
    )


def _failed(rows: Sequence[BenchRow]) -> list[str]:
    """One remark an artifact; what each row's self-test said in full is in the row."""
    engines: dict[str, list[str]] = {}
    for row in rows:
        if not row.verified:
            name = f"{row.model} {row.artifact}"
            engines.setdefault(name, []).append(f"{row.backend}/{row.precision}")
    return [
        f"{name} FAILED its self-test on {', '.join(dict.fromkeys(found))}: it does not give the "
        "golden outputs here, so how fast it does that means nothing."
        for name, found in engines.items()
    ]


def _undecided(rows: Sequence[BenchRow]) -> list[str]:
    """One remark a group of rows that the fastest cannot be told from."""
    groups: dict[str, list[BenchRow]] = {}
    for row in rows:
        if row.verified and row.standing and row.standing.verdict == "unclear":
            groups.setdefault(row.standing.against, []).append(row)
    found = []
    for fastest, members in groups.items():
        names = "; ".join(
            f"{row.key.partition(': ')[2]} ({row.standing.ratio.low:.2f} to "
            f"{row.standing.ratio.high:.2f} times its time)"
            for row in members
            if row.standing
        )
        if len(members) > NAMED:
            names = f"{len(members)} others, marked so"
        found.append(f"Too noisy to tell {fastest} from {names}. More --seconds may.")
    return found
