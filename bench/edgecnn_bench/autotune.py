"""The story of a selection: plan, self-test, rounds in which the slow ones drop out, keep.

Successive halving (Karnin et al., ICML 2013; Jamieson & Talwalkar, AISTATS 2016): every stage has
the same time, shared by those still in it, so the close ones get more rounds. What is clearly
slower leaves; of the rest at most half goes, and nobody who is close.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from edgecnn_bench.bench import BenchProgress
from edgecnn_bench.config import BenchConfig
from edgecnn_bench.engines import find_engines
from edgecnn_bench.host import Host, fingerprint
from edgecnn_bench.latency import Workload, measure
from edgecnn_bench.plan import Planned, make_plan, open_bundles
from edgecnn_bench.reference_workload import NAME, at_scale
from edgecnn_bench.results import now
from edgecnn_bench.schema import SCHEMA_VERSION, BenchSettings, Skipped
from edgecnn_bench.session_pool import REFUSALS, SessionPool
from edgecnn_bench.stats import MIN_ROUNDS, Interval, median_interval, paired_ratio
from edgecnn_runtime import __version__
from edgecnn_runtime.backends.candidate import Candidate
from edgecnn_runtime.errors import SelfTestError, UnsupportedModelError, UsageError
from edgecnn_runtime.selection.record import CandidateTiming, SelectionRecord, write_selection

STAGES = 4
SLOT = 0.12
"""Seconds a candidate runs in a round."""
MOST_ROUNDS = 80
REWARM_SECONDS = 0.05
"""Seconds of warm-up of those that ran in the stage before."""
SLOWER, CLOSE = 1.01, 1.05
"""Clearly slower: the whole interval beyond the first. Close: no further than the second."""
REDUCED_RANGE_TARGET = "cpu-rr"
"""Its weights have seven bits."""
EQUAL = 1.01
"""Candidates within this of the fastest are as fast; the most exact of them is chosen."""


class Selection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was measured and chosen.

    measured: as ``load`` will read it. left_out: what was not timed, and why. kept: whether the
    choice could be written.
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
    measured: SelectionRecord
    left_out: tuple[Skipped, ...]
    kept: bool


def select(
    bundle: str | Path,
    config: BenchConfig,
    cache: Path,
    *,
    command: str = "",
    progress: BenchProgress | None = None,
) -> Selection:
    """Measure every candidate of a bundle that passes its self-test, and keep the choice.

    config: which engines, precisions, artifacts, threads and batch; ``seconds`` a candidate.
    cache: where ``load`` will look for the choice.
    A precision that export did not verify is left out. Raises what ``bench`` raises;
    interrupted, nothing is kept.
    """
    if len(config.batch) != 1:
        raise UsageError(
            "--select measures one --batch: the one that the model will be loaded with"
        )
    tell = progress or (lambda _phase, _done, _total: None)
    config = msgspec.structs.replace(config, scopes=("engine",), unverified=False)
    host = fingerprint()
    (named,) = open_bundles([bundle])
    engines, _ = find_engines(config.backends, checkpoint=False)
    plan = make_plan([named], engines, config)
    with SessionPool(config, cache) as opened:
        ready, left_out = _open(plan, opened, tell)
        race = SuccessiveHalving([subject for _, subject in ready], config)
        race.run(tell)
    candidates = {subject.key: candidate for candidate, subject in ready}
    measured = _measured(candidates, race, config.batch[0])
    return Selection(
        schema=SCHEMA_VERSION,
        created=measured.created,
        edgecnn=__version__,
        command=command,
        host=host,
        model=named.name,
        digest=named.bundle.digest,
        reference=NAME,
        measured=measured,
        left_out=tuple(left_out),
        kept=write_selection(named.bundle, cache, measured),
    )


@dataclass
class SuccessiveHalving:
    """Candidates on the track. p50, relative: milliseconds, and over the reference, by round.

    Whoever drops out has taken part in the first rounds, so the first entries of two lists belong
    together.
    """

    subjects: Sequence[Workload]
    config: BenchConfig
    p50: dict[str, list[float]] = field(default_factory=dict)
    relative: dict[str, list[float]] = field(default_factory=dict)

    def run(self, tell: BenchProgress) -> None:
        """All stages, or as many as it takes until one is left. Raises KeyboardInterrupt."""
        self.p50 = {subject.key: [] for subject in self.subjects}
        self.relative = {subject.key: [] for subject in self.subjects}
        share = self.config.seconds * len(self.subjects) / STAGES
        running = list(self.subjects)
        for stage in range(STAGES):
            self._stage(stage, running, share, tell)
            staying = self.staying([subject.key for subject in running])
            running = [subject for subject in running if subject.key in staying]
            if len(running) == 1:
                return

    def staying(self, keys: Sequence[str]) -> list[str]:
        """Who goes on, the fastest first."""
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
        """Time over that of another, over the rounds that both took part in."""
        rounds = min(len(self.p50[key]), len(self.p50[base]))
        return paired_ratio(self.p50[key][:rounds], self.p50[base][:rounds])

    def _stage(
        self, stage: int, running: Sequence[Workload], share: float, tell: BenchProgress
    ) -> None:
        rounds = min(max(round(share / SLOT / len(running)), MIN_ROUNDS), MOST_ROUNDS)
        settings = BenchSettings(
            seconds=SLOT * rounds,
            rounds=rounds,
            warmup_seconds=REWARM_SECONDS if stage else self.config.warmup,
            seed=self.config.seed + stage,
            frame="",
            cold_starts=0,
        )
        phase = f"{len(running)} candidates"
        found = measure(running, settings, (), lambda done: tell(phase, done, rounds))
        if found.partial:
            raise KeyboardInterrupt
        for subject in running:
            track = found.tracks[subject.key]
            for number, times in zip(track.rounds, track.times, strict=True):
                p50 = float(np.median(times))
                self.p50[subject.key].append(p50)
                self.relative[subject.key].append(p50 / at_scale(found.work[number], p50))


def _open(
    plan: Sequence[Planned], opened: SessionPool, tell: BenchProgress
) -> tuple[list[tuple[Candidate, Workload]], list[Skipped]]:
    ready: list[tuple[Candidate, Workload]] = []
    left_out: list[Skipped] = []
    failed: SelfTestError | None = None
    for done, planned in enumerate(plan):
        tell("opening", done, len(plan))
        candidate = planned.candidate
        assert candidate is not None
        if not candidate.verified_at_export:
            why = f"export did not verify {candidate.artifact.file} in {candidate.precision}"
            left_out.append(Skipped(key=planned.job.label, why=why))
            continue
        try:
            ready.append((candidate, opened.open(planned)[1]))
        except REFUSALS as error:
            said = str(error).partition(". It is not used")[0]
            left_out.append(Skipped(key=planned.job.label, why=said))
            failed = error if isinstance(error, SelfTestError) else failed
    tell("opening", len(plan), len(plan))
    if not ready:
        lines = "\n".join(f"  {skipped.key}: {skipped.why}" for skipped in left_out)
        kind = SelfTestError if failed else UnsupportedModelError
        raise kind(f"nothing to choose from:\n{lines}")
    return ready, left_out


def _measured(
    candidates: Mapping[str, Candidate], race: SuccessiveHalving, batch: int
) -> SelectionRecord:
    chosen = choose_winner(candidates, race)
    ratios = {key: race.ratio(key, chosen) for key in candidates}
    order = sorted(candidates, key=lambda key: (key != chosen, ratios[key].value))
    standings = tuple(_standing(candidates[key], race, key, ratios[key]) for key in order)
    floats = [
        index
        for index, key in enumerate(order)
        if candidates[key].artifact.precision == "fp32" and candidates[key].exact
    ]
    engines = list(dict.fromkeys(candidate.backend for candidate in candidates.values()))
    floats.sort(key=lambda index: engines.index(standings[index].backend))  # stable: fastest first
    return SelectionRecord(
        created=now(), batch=batch, standings=standings, plain=floats[0] if floats else None
    )


def choose_winner(candidates: Mapping[str, Candidate], race: SuccessiveHalving) -> str:
    """The fastest of those that stayed to the end; of equally fast ones the most exact."""
    longest = max(len(rounds) for rounds in race.p50.values())
    last = [key for key, rounds in race.p50.items() if len(rounds) == longest]
    fastest = min(last, key=lambda key: float(np.median(race.p50[key])))
    ratios = {key: race.ratio(key, fastest).value for key in last}
    best = min(ratios.values())
    equal = [key for key in last if ratios[key] <= EQUAL * best]

    def exactness(key: str) -> tuple[bool, bool, bool, int, float]:
        one, reduced = candidates[key], candidates[key].artifact.target == REDUCED_RANGE_TARGET
        return one.artifact.precision != "fp32", not one.exact, reduced, one.threads, ratios[key]

    return min(equal, key=exactness)


def _standing(
    candidate: Candidate, race: SuccessiveHalving, key: str, ratio: Interval
) -> CandidateTiming:
    return CandidateTiming(
        artifact=candidate.artifact.file,
        backend=candidate.backend,
        precision=candidate.precision,
        threads=candidate.threads,
        milliseconds=float(np.median(race.p50[key])),
        relative=median_interval(race.relative[key]).value,
        ratio=ratio.value,
        low=ratio.low,
        high=ratio.high,
        rounds=len(race.p50[key]),
    )
