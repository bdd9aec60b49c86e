"""report.html: one self-contained page of one or many reports, light and dark, no network."""

from collections.abc import Iterator, Sequence

from edgecnn_bench import charts, charts_rounds
from edgecnn_bench.page import render_page
from edgecnn_bench.schema import BenchReport
from edgecnn_bench.table import SCOPES, left_out, milliseconds, number, row_groups


def html_page(reports: Sequence[BenchReport]) -> str:
    """The whole page.

    Args:
        reports: At least one; several are compared first, then shown in turn.

    Returns:
        HTML that loads nothing from elsewhere.
    """
    names = dict.fromkeys(model.name for report in reports for model in report.models)
    several_hosts = len({report.host.id for report in reports}) > 1
    return render_page(
        "edgecnn_bench",
        "report.html",
        title=", ".join(names),
        reports=reports,
        hosts_chart=charts_rounds.hosts(reports) if several_hosts else "",
        scopes=SCOPES,
        charts=charts,
        charts_rounds=charts_rounds,
        row_groups=row_groups,
        tiles=_tiles,
        facts=_facts,
        left_out=left_out,
        milliseconds=milliseconds,
        number=number,
    )


def _tiles(report: BenchReport) -> Iterator[tuple[str, str, str]]:
    """The fastest row of each scope and the quickest start: value, meaning, details."""
    for scope, heading in SCOPES.items():
        best = next((row for row in report.rows if row.scope == scope and row.verified), None)
        if best:
            per_frame = milliseconds(best.latency.p50.value / best.batch)
            details = f"{number(best.fps)} fps · {best.artifact} on {best.backend}"
            yield f"{per_frame} ms", f"fastest, {heading}", details
    starts = [
        (row.cold.seconds, row.memory.resident_mib, f"{row.artifact} on {row.backend}")
        for row in report.rows
        if row.cold and row.memory and row.verified
    ]
    if starts:
        seconds, resident, name = min(starts, key=lambda start: start[0])
        details = f"{resident:.0f} MiB resident · {name}"
        yield f"{seconds:.2f} s", "process start to first result", details


def _facts(report: BenchReport) -> dict[str, str]:
    """What was measured on, by name; empty where it is unknown."""
    host, settings = report.host, report.settings
    return {
        "processor": f"{host.cpu}, {host.cores} cores, {host.affinity} usable, {host.arch}",
        "features": ", ".join(host.features),
        "board": host.board,
        "limits": "" if host.cpu_quota is None else f"{host.cpu_quota:g} cores by cgroup",
        "memory": f"{host.memory_mib:,} MiB",
        "accelerators": ", ".join(f"{gpu.name} {gpu.driver}".strip() for gpu in host.gpus),
        "power mode": ", ".join(word for word in (host.power_mode, host.governor) if word),
        "inside": ", ".join(word for word in (host.container, host.virtual) if word),
        "system": f"{host.system}, kernel {host.kernel}, Python {host.python}",
        "versions": ", ".join(f"{name} {version}" for name, version in host.versions.items()),
        "host id": host.id,
        "measured": f"{settings.seconds:g} s per row in {settings.rounds} rounds, "
        f"after {settings.warmup_seconds:g} s of warm-up",
        "models": ", ".join(f"{m.name} {m.input} ({m.digest[:12]})" for m in report.models),
        "command": report.command,
    }
