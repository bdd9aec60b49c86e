"""Two reports of one model on one host, row by row: same, faster, slower, or too noisy to tell.

Each row's p50 is compared in units of the reference workload of the same round, so that a machine
that was busier, warmer or clocked lower in one of the runs does not decide the verdict.
"""

from typing import Literal, TypeAlias

from edgecnn_bench.schema import BenchReport, BenchRow, ReportStruct
from edgecnn_bench.stats import Interval, Verdict, equivalence_verdict, paired_ratio, unpaired_ratio
from edgecnn_runtime.errors import UsageError

FLOOR = 0.05
"""Two runs of the same work in two processes differ by this much, by the placement of memory and by
the core. A smaller change is not called one."""

Identity: TypeAlias = tuple[str, ...]


class Change(ReportStruct, frozen=True, kw_only=True):
    """One row in both reports.

    Attributes:
        key: Name of the row, with the model's where there are several.
        base_ms: p50 in the base.
        new_ms: p50 in the new report.
        ratio: new / base with its 99 % interval: of p50 over the reference workload's between two
            runs, of p50 itself within one.
        verdict: What the interval allows.
    """

    key: str
    base_ms: float
    new_ms: float
    ratio: Interval
    verdict: Verdict


class ReportComparison(ReportStruct, frozen=True, kw_only=True):
    """A verdict for each row in both reports.

    Attributes:
        schema: Version of this structure.
        kind: Always "comparison".
        changes: The rows that both reports have.
        gone: Keys of rows that only the base has.
        added: Keys of rows that only the new report has.
        notes: What else differs between the two runs (versions, kernel, settings), most
            important first.
    """

    schema: int = 1
    kind: Literal["comparison"] = "comparison"
    changes: tuple[Change, ...]
    gone: tuple[str, ...]
    added: tuple[str, ...]
    notes: tuple[str, ...]

    def worse(self, limit: float) -> list[Change]:
        """Rows called slower whose ratio is at least 1 + ``limit``."""
        return [c for c in self.changes if c.verdict == "slower" and c.ratio.value >= 1 + limit]


def compare(
    base: BenchReport, new: BenchReport, *, any_host: bool = False, any_model: bool = False
) -> ReportComparison:
    """Compare every row that both reports have.

    Args:
        base: The report before.
        new: The report after.
        any_host: Compare although the machines differ.
        any_model: Compare although the models differ.

    Raises:
        UsageError: The reports cannot be compared, or only with ``any_host`` or ``any_model``.
    """
    _check_reference(base, new)
    notes = [*_check_host(base, new, any_host), *_check_models(base, new, any_model)]
    notes += _differences(base, new)
    old, fresh = _rows(base), _rows(new)
    several = len(base.models) > 1 or len(new.models) > 1
    shared = [work for work in old if work in fresh]
    if not shared:
        raise UsageError(
            "the two reports have no row in common: measure both with the same "
            "--backends, --threads, --batch and --source"
        )
    return ReportComparison(
        changes=tuple(_change(old[work], fresh[work], several=several) for work in shared),
        gone=tuple(row.key for identity, row in old.items() if identity not in fresh),
        added=tuple(row.key for identity, row in fresh.items() if identity not in old),
        notes=tuple(notes),
    )


def compare_models(report: BenchReport) -> ReportComparison | None:
    """Compare the two bundles of one run, paired round by round; the first is the base.

    They were interleaved in one process, so this detects much smaller differences than two runs.

    Returns:
        The comparison; None unless the report has exactly two models with a row in common.
    """
    if len(report.models) != 2:
        return None
    base, new = (
        {_work(row): row for row in report.rows if row.model == model.name}
        for model in report.models
    )
    shared = [work for work in base if work in new and _common(base[work], new[work])]
    if not shared:
        return None
    return ReportComparison(
        changes=tuple(_paired_change(base[work], new[work]) for work in shared),
        gone=tuple(row.key for work, row in base.items() if work not in new),
        added=tuple(row.key for work, row in new.items() if work not in base),
        notes=report.remarks,
    )


