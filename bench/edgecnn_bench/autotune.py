"""The story of a selection: plan, self-test, rounds in which slow candidates drop out, store.

Successive halving (Karnin et al., ICML 2013; Jamieson & Talwalkar, AISTATS 2016): every stage has
the same time, shared by the candidates still in it, so close ones get more rounds. A candidate
that is clearly slower leaves; of the others at most half leave, and none that is close.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from edgecnn_bench.config import BenchConfig
from edgecnn_bench.engines import find_engines
from edgecnn_bench.host import Host, fingerprint
from edgecnn_bench.latency import Workload, measure
from edgecnn_bench.plan import PlannedRow, make_plan, open_bundles
from edgecnn_bench.progress import BenchProgress, no_progress
from edgecnn_bench.reference_workload import NAME, at_scale
from edgecnn_bench.results import now
from edgecnn_bench.schema import SCHEMA_VERSION, BenchSettings, SkippedRow
from edgecnn_bench.session_pool import RowFailure, SessionPool, short_reason
from edgecnn_bench.stats import MIN_ROUNDS, Interval, median_interval, paired_ratio
from edgecnn_runtime import __version__
from edgecnn_runtime.backends import get_engine
from edgecnn_runtime.backends.candidate import Candidate
from edgecnn_runtime.bundle.manifest import REDUCED_RANGE
from edgecnn_runtime.device.cpu import saturates
from edgecnn_runtime.errors import EdgecnnError, SelfTestError, UnsupportedModelError, UsageError
from edgecnn_runtime.selection.record import CandidateTiming, SelectionRecord, write_selection

STAGES = 4
SLOT = 0.12
"""Seconds a candidate runs in a round."""
MAX_ROUNDS = 80
REWARM_SECONDS = 0.05
"""Seconds of warm-up of a candidate that ran in the stage before."""
SLOWER, CLOSE = 1.01, 1.05
"""Ratios to the fastest. Clearly slower: the whole interval is above the first. Close: the ratio is
at most the second."""
MOST_EXACT_FIRST = ("fp32", "fp16", "int8")
EQUAL = 1.01
"""Candidates within this of the fastest are as fast; the most exact of them is chosen."""
OVERFLOWS = (
    "full-range INT8 saturates on this processor, and its reduced-range form passed the self-test"
)


class Selection(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"record": "measured", "skipped": "left_out", "stored": "kept"},
):
    """What was measured and chosen.

    Attributes:
        schema: Version of this structure.
        kind: Always "selection".
        created: UTC, ISO 8601.
        edgecnn: Version of edgecnn.
        command: The command line.
        host: The machine.
        model: Name of the bundle.
        digest: Digest of the bundle.
        reference: Name of the reference workload.
        record: The timings, as ``load`` will read them; ``measured`` in JSON.
        skipped: Candidates that were not timed, and why; ``left_out`` in JSON.
        stored: Whether the record could be written; ``kept`` in JSON.
    """

    schema: int
    kind: str = "selection"
    created: str
    edgecnn: str
    command: str
    host: Host
    model: str
    digest: str
    reference: str
    record: SelectionRecord
    skipped: tuple[SkippedRow, ...]
    stored: bool


def select(
    bundle: str | Path,
    config: BenchConfig,
    cache: Path,
    *,
    command: str = "",
    progress: BenchProgress = no_progress,
) -> Selection:
    """Measure every candidate of a bundle that passes its self-test, and store the choice.

    A precision that export did not verify is skipped. An interrupted selection stores nothing.

    Args:
        bundle: Bundle directory.
        config: Engines, precisions, artifacts, threads, one batch; ``seconds`` per candidate.
        cache: Folder where ``load`` looks for the choice.
        command: The command line, for the result.
        progress: Called while it goes on.

    Returns:
        The timings of every candidate, the chosen one first.

    Raises:
        UsageError: More than one batch size, or something that does not exist.
        BundleError: The bundle is damaged.
        BackendMissingError: No engine is left.
        SelfTestError: No candidate reproduces the golden outputs here.
        UnsupportedModelError: No candidate can be measured.
    """
    if len(config.batch) != 1:
        raise UsageError("--select measures one --batch: the one the model will be loaded with")
    config = msgspec.structs.replace(config, scopes=("engine",), unverified=False)
    host = fingerprint()
    saturating = saturates(frozenset(host.features))
    (named,) = open_bundles([bundle])
    engines, _ = find_engines(config.backends, checkpoint=False)
    plan = make_plan([named], engines, config)
    verified = [row for row in plan if row.candidate and row.candidate.verified_at_export]
    with SessionPool(config, cache) as pool:
        open_rows, failures = pool.open_all(verified, progress)
        skipped = _skipped(plan, failures)
        if saturating:
            overflowing = _full_range_beside_reduced([row for row, _ in open_rows])
            open_rows = [pair for pair in open_rows if pair[0] not in overflowing]
            skipped += [SkippedRow(key=row.spec.label, why=OVERFLOWS) for row in overflowing]
        if not open_rows:
            raise _nothing_to_choose(skipped, failures)
        halving = SuccessiveHalving([workload for _, workload in open_rows], config)
        halving.run(progress)
    candidates = {row.spec.key: row.candidate for row, _ in open_rows if row.candidate}
    record = _record(candidates, halving, config.batch[0], saturating=saturating)
    return Selection(
        schema=SCHEMA_VERSION,
        created=record.created,
        edgecnn=__version__,
        command=command,
        host=host,
        model=named.name,
        digest=named.bundle.digest,
        reference=NAME,
        record=record,
        skipped=tuple(skipped),
        stored=write_selection(named.bundle, cache, record),
    )


@dataclass
class SuccessiveHalving:
    """Rounds in which slow candidates drop out.

    A candidate that drops out took part in the first rounds, so the first entries of any two lists
    are of the same rounds.

    Attributes:
        workloads: The candidates' work.
        config: Time per candidate, warm-up and seed.
        p50: Milliseconds by round, for each key.
        relative: The same over the reference workload's time.
    """

    workloads: Sequence[Workload]
    config: BenchConfig
    p50: dict[str, list[float]] = field(default_factory=dict)
    relative: dict[str, list[float]] = field(default_factory=dict)

    def run(self, progress: BenchProgress) -> None:
        """Run all stages, or as many as it takes until one candidate is left.

        Raises:
            KeyboardInterrupt: It was interrupted; the timings are incomplete.
        """
        self.p50 = {workload.key: [] for workload in self.workloads}
        self.relative = {workload.key: [] for workload in self.workloads}
        share = self.config.seconds * len(self.workloads) / STAGES
        running = list(self.workloads)
        for stage in range(STAGES):
            self._stage(stage, running, share, progress)
            remaining = self.remaining([workload.key for workload in running])
            running = [workload for workload in running if workload.key in remaining]
            if len(running) == 1:
                return

    def remaining(self, keys: Sequence[str]) -> list[str]:
        """The candidates of the next stage, the fastest first."""
        leader = min(keys, key=lambda key: float(np.median(self.p50[key])))
        ratios = {key: self.ratio(key, leader) for key in keys}
        order = sorted(keys, key=lambda key: ratios[key].value)
        half = (len(keys) + 1) // 2
        return [
            key
            for place, key in enumerate(order)
            if ratios[key].low <= SLOWER and (place < half or ratios[key].value <= CLOSE)
        ]

    def ratio(self, key: str, base: str) -> Interval:
        """Time over that of another candidate, in the rounds that both took part in."""
        rounds = min(len(self.p50[key]), len(self.p50[base]))
        return paired_ratio(self.p50[key][:rounds], self.p50[base][:rounds])

    def _stage(
        self, stage: int, running: Sequence[Workload], share: float, progress: BenchProgress
    ) -> None:
        rounds = min(max(round(share / SLOT / len(running)), MIN_ROUNDS), MAX_ROUNDS)
        settings = BenchSettings(
            seconds=SLOT * rounds,
            rounds=rounds,
            warmup_seconds=REWARM_SECONDS if stage else self.config.warmup,
            seed=self.config.seed + stage,
            frame="",
            cold_starts=0,
        )
        phase = f"{len(running)} candidates"
        samples = measure(running, settings, (), lambda done: progress(phase, done, rounds))
        if samples.partial:
            raise KeyboardInterrupt
        for key, own in samples.workloads.items():
            for number, times in zip(own.rounds, own.times, strict=True):
                p50 = float(np.median(times))
                self.p50[key].append(p50)
                self.relative[key].append(p50 / at_scale(samples.work[number], p50))


def _skipped(plan: Sequence[PlannedRow], failures: Sequence[RowFailure]) -> list[SkippedRow]:
    """The candidates that export did not verify, and those that could not be opened."""
    unverified = [
        SkippedRow(
            key=row.spec.label,
            why=f"export did not verify {row.candidate.artifact.file} in {row.spec.precision}",
        )
        for row in plan
        if row.candidate and not row.candidate.verified_at_export
    ]
    return unverified + [
        SkippedRow(key=row.spec.label, why=short_reason(error)) for row, error in failures
    ]


def _full_range_beside_reduced(rows: Sequence[PlannedRow]) -> list[PlannedRow]:
    """The full-range INT8 rows on CPU engines that run the reduced range too, equally fast."""
    pairs = [(row, row.candidate) for row in rows if row.candidate]
    int8 = [(row, each) for row, each in pairs if each.artifact.precision == "int8"]
    reduced = {each.backend for _, each in int8 if each.artifact.target == REDUCED_RANGE}
    return [
        row
        for row, each in int8
        if each.artifact.target != REDUCED_RANGE
        and each.backend in reduced
        and get_engine(each.backend).device == "cpu"
    ]


def _nothing_to_choose(
    skipped: Sequence[SkippedRow], failures: Sequence[RowFailure]
) -> EdgecnnError:
    lines = "\n".join(f"  {row.key}: {row.why}" for row in skipped)
    failed = any(isinstance(error, SelfTestError) for _, error in failures)
    kind = SelfTestError if failed else UnsupportedModelError
    return kind(f"nothing to choose from:\n{lines}")


def _record(
    candidates: Mapping[str, Candidate],
    halving: SuccessiveHalving,
    batch: int,
    *,
    saturating: bool,
) -> SelectionRecord:
    chosen = choose_winner(candidates, halving, saturating=saturating)
    ratios = {key: halving.ratio(key, chosen) for key in candidates}
    order = sorted(candidates, key=lambda key: (key != chosen, ratios[key].value))
    timings = tuple(_timing(candidates[key], halving, key, ratios[key]) for key in order)
    floats = [
        index
        for index, key in enumerate(order)
        if candidates[key].artifact.precision == "fp32" and candidates[key].exact
    ]
    engines = list(dict.fromkeys(candidate.backend for candidate in candidates.values()))
    floats.sort(key=lambda index: engines.index(timings[index].backend))  # stable: fastest first
    return SelectionRecord(
        created=now(), batch=batch, standings=timings, plain=floats[0] if floats else None
    )


def choose_winner(
    candidates: Mapping[str, Candidate], halving: SuccessiveHalving, *, saturating: bool = False
) -> str:
    """The fastest of those that stayed to the end; of equally fast ones the most exact.

    Args:
        candidates: By key.
        halving: Their timings.
        saturating: Whether full-range INT8 overflows on this processor, so that the reduced range
            is the more exact one.

    Returns:
        The key of the chosen one.
    """
    longest = max(len(rounds) for rounds in halving.p50.values())
    last = [key for key, rounds in halving.p50.items() if len(rounds) == longest]
    fastest = min(last, key=lambda key: float(np.median(halving.p50[key])))
    ratios = {key: halving.ratio(key, fastest).value for key in last}
    best = min(ratios.values())
    equal = [key for key in last if ratios[key] <= EQUAL * best]

    def exactness(key: str) -> tuple[int, bool, bool, int, float]:
        candidate = candidates[key]
        weights = MOST_EXACT_FIRST.index(candidate.artifact.precision)
        reduced_range = candidate.artifact.target == REDUCED_RANGE
        int8 = candidate.artifact.precision == "int8"
        lossy_range = int8 and reduced_range != saturating
        return weights, not candidate.exact, lossy_range, candidate.threads, ratios[key]

    return min(equal, key=exactness)


def _timing(
    candidate: Candidate, halving: SuccessiveHalving, key: str, ratio: Interval
) -> CandidateTiming:
    return CandidateTiming(
        artifact=candidate.artifact.file,
        backend=candidate.backend,
        precision=candidate.precision,
        threads=candidate.threads,
        milliseconds=float(np.median(halving.p50[key])),
        relative=median_interval(halving.relative[key]).value,
        ratio=ratio.value,
        low=ratio.low,
        high=ratio.high,
        rounds=len(halving.p50[key]),
    )
