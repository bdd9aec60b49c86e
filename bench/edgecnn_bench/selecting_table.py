"""A selection for the terminal, as rich renderables."""

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from edgecnn_bench.autotune import Selection
from edgecnn_bench.table import milliseconds


def selection_table(selection: Selection) -> Group:
    """The chosen one first, how the others stand against it, what was left out."""
    measured = selection.measured
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("", "candidate"):
        table.add_column(name, no_wrap=True)
    for name in ("ms", "time", "99 %", "rounds"):
        table.add_column(name, justify="right", no_wrap=True)
    for place, standing in enumerate(measured.standings):
        table.add_row(
            "" if place else "→",
            standing.name,
            milliseconds(standing.milliseconds),
            f"{standing.ratio:.2f} ×",
            f"{standing.low:.2f} … {standing.high:.2f}",
            str(standing.rounds),
            style="" if place else "bold green",
        )
    chosen = measured.standings[0]
    parts: list[RenderableType] = [
        Text.assemble((selection.model, "bold"), f" on {selection.host.short()}"),
        "",
        table,
    ]
    if selection.left_out:
        parts.append("")
    for skipped in selection.left_out:
        parts.append(f"[yellow]left out[/] {escape(skipped.key)}: {escape(skipped.why)}")
    parts += ["", f"chosen: {escape(chosen.name)}, {escape(measured.reason(chosen))}"]
    return Group(*parts)
