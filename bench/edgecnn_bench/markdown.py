"""A report as Markdown, for a README: a table per scope, the host and the command below it."""

from collections.abc import Sequence

from edgecnn_bench.schema import BenchReport, BenchRow
from edgecnn_bench.table import SCOPES, WORDS, milliseconds, number, row_groups


def markdown(reports: Sequence[BenchReport]) -> str:
    """Every report in turn; ends with a newline."""
    return "\n".join(_one(report) for report in reports)


def _one(report: BenchReport) -> str:
    lines = []
    for model, scope, rows in row_groups(report):
        frames = "" if scope == "engine" else f", {report.settings.frame}"
        heading = f"**{model.name}** {model.input}, {SCOPES[scope]}{frames}"
        lines += [heading, "", *_table(rows), ""]
    for run in report.sustained:
        ratio = run.last_over_first.value
        lines += [
            f"Sustained {run.minutes:g} min, {run.key}: last minute {ratio:.2f} × the first.",
            "",
        ]
    lines += [f"> {remark}" for remark in report.remarks] + ([""] if report.remarks else [])
    engines = dict.fromkeys(f"{row.backend} {row.version}" for row in report.rows)
    lines += [
        f"{report.host.short()}; {', '.join(engines)}; {report.created[:10]}. `{report.command}`"
    ]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[BenchRow]) -> list[str]:
    energy = any(row.energy for row in rows)
    cold = any(row.cold for row in rows)
    head = [
        "artifact",
        "backend",
        "threads",
        "batch",
        "p50 ms",
        "p95",
        "p99",
        "fps",
        "against fastest",
    ]
    head += [*(["start s", "MiB"] if cold else []), *(["mJ/frame"] if energy else [])]
    aligned = ["---", "---"] + ["---:"] * (len(head) - 2)
    lines = [_line(head), _line(aligned)]
    for row in rows:
        cells = [row.artifact, f"{row.backend} {row.precision}", str(row.threads), str(row.batch)]
        cells += [f"**{milliseconds(row.latency.p50.value)}**"]
        cells += [milliseconds(q.value) for q in (row.latency.p95, row.latency.p99)]
        cells += [number(row.fps), _standing(row)]
        if cold:
            cells += [f"{row.cold.seconds:.2f}" if row.cold else ""]
            cells += [f"{row.memory.resident_mib:.0f}" if row.memory else ""]
        if energy:
            cells += [f"{1000 * row.energy.joules_per_frame:.1f}" if row.energy else ""]
        lines.append(_line(cells))
    return lines


def _standing(row: BenchRow) -> str:
    if not row.verified:
        return "**failed self-test**"
    if row.standing is None:
        return ""
    if row.standing.verdict == "slower":
        return f"{row.standing.ratio.value:.2f} ×"
    return WORDS[row.standing.verdict]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