def _paired_change(base: BenchRow, new: BenchRow) -> Change:
    before, after = ({slot.round: slot.p50_ms for slot in row.slots} for row in (base, new))
    rounds = _common(base, new)
    ratio = paired_ratio([after[i] for i in rounds], [before[i] for i in rounds])
    return _make_change(base, new, ratio, equivalence_verdict(ratio, len(rounds)), several=False)


def _common(base: BenchRow, new: BenchRow) -> list[int]:
    """The rounds that both were measured in; an interrupted run may leave none."""
    return sorted({slot.round for slot in base.slots} & {slot.round for slot in new.slots})


def _change(base: BenchRow, new: BenchRow, *, several: bool) -> Change:
    before, after = ([slot.ratio for slot in row.slots] for row in (base, new))
    ratio = unpaired_ratio(after, before)
    verdict = equivalence_verdict(ratio, min(len(before), len(after)), floor=FLOOR)
    return _make_change(base, new, ratio, verdict, several=several)


def _make_change(
    base: BenchRow, new: BenchRow, ratio: Interval, verdict: Verdict, *, several: bool
) -> Change:
    key = new.key if several else new.key.removeprefix(f"{new.model} ")
    times = {"base_ms": base.latency.p50.value, "new_ms": new.latency.p50.value}
    return Change(key=key, ratio=ratio, verdict=verdict, **times)


def _work(row: BenchRow) -> Identity:
    """A row's configuration, without the model."""
    words = (row.scope, row.artifact, row.backend, row.precision, row.threads, row.batch)
    return tuple(map(str, words))


def _rows(report: BenchReport) -> dict[Identity, BenchRow]:
    """Rows by configuration; the model's name is part of it only where there are several."""
    rows: dict[Identity, BenchRow] = {}
    for row in report.rows:
        model = row.model if len(report.models) > 1 else ""
        frame = "" if row.scope == "engine" else report.settings.frame
        rows[(*_work(row), model, frame)] = row
    return rows


def _check_reference(base: BenchReport, new: BenchReport) -> None:
    if base.machine.reference != new.machine.reference:
        raise UsageError(
            f"measured against different reference workloads ({base.machine.reference}, "
            f"{new.machine.reference}): measure the base again with this edgecnn"
        )


def _check_host(base: BenchReport, new: BenchReport, any_host: bool) -> list[str]:
    if base.host.id == new.host.id:
        return []
    difference = f"different hosts: {base.host.short()} / {new.host.short()}"
    if not any_host:
        raise UsageError(f"{difference}. Their ratio is not a regression; --any-host shows it")
    return [difference]


def _check_models(base: BenchReport, new: BenchReport, any_model: bool) -> list[str]:
    sources = [{model.source_sha256 for model in report.models} for report in (base, new)]
    if sources[0] & sources[1]:
        return []
    names = [", ".join(model.name for model in report.models) for report in (base, new)]
    difference = f"different models: {names[0]} / {names[1]} (exported from different files)"
    if not any_model:
        hint = "If the new one replaces the base, --any-model compares them"
        raise UsageError(f"{difference}. {hint}")
    return [difference]


def _differences(base: BenchReport, new: BenchReport) -> list[str]:
    old, fresh = base.host.versions, new.host.versions
    names = sorted(old.keys() | fresh.keys())
    pairs = [(name, old.get(name, "absent"), fresh.get(name, "absent")) for name in names]
    for field in ("python", "kernel", "system"):
        pairs.append((field, getattr(base.host, field), getattr(new.host, field)))
    notes = [f"{name} {before} → {after}" for name, before, after in pairs if before != after]
    for report, name in ((base, "base"), (new, "new")):
        if report.partial:
            notes.append(f"the {name} run was interrupted; it has fewer rounds")
        for reason in report.machine.throttled:
            notes.append(f"the {name} run was throttled: {reason}")
        unverified = [row.key for row in report.rows if not row.verified]
        if unverified:
            notes.append(f"the {name} run has rows that failed their self-test: {unverified[0]}")
    return notes
