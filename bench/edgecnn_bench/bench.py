"""The story of a benchmark: plan, open and self-test, rounds, sustained, cold starts, report."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from edgecnn_bench.cold_start import ColdStart, cold_start
from edgecnn_bench.config import BenchConfig
from edgecnn_bench.engines import find_engines
from edgecnn_bench.host import fingerprint
from edgecnn_bench.latency import LatencySamples, measure
from edgecnn_bench.plan import PlannedRow, make_plan, model_of, open_bundles
from edgecnn_bench.power import EnergyMeter, open_meters
from edgecnn_bench.progress import BenchProgress, no_progress
from edgecnn_bench.results import now
from edgecnn_bench.rows import build_machine, build_rows, build_warnings
from edgecnn_bench.schema import (
    SCHEMA_VERSION,
    BenchReport,
    BenchSettings,
    Cold,
    Memory,
    SkippedRow,
    Sustained,
)
from edgecnn_bench.session_pool import OpenRow, RowFailure, SessionPool, short_reason
from edgecnn_bench.sustained import sustained
from edgecnn_runtime import __version__
from edgecnn_runtime.errors import SelfTestError, UnsupportedModelError


def bench(
    bundles: Sequence[str | Path],
    config: BenchConfig,
    *,
    command: str = "",
    progress: BenchProgress = no_progress,
) -> BenchReport:
    """Measure bundles side by side on this machine.

    Ctrl-C during the rounds ends the benchmark; the report then holds what was measured until then
    and is marked partial.

    Args:
        bundles: Bundle directories.
        config: What to time, and how long.
        command: The command line, for the report.
        progress: Called while it goes on.

    Returns:
        The report, with at least one row.

    Raises:
        UsageError: The configuration asks for something that does not exist.
        BundleError: A bundle is damaged.
        BackendMissingError: No engine is left.
        SelfTestError: No row reproduces its golden outputs here, and ``unverified`` is off.
        UnsupportedModelError: No row can be measured.
    """
    host = fingerprint()
    named_bundles = open_bundles(bundles)
    engines, absent = find_engines(config.backends, checkpoint=bool(config.checkpoint))
    plan = make_plan(named_bundles, engines, config)
    with ExitStack() as stack:
        meters = open_meters()
        for meter in meters:
            stack.callback(meter.close)
        with SessionPool(config) as pool:
            open_rows, failures = pool.open_all(plan, progress)
            _require_rows(open_rows, failures)
            settings = BenchSettings(
                seconds=config.seconds,
                rounds=config.rounds,
                warmup_seconds=config.warmup,
                seed=config.seed,
                frame=pool.frames_name,
                cold_starts=config.starts,
            )
            samples = measure(
                [workload for _, workload in open_rows],
                settings,
                meters,
                lambda done: progress("measuring", done, config.rounds),
            )
            runs = _sustained(open_rows, samples, config, meters, progress)
        plan = [planned for planned, _ in open_rows]
        starts = {} if samples.partial else _cold_starts(plan, config, progress)
        specs = [planned.spec for planned in plan]
        rows = build_rows(specs, samples, meters, starts)
    if not rows:
        raise KeyboardInterrupt  # before the first slot ended: there is nothing to report
    machine = build_machine(samples)
    return BenchReport(
        schema=SCHEMA_VERSION,
        created=now(),
        edgecnn=__version__,
        command=command,
        partial=samples.partial,
        host=host,
        settings=settings,
        models=tuple(map(model_of, named_bundles)),
        rows=rows,
        absent=tuple(absent),
        skipped=tuple(
            SkippedRow(key=planned.spec.key, why=short_reason(error)) for planned, error in failures
        ),
        machine=machine,
        remarks=build_warnings(rows, machine, partial=samples.partial),
        sustained=runs,
    )


def _require_rows(rows: Sequence[OpenRow], failures: Sequence[RowFailure]) -> None:
    """Raise where no row could be opened: a failure of a self-test if there is one."""
    if rows:
        return
    for _, error in failures:
        if isinstance(error, SelfTestError):
            reason = short_reason(error)
            raise SelfTestError(f"{reason}. --unverified times it all the same, and marks it")
    planned, error = failures[0]
    raise UnsupportedModelError(
        f"no row could be measured. {planned.spec.key}: {short_reason(error)}"
    )


def _sustained(
    open_rows: Sequence[OpenRow],
    samples: LatencySamples,
    config: BenchConfig,
    meters: Sequence[EnergyMeter],
    progress: BenchProgress,
) -> tuple[Sustained, ...]:
    """A run of the fastest verified row, from frame to result if there is such a row."""
    if not config.sustained or samples.partial:
        return ()
    rows = build_rows([planned.spec for planned, _ in open_rows], samples, (), {})
    best = min(
        (row for row in rows if row.verified),
        key=lambda row: (row.scope != "frame", row.latency.p50.value / row.batch),
        default=None,
    )
    if best is None:
        return ()
    workload = next(workload for planned, workload in open_rows if planned.spec.key == best.key)
    total = 60 * config.sustained
    run = sustained(
        workload, config.sustained, meters, lambda done: progress("sustained", done, total)
    )
    return (run,) if run else ()


def _cold_starts(
    plan: Sequence[PlannedRow], config: BenchConfig, progress: BenchProgress
) -> dict[str, tuple[Cold, Memory]]:
    """By key: of the engine rows, or of the frame rows where only those are measured."""
    if not config.starts:
        return {}
    scopes = [planned.spec.scope for planned in plan]
    scope = "engine" if "engine" in scopes else scopes[0]
    plan = [planned for planned in plan if planned.candidate and planned.spec.scope == scope]
    starts = {}
    for done, planned in enumerate(plan):
        progress("cold starts", done, len(plan))
        spec = planned.spec
        start = ColdStart(
            bundle=str(planned.bundle.path.resolve()),
            backend=spec.backend,
            artifact=spec.artifact,
            precision=spec.precision,
            threads=spec.threads,
            batch=spec.batch,
            self_test=spec.verified,
        )
        starts[spec.key] = cold_start(start, config.starts)
    return starts
