"""A selection for the terminal, as rich renderables."""

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from edgecnn_bench.autotune import Selection
from edgecnn_bench.table import milliseconds


def selection_table(selection: Selection) -> Group:
    """The chosen candidate first, the others compared with it, and what was skipped."""
    record = selection.record
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True)
    table.add_column("candidate", overflow="fold")
    for name in ("ms", "time", "99 %", "rounds"):
        table.add_column(name, justify="right", no_wrap=True)
    for place, timing in enumerate(record.standings):
        table.add_row(
            "" if place else "→",
            escape(timing.name),
            milliseconds(timing.milliseconds),
            f"{timing.ratio:.2f} ×",
            f"{timing.low:.2f} … {timing.high:.2f}",
            str(timing.rounds),
            style="" if place else "bold green",
        )
    chosen = record.standings[0]
    parts: list[RenderableType] = [
        Text.assemble((selection.model, "bold"), f" on {selection.host.short()}"),
        "",
        table,
    ]
    if selection.skipped:
        parts.append("")
    for row in selection.skipped:
        parts.append(f"[yellow]left out[/] {escape(row.key)}: {escape(row.why)}")
    parts += ["", f"chosen: {escape(chosen.name)}, {escape(record.reason(chosen))}"]
    return Group(*parts)
