"""Reports and comparisons for the terminal, as rich renderables."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from edgecnn_bench.compare import ReportComparison
from edgecnn_bench.schema import BenchedModel, BenchReport, BenchRow, Scope, Sustained

SCOPES: dict[Scope, str] = {
    "engine": "engine only",
    "frame": "frame to result",
    "stream": "stream to result",
}
GAP = 2
"""Between two columns."""
LOOK: dict[str, Any] = {
    "box": None, "pad_edge": False, "padding": (0, GAP, 0, 0), "header_style": "dim"
}  # fmt: skip
BAR = 12
OPTIONAL = ("mJ/frame", "MiB", "start s", "cores", "fps", "p99", "p95")
"""Numbers that are left out of a table too wide for the terminal, the first one first."""
NAMES = ("artifact", "backend")
"""Columns that are folded where even that is not enough; a number is whole or not there."""


def row_groups(report: BenchReport) -> Iterator[tuple[BenchedModel, Scope, list[BenchRow]]]:
    """The rows by model and scope, without empty groups."""
    for model in report.models:
        for scope in SCOPES:
            rows = [row for row in report.rows if (row.model, row.scope) == (model.name, scope)]
            if rows:
                yield model, scope, rows


def report_table(report: BenchReport, *, width: int = 80) -> Group:
    """A report for the terminal.

    Args:
        report: What was measured.
        width: Columns of the terminal; the narrower it is, the fewer numbers are shown.

    Returns:
        Rows grouped by model and scope, then what is absent, then the remarks.
    """
    names = ", ".join(model.name for model in report.models)
    title = Text.assemble((names, "bold"), "  ", (report.host.short(), "dim"))
    if report.partial:
        title.append("  partial", style="bold yellow")
    parts: list[RenderableType] = [title]
    for _, _, rows in row_groups(report):
        parts += ["", _rows_table(report, rows, width)]
    parts += [_sustained_line(each) for each in report.sustained]
    parts += _footnotes(report)
    return Group(*parts)


def comparison_table(comparison: ReportComparison) -> Group:
    """One line per row: both times, the ratio's interval, the verdict."""
    table = Table("", **LOOK)
    for name in ("base", "new", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("interval", justify="right", no_wrap=True, style="dim")
    table.add_column("verdict", no_wrap=True)
    for change in comparison.changes:
        ratio = change.ratio
        table.add_row(
            escape(change.key),
            milliseconds(change.base_ms),
            milliseconds(change.new_ms),
            percent(ratio.value),
            f"{percent(ratio.low)} … {percent(ratio.high)}",
            Text(WORDS[change.verdict], style=STYLES[change.verdict]),
        )
    notes: list[RenderableType] = [Text(f"  {note}", style="yellow") for note in comparison.notes]
    notes += [Text(f"  only in the base: {key}", style="dim") for key in comparison.gone]
    notes += [Text(f"  only in the new: {key}", style="dim") for key in comparison.added]
    return Group(table, *([""] if notes else []), *notes)


WORDS = {
    "same": "same", "faster": "faster", "slower": "slower", "unclear": "too noisy to tell",
    "fastest": "fastest",
}  # fmt: skip
STYLES = {
    "same": "dim", "faster": "green", "slower": "red", "unclear": "yellow", "fastest": "bold green"
}  # fmt: skip


def milliseconds(value: float) -> str:
    """Three significant digits: 0.231, 4.07, 38.1, 412."""
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}"


def percent(ratio: float) -> str:
    """1.034 → +3.4 %."""
    return f"{100 * (ratio - 1):+.1f} %"


