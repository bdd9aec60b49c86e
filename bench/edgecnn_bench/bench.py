"""The story of a benchmark: plan, open and self-test, rounds, sustained, cold starts, report."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from edgecnn_bench.cold_start import ColdStart, cold_start
from edgecnn_bench.config import BenchConfig
from edgecnn_bench.engines import find_engines
from edgecnn_bench.host import fingerprint
from edgecnn_bench.latency import LatencySamples, Workload, measure
from edgecnn_bench.plan import Planned, make_plan, model_of, open_bundles
from edgecnn_bench.power import EnergyMeter, open_meters
from edgecnn_bench.results import now
from edgecnn_bench.rows import RowSpec, build_machine, build_rows, build_warnings
from edgecnn_bench.schema import (
    SCHEMA_VERSION,
    BenchReport,
    BenchSettings,
    Cold,
    Memory,
    Skipped,
    Sustained,
)
from edgecnn_bench.session_pool import REFUSALS, SessionPool
from edgecnn_bench.sustained import sustained
from edgecnn_runtime import __version__
from edgecnn_runtime.errors import SelfTestError, UnsupportedModelError


class BenchProgress(Protocol):
    """Told how far a benchmark is."""

    def __call__(self, phase: str, done: float, total: float) -> None:
        """phase: "opening", "rounds", …; done of total, in the phase's own units."""


def bench(
    bundles: Sequence[str | Path],
    config: BenchConfig,
    *,
    command: str = "",
    progress: BenchProgress | None = None,
) -> BenchReport:
    """Measure bundles side by side on this machine, as ``config`` asks.

    command: what was typed, for the report.

    Ctrl-C during the rounds ends the benchmark: the report holds what was measured and is marked
    partial. Raises UsageError and BundleError for what cannot be measured, BackendMissingError
    where no engine is left, SelfTestError where no row is and ``unverified`` was not asked for.
    """
    tell = progress or (lambda _phase, _done, _total: None)
    host = fingerprint()
    named = open_bundles(bundles)
    engines, absent = find_engines(config.backends, checkpoint=bool(config.checkpoint))
    plan = make_plan(named, engines, config)
    with _meters() as meters:
        with SessionPool(config) as opened:
            ready, skipped = _open_all(plan, opened, tell)
            settings = _settings(config, opened.frames_name)
            measured = measure(
                [subject for _, subject in ready],
                settings,
                meters,
                lambda done: tell("measuring", done, config.rounds),
            )
            runs = _sustained(ready, measured, config, meters, tell)
        jobs = [job for job, _ in ready]
        starts = {} if measured.partial else _cold_starts(plan, jobs, config, tell)
        rows = build_rows(jobs, measured, meters, starts)
    if not rows:
        raise KeyboardInterrupt  # before the first slot ended: there is nothing to report
    machine = build_machine(measured)
    remarks = build_warnings(rows, machine, partial=measured.partial)
    return BenchReport(
        schema=SCHEMA_VERSION,
        created=now(),
        edgecnn=__version__,
        command=command,
        partial=measured.partial,
        host=host,
        settings=settings,
        models=tuple(model_of(each) for each in named),
        rows=rows,
        absent=tuple(absent),
        skipped=tuple(skipped),
        machine=machine,
        remarks=remarks,
        sustained=runs,
    )


def _open_all(
    plan: Sequence[Planned], opened: SessionPool, tell: BenchProgress
) -> tuple[list[tuple[RowSpec, Workload]], list[Skipped]]:
    ready: list[tuple[RowSpec, Workload]] = []
    skipped: list[Skipped] = []
    failed: list[str] = []
    for done, planned in enumerate(plan):
        tell("opening", done, len(plan))
        try:
            ready.append(opened.open(planned))
        except REFUSALS as error:
            said = str(error).partition(". It is not used")[0]
            skipped.append(Skipped(key=planned.job.key, why=said))
            failed += [said] if isinstance(error, SelfTestError) else []
    tell("opening", len(plan), len(plan))
    if not ready:
        if failed:
            raise SelfTestError(f"{failed[0]}. --unverified times it all the same, and says so")
        first = skipped[0]
        raise UnsupportedModelError(f"no row could be measured. {first.key}: {first.why}")
    return ready, skipped


def _settings(config: BenchConfig, frame: str) -> BenchSettings:
    return BenchSettings(
        seconds=config.seconds,
        rounds=config.rounds,
        warmup_seconds=config.warmup,
        seed=config.seed,
        frame=frame,
        cold_starts=config.starts,
    )


def _sustained(
    ready: Sequence[tuple[RowSpec, Workload]],
    measured: LatencySamples,
    config: BenchConfig,
    meters: Sequence[EnergyMeter],
    tell: BenchProgress,
) -> tuple[Sustained, ...]:
    """The fastest verified row, from frame to result if there is such a row."""
    if not config.sustained or measured.partial:
        return ()
    rows = build_rows([job for job, _ in ready], measured, (), {})
    best = min(
        (row for row in rows if row.verified),
        key=lambda row: (row.scope != "frame", row.latency.p50.value / row.batch),
        default=None,
    )
    if best is None:
        return ()
    subject = next(subject for job, subject in ready if job.key == best.key)
    total = 60 * config.sustained
    run = sustained(subject, config.sustained, meters, lambda done: tell("sustained", done, total))
    return (run,) if run else ()


def _cold_starts(
    plan: Sequence[Planned], jobs: Sequence[RowSpec], config: BenchConfig, tell: BenchProgress
) -> dict[str, tuple[Cold, Memory]]:
    """By key, of the engine rows; of the frame rows where only those are measured."""
    by_key = {job.key: job for job in jobs}
    scope = "engine" if any(job.scope == "engine" for job in jobs) else jobs[0].scope
    wanted = [p for p in plan if p.candidate and p.job.key in by_key and p.job.scope == scope]
    found = {}
    for done, planned in enumerate(wanted if config.starts else []):
        tell("cold starts", done, len(wanted))
        job = by_key[planned.job.key]
        start = ColdStart(
            bundle=str(planned.bundle.path.resolve()),
            backend=job.backend,
            artifact=job.artifact,
            precision=job.precision,
            threads=job.threads,
            batch=job.batch,
            self_test=job.verified,
        )
        found[job.key] = cold_start(start, config.starts)
    return found


@contextmanager
def _meters() -> Iterator[list[EnergyMeter]]:
    meters = open_meters()
    try:
        yield meters
    finally:
        for meter in meters:
            meter.close()
