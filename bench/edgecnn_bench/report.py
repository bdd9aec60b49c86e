"""report.html: one self-contained page of one or many reports, light and dark, no network."""

from collections.abc import Sequence
from html import escape
from importlib import resources

from edgecnn_bench import charts
from edgecnn_bench import charts_rounds as charts_time
from edgecnn_bench.schema import BenchReport, BenchRow, Sustained
from edgecnn_bench.table import SCOPES, left_out, milliseconds, number


def html_page(reports: Sequence[BenchReport]) -> str:
    """The whole page. At least one report; several are compared first, then shown in turn."""
    names = list(dict.fromkeys(model.name for report in reports for model in report.models))
    folder = resources.files("edgecnn_bench")
    style = (folder / "report.css").read_text("utf-8")
    body = []
    if len({report.host.id for report in reports}) > 1 and (chart := charts_time.hosts(reports)):
        note = "p50 of the rows that more than one host has. Shorter is faster."
        body.append(_section("Hosts side by side", note, chart))
    for report in reports:
        body.append(_one(report, several=len(reports) > 1))
    title = escape(", ".join(names))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}: edgecnn bench</title>"
        f'<link rel="icon" href="data:,"><style>{style}</style></head>'
        f"<body><main><header><h1>{title}</h1>{TOGGLE}</header>{''.join(body)}</main></body></html>\n"
    )


TOGGLE = (
    '<button type="button" title="light or dark" onclick="const r=document.documentElement,'
    "d=getComputedStyle(r).colorScheme=='dark';r.dataset.theme=d?'light':'dark'\">◐</button>"
)


def _one(report: BenchReport, *, several: bool) -> str:
    parts = [_headline(report, several=several)]
    for model in report.models:
        for scope, heading in SCOPES.items():
            rows = [row for row in report.rows if (row.model, row.scope) == (model.name, scope)]
            if rows:
                prefix = f"{model.name}: " if len(report.models) > 1 else ""
                parts.append(_scope(report, rows, prefix + heading))
    for run in report.sustained:
        parts.append(_sustained_section(run))
    if len(report.machine.moments) > 1:
        note = (
            "Every row in every round, against its own median. A column of one color is the "
            "machine, a lone cell is that row."
        )
        parts.append(_section("Did the machine hold still?", note, charts_time.rounds(report)))
    parts += [_figures(report), _missing(report), _fingerprint(report)]
    return "".join(parts)


def _headline(report: BenchReport, *, several: bool) -> str:
    words = f"{report.host.short()} · {report.created[:16].replace('T', ' ')} UTC"
    heading = f"<h2 class=host>{escape(words)}</h2>" if several else f"<p>{escape(words)}</p>"
    remarks = "".join(
        f'<li class="{"bad" if "FAILED" in remark else "warn"}">{escape(remark)}</li>'
        for remark in report.remarks
    )
    return heading + _tiles(report) + (f"<ul class=remarks>{remarks}</ul>" if remarks else "")


def _tiles(report: BenchReport) -> str:
    tiles = []
    for scope, heading in SCOPES.items():
        best = next((row for row in report.rows if row.scope == scope and row.verified), None)
        if best:
            each = best.latency.p50.value / best.batch
            under = f"{number(best.fps)} fps · {best.artifact} on {best.backend}"
            tiles.append((f"{milliseconds(each)} ms", f"fastest, {heading}", under))
    started = [row for row in report.rows if row.cold and row.memory and row.verified]
    if started and (row := min(started, key=lambda row: row.cold.seconds if row.cold else 0)):
        assert row.cold is not None
        assert row.memory is not None
        under = f"{row.memory.resident_mib:.0f} MiB resident · {row.artifact} on {row.backend}"
        tiles.append((f"{row.cold.seconds:.2f} s", "process start to first result", under))
    return "".join([
        "<div class=tiles>",
        *(f"<div><b>{escape(a)}</b><span>{escape(b)}</span><small>{escape(c)}</small></div>"
          for a, b, c in tiles),
        "</div>",
    ])  # fmt: skip


