"""A report as Markdown, for a README: a table per scope, the host and the command below it."""

from collections.abc import Sequence

from edgecnn_bench.schema import BenchReport, BenchRow
from edgecnn_bench.table import CELLS, SCOPES, WORDS, row_groups, used_columns


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
    names = [name for name in used_columns(rows) if name != "cores"]
    head = [*names, "against fastest"]
    lines = [_line(head), _line(["---", "---"] + ["---:"] * (len(head) - 2))]
    for row in rows:
        cells = {name: CELLS[name](row) for name in names}
        cells["p50 ms"] = f"**{cells['p50 ms']}**"
        lines.append(_line([*cells.values(), _standing(row)]))
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
