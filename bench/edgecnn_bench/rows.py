"""From the samples of the rounds to the rows of a report: summaries, verdicts, remarks."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

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
"""A larger spread of the reference workload is remarked on."""
BUSY = 0.25
"""So are other programs that keep more than this many cores busy."""
MAX_NAMES = 3
"""A remark names at most this many rows; of more it tells the number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSpec:
    """One row before it is measured; the fields are those of ``BenchRow``."""

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
        """Name of the row without model and scope."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        batch = f", batch {self.batch}" if self.batch != 1 else ""
        return f"{self.artifact} on {self.backend}/{self.precision}, {threads}{batch}"

    @property
    def key(self) -> str:
        """The label with model and scope; unique in a report."""
        return f"{self.model} {self.scope}: {self.label}"


def build_rows(
    specs: Sequence[RowSpec],
    samples: LatencySamples,
    meters: Sequence[EnergyMeter],
    starts: dict[str, tuple[Cold, Memory]],
) -> tuple[BenchRow, ...]:
    """The rows of a report.

    Args:
        specs: The rows that were opened.
        samples: What was measured of them.
        meters: The energy meters that ran meanwhile.
        starts: Cold start and memory by key, of the rows that have them.

    Returns:
        The rows that got a slot, the fastest of each model and scope first.
    """
    rows = []
    for spec in specs:
        own = samples.workloads.get(spec.key)
        if own is not None and own.times:
            row = _row(spec, own, samples, meters)
            cold, memory = starts.get(spec.key, (None, None))
            rows.append(replace(row, cold=cold, memory=memory))
    return _ranked(rows)


def build_machine(samples: LatencySamples) -> Machine:
    """How the machine behaved in the rounds."""
    reference = [moment.reference_ms for moment in samples.moments] or [0.0]
    return Machine(
        reference=NAME,
        reference_ms=float(np.median(reference)),
        spread=relative_p10_p90(reference) if any(reference) else 0.0,
        throttled=throttling(samples.conditions),
        moments=tuple(samples.moments),
    )


def build_warnings(rows: Sequence[BenchRow], machine: Machine, *, partial: bool) -> tuple[str, ...]:
    """What a reader of the numbers must know, most serious first."""
    remarks = _failures(rows)
    if partial:
        remarks.append(f"Interrupted after {len(machine.moments)} rounds; the report holds these.")
    remarks += [f"The chip was held back: {reason}." for reason in machine.throttled]
    if machine.spread > NOISY:
        remarks.append(
            f"The machine was uneven: the reference workload spread by {machine.spread:.0%}. "
            "Times changed with it; ratios and verdicts allow for it."
        )
    busy = float(np.mean([m.others_cores for m in machine.moments] or [0.0]))
    if busy > BUSY:
        remarks.append(f"Other programs kept {busy:.1f} cores busy meanwhile.")
    stolen = float(np.mean([m.stolen_cores for m in machine.moments] or [0.0]))
    if stolen > BUSY / 5:
        remarks.append(f"The hypervisor withheld {stolen:.2f} cores meanwhile.")
    return (*remarks, *_undecided(rows))


def _row(
    spec: RowSpec, own: WorkloadSamples, samples: LatencySamples, meters: Sequence[EnergyMeter]
) -> BenchRow:
    latency = summarize(own.times)
    slots = []
    for number, times in zip(own.rounds, own.times, strict=False):
        p50, p95 = map(float, np.percentile(times, (50, 95)))
        ratio = p50 / at_scale(samples.work[number], p50)
        slots.append(RoundSample(round=number, n=len(times), p50_ms=p50, p95_ms=p95, ratio=ratio))
    stages = {name: own.stages[name] for name in STAGES if own.stages.get(name)}
    return BenchRow(
        **asdict(spec),
        key=spec.key,
        latency=latency,
        fps=1000 * spec.batch / latency.mean,
        relative=median_interval([slot.ratio for slot in slots]),
        cpu_cores=round(own.cpu_seconds / max(own.wall_seconds, 1e-9), 3),
        stages_ms={name: float(np.median(times)) for name, times in stages.items()},
        slots=tuple(slots),
        energy=_energy(own, meters, latency.n * spec.batch),
    )


def _energy(own: WorkloadSamples, meters: Sequence[EnergyMeter], frames: int) -> Energy | None:
    best = total(own.joules, list(meters)) if own.joules else None
    if best is None:
        return None
    joules, covers = best
    watts = joules / max(own.wall_seconds, 1e-9)
    return Energy(watts=watts, joules_per_frame=joules / frames, covers=covers)


def _ranked(rows: Sequence[BenchRow]) -> tuple[BenchRow, ...]:
    """Rows by model and scope, fastest first, each compared with the fastest verified one."""
    ranked = []
    for group in dict.fromkeys((row.model, row.scope) for row in rows):
        members = sorted((row for row in rows if (row.model, row.scope) == group), key=_per_frame)
        best = next((row for row in members if row.verified), members[0])
        for row in members:
            ranked.append(replace(row, standing=_versus_fastest(row, best)))
    return tuple(ranked)


def _per_frame(row: BenchRow) -> float:
    return row.latency.p50.value / row.batch


def _versus_fastest(row: BenchRow, best: BenchRow) -> VersusFastest | None:
    if row is best:
        itself = Interval(value=1.0, low=1.0, high=1.0)
        return VersusFastest(against=best.key, verdict="fastest", ratio=itself)
    times = {slot.round: slot.p50_ms / row.batch for slot in row.slots}
    best_times = {slot.round: slot.p50_ms / best.batch for slot in best.slots}
    shared = sorted(times.keys() & best_times.keys())
    if not shared:
        return None
    ratio = paired_ratio([times[r] for r in shared], [best_times[r] for r in shared])
    verdict = equivalence_verdict(ratio, len(shared))
    return VersusFastest(against=best.key, verdict=verdict, ratio=ratio)


def _failures(rows: Sequence[BenchRow]) -> list[str]:
    """One remark per artifact; the full message of each self-test is in its row."""
    engines: dict[str, list[str]] = {}
    for row in rows:
        if not row.verified:
            name = f"{row.model} {row.artifact}"
            engines.setdefault(name, []).append(f"{row.backend}/{row.precision}")
    return [
        f"{name} FAILED its self-test on {', '.join(dict.fromkeys(names))}: it does not give the "
        "golden outputs here, so its speed means nothing."
        for name, names in engines.items()
    ]


def _undecided(rows: Sequence[BenchRow]) -> list[str]:
    """One remark per group of rows that cannot be told from the fastest."""
    groups: dict[str, list[BenchRow]] = {}
    for row in rows:
        if row.verified and row.standing and row.standing.verdict == "unclear":
            groups.setdefault(row.standing.against, []).append(row)
    remarks = []
    for fastest, members in groups.items():
        names = "; ".join(
            f"{row.key.partition(': ')[2]} ({row.standing.ratio.low:.2f} to "
            f"{row.standing.ratio.high:.2f} times its time)"
            for row in members
            if row.standing
        )
        if len(members) > MAX_NAMES:
            names = f"{len(members)} others, which are marked"
        remarks.append(f"Too noisy to tell {fastest} from {names}; try more --seconds.")
    return remarks