def _scope(report: BenchReport, rows: Sequence[BenchRow], heading: str) -> str:
    frames = "" if rows[0].scope == "engine" else f" Frames: {report.settings.frame}."
    note = "Bars are p50 with its 95 % interval; the thin line reaches p95." + frames
    parts = [_section(heading.capitalize() if heading.islower() else heading, note,
                      charts.side_by_side(rows))]  # fmt: skip
    if any(row.stages_ms for row in rows):
        staged = [row for row in rows if row.stages_ms]
        note = "Medians, which need not add up. Outside the engine: preparing and decoding."
        parts.append(_section("Where a frame's time goes", note, charts.stages(staged), level=3))
    note = "Density of all runs; marks at p50, p95 and p99."
    parts.append(_section("Distribution", note, charts.distributions(rows), level=3))
    measured = [row for row in rows if row.accuracy and row.verified]
    if len({row.artifact for row in measured}) > 1:
        note = "Accuracy as measured at export. Nothing beats the rows on the line on both."
        parts.append(_section("Accuracy against latency", note, charts.frontier(measured), level=3))
    started = [row for row in rows if row.cold and row.memory]
    if started:
        note = "Fresh processes, files in the page cache; medians."
        parts.append(_section("Start and memory", note, charts.starts(started), level=3))
    powered = [row for row in rows if row.energy]
    if powered and powered[0].energy:
        note = f"Covers: {powered[0].energy.covers}, idle power included."
        parts.append(_section("Energy", note, charts_time.energy(powered), level=3))
    return "".join(parts)


def _sustained_section(run: Sustained) -> str:
    ratio = run.last_over_first
    words = f"{run.key}, {run.minutes:g} minutes without a pause. Line: p50; shade: up to p95. "
    words += f"Last minute over first: {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})."
    words += "".join(f" Held back: {reason}." for reason in run.throttled)
    return _section("Sustained", words, charts_time.sustained(run))


def _section(title: str, note: str, body: str, *, level: int = 2) -> str:
    return (
        f"<section><h{level}>{escape(title)}</h{level}><p class=note>{escape(note)}</p>"
        f"<div class=chart>{body}</div></section>"
    )


COLUMNS = ("scope", "artifact", "backend", "precision", "threads", "batch", "p50", "p90", "p95",
           "p99", "max", "jitter", "fps", "× reference", "cores")  # fmt: skip


def _figures(report: BenchReport) -> str:
    head = "".join(f"<th>{name}</th>" for name in COLUMNS)
    body = []
    for row in report.rows:
        values = row.latency
        cells = [row.scope, row.artifact, f"{row.backend} {row.version}", row.precision]
        cells += [str(row.threads), str(row.batch)]
        times = (values.p50.value, values.p90, values.p95.value, values.p99.value, values.max)
        cells += [milliseconds(value) for value in (*times, values.jitter)]
        cells += [number(row.fps), f"{row.relative.value:.2f}", f"{row.cpu_cores:.1f}"]
        style = "" if row.verified else " class=bad"
        body.append(f"<tr{style}>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    note = (
        "Milliseconds a run. Jitter: mean difference between consecutive runs. × reference: p50 "
        f"in units of the {report.machine.reference} workload of the same round "
        f"({report.machine.reference_ms:.2f} ms here). Cores: kept busy by the row."
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    return _section("All figures", note, table)


def _missing(report: BenchReport) -> str:
    lines = [
        f"<tr><td>{escape(a.backend)}</td><td>{escape(a.why)}</td>"
        f"<td><code>{escape(a.install)}</code></td></tr>"
        for a in report.absent
    ]
    lines += [
        f"<tr><td>left out</td><td colspan=2>{escape(keys)}: {escape(why)}</td></tr>"
        for why, keys in left_out(report).items()
    ]
    if not lines:
        return ""
    return _section("Not measured", "", f"<table class=text>{''.join(lines)}</table>")


def _fingerprint(report: BenchReport) -> str:
    host = report.host
    facts = {
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
        "measured": f"{report.settings.seconds:g} s a row in {report.settings.rounds} rounds, "
        f"after {report.settings.warmup_seconds:g} s of warm-up",
        "models": ", ".join(f"{m.name} {m.input} ({m.digest[:12]})" for m in report.models),
        "command": report.command,
    }
    lines = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>"
        for name, value in facts.items()
        if value
    )
    return _section("Measured on", "", f"<table class=text>{lines}</table>")