def number(value: float) -> str:
    """No decimals from 100 on, else one: 12,345 and 87.3."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _rows_table(report: BenchReport, rows: Sequence[BenchRow], width: int) -> Table:
    heading = SCOPES[rows[0].scope]
    if len(report.models) > 1:
        heading = f"{escape(rows[0].model)}, {heading}"
    if rows[0].scope != "engine" and report.settings.frame:
        heading += f", {escape(report.settings.frame)}"
    table = Table(title=heading, title_justify="left", title_style="bold", **LOOK)
    columns = _fitting_columns(rows, width)
    for name in columns:
        justify: Literal["left", "right"] = "left" if name in NAMES else "right"
        style, fixed = "bold" if name == "p50 ms" else "", name not in NAMES
        table.add_column(name, justify=justify, style=style, no_wrap=fixed, overflow="fold")
    roomy = _width(rows, columns) + BAR + GAP <= width
    extras = [_bar, _standing] if roomy else [_standing]
    for _ in extras:
        table.add_column("", no_wrap=True)
    longest = max(row.latency.p50.value / row.batch for row in rows)
    for row in rows:
        cells = [escape(CELLS[name](row)) for name in columns]
        table.add_row(*cells, *(extra(row, longest) for extra in extras))
    return table


def _fitting_columns(rows: Sequence[BenchRow], width: int) -> list[str]:
    """The columns in use, without as many of OPTIONAL as have no room."""
    columns = used_columns(rows)
    for name in OPTIONAL:
        if _width(rows, columns) <= width:
            break
        columns = [column for column in columns if column != name]
    return columns


def _width(rows: Sequence[BenchRow], columns: Sequence[str]) -> int:
    """How wide a table of these columns and the verdict is."""
    widths = [max(len(name), *(len(CELLS[name](row)) for row in rows)) for name in columns]
    return sum(widths) + GAP * len(columns) + max(len(_standing(row, 0.0)) for row in rows)


CELLS: Mapping[str, Callable[[BenchRow], str]] = {
    "artifact": lambda row: row.artifact,
    "backend": lambda row: f"{row.backend} {row.precision}",
    "threads": lambda row: str(row.threads),
    "batch": lambda row: str(row.batch),
    "p50 ms": lambda row: milliseconds(row.latency.p50.value),
    "p95": lambda row: milliseconds(row.latency.p95.value),
    "p99": lambda row: milliseconds(row.latency.p99.value),
    "fps": lambda row: number(row.fps),
    "cores": lambda row: f"{row.cpu_cores:.1f}",
    "start s": lambda row: f"{row.cold.seconds:.2f}" if row.cold else "",
    "MiB": lambda row: f"{row.memory.resident_mib:.0f}" if row.memory else "",
    "mJ/frame": lambda row: f"{1000 * row.energy.joules_per_frame:.1f}" if row.energy else "",
}
"""Heading to cell; a cell is empty where it was not measured."""


def used_columns(rows: Sequence[BenchRow]) -> list[str]:
    """The headings under which any row has a cell; ``batch`` only where one is not 1."""
    batched = any(row.batch != 1 for row in rows)
    return [
        name
        for name, cell in CELLS.items()
        if any(map(cell, rows)) and (name != "batch" or batched)
    ]


def left_out(report: BenchReport) -> dict[str, str]:
    """The rows that were skipped, by reason, without their threads and scopes."""
    reasons: dict[str, list[str]] = {}
    for skipped in report.skipped:
        engine = skipped.key.partition(": ")[2].partition(", ")[0]
        names = reasons.setdefault(skipped.why, [])
        names += [engine] if engine not in names else []
    return {why: " and ".join(names) for why, names in reasons.items()}


def _bar(row: BenchRow, longest: float) -> Text:
    """A line of up to BAR cells, in steps of half a cell."""
    share = row.latency.p50.value / row.batch / longest
    full, half = divmod(max(1, round(share * BAR * 2)), 2)
    return Text("━" * full + "╸" * half, style="cyan")


def _standing(row: BenchRow, _longest: float) -> Text:
    if not row.verified:
        return Text("FAILED", style="bold white on red")
    if row.standing is None:
        return Text("")
    word = row.standing.verdict
    if word == "slower":
        return Text(f"× {row.standing.ratio.value:.2f}", style="dim")
    short = {"same": "as fast", "unclear": "too noisy"}.get(word, WORDS[word])
    return Text(short, style=STYLES[word])


def _sustained_line(run: Sustained) -> Text:
    ratio = run.last_over_first
    steady = run.steady_seconds
    settled = "never settled" if steady is None else f"steady {steady:.0f} s in"
    throttled = f"; held back: {', '.join(run.throttled)}" if run.throttled else ""
    return Text.assemble(
        ("\nsustained ", "bold"),
        f"{run.key} for {run.minutes:g} min: last over first minute {percent(ratio.value)} "
        f"({percent(ratio.low)} … {percent(ratio.high)}), {settled}{throttled}",
    )


def _footnotes(report: BenchReport) -> Iterable[RenderableType]:
    if report.absent:
        yield from ("", Text("not measured", style="bold"))
    for each in report.absent:
        yield Text.assemble(f"{each.backend}  ", (each.why, "dim"))
        if each.install:  # whole, however narrow the terminal is: it is there to be copied
            yield Text(f"  {each.install}", style="cyan", no_wrap=True, overflow="ignore")
    for why, keys in left_out(report).items():
        yield Text(f"left out  {keys}: {why}", style="yellow")
    if report.remarks:
        yield Rule(style="dim")
    for remark in report.remarks:
        yield Text(remark, style="bold red" if "FAILED" in remark else "yellow")
