"""``edgecnn verify --transform``: the differential test and its output."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgecnn.cli.tables import plain_table
from edgecnn.cli.terminal_text import escape_markup

if TYPE_CHECKING:
    from rich.console import Console

    from edgecnn_export.transform_check import Drift, ImageDrift
    from edgecnn_runtime.bundle.bundle import Bundle

SHOWN = 24
"""The most rows of the table: the pictures that drift most."""


def run_transform(args: argparse.Namespace, bundle: "Bundle") -> "Drift":
    """Run it, with a progress bar on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    from edgecnn_export.transform_check import LIMIT, compare_transform

    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}")
    with Progress(*columns, console=Console(emoji=False, stderr=True), transient=True) as progress:
        task = progress.add_task("transform", total=None)
        return compare_transform(
            bundle,
            args.transform,
            images=args.images or "",
            count=args.count,
            limit=LIMIT if args.max_drift is None else args.max_drift,
            backend=args.backend,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )


def print_drift(drift: "Drift") -> None:
    """Print a table of pictures, the explanation and the verdict."""
    from rich.console import Console

    console = Console(emoji=False)
    _print_table(drift, console)
    _print_problems(drift.pictures, console)
    for line in _notes(drift):
        console.print(escape_markup(line), highlight=False)
    for finding in drift.findings:
        console.print(f"[yellow]![/] {escape_markup(str(finding))}", highlight=False)
    if drift.random:
        console.print(
            f"[red]FAILED[/] {escape_markup(drift.transform)} is random: two calls with one "
            f"picture differ by {drift.random:.1f} gray levels. Give the transform for evaluation, "
            "which does not augment",
            highlight=False,
        )
    if drift.outputs is None:
        summary = "no picture could be compared"
    else:
        summary = f"the median picture drifts by {drift.typical:.1f} of {drift.limit:g} gray levels"
    word = "[green]verified[/]" if drift.passed else "[red]FAILED[/]"
    console.print(f"{word} {escape_markup(drift.transform)}: {summary}", highlight=False)


def _print_table(drift: "Drift", console: "Console") -> None:
    measured = [picture for picture in drift.pictures if not picture.problem]
    worst = sorted(measured, key=lambda picture: picture.mean)[-SHOWN:]
    table = plain_table("picture", numbers=("size", "mean drift", "largest", "same result"))
    for picture in measured:
        if picture not in worst:
            continue
        cells = [f"{picture.width}x{picture.height}", f"{picture.mean:.1f}", f"{picture.most:.0f}"]
        cells.append({None: "", True: "yes", False: "[red]no[/]"}[picture.same])
        style = "" if picture.ordinary else "dim"
        table.add_row(escape_markup(picture.name), *cells, style=style)
    if measured:
        console.print(table)
    if len(measured) > len(worst):
        console.print(f"and {len(measured) - len(worst)} pictures that drift less", style="dim")


def _print_problems(pictures: "Sequence[ImageDrift]", console: "Console") -> None:
    """One line per problem, with the pictures that have it."""
    names: dict[str, list[str]] = {}
    for each in pictures:
        if each.problem:
            names.setdefault(each.problem, []).append(f"{each.name} ({each.width}x{each.height})")
    for problem, affected in names.items():
        more = f" and {len(affected) - 3} more" if len(affected) > 3 else ""
        console.print(
            f"[red]✗[/] {escape_markup(', '.join(affected[:3]))}{more}: {escape_markup(problem)}",
            highlight=False,
        )


def _notes(drift: "Drift") -> list[str]:
    from edgecnn_runtime.parity import percent_text

    outputs = drift.outputs
    if outputs is None:
        return []
    name = min(outputs.parity, key=lambda key: outputs.parity[key].snr_db)
    lines = [
        f"outputs on {outputs.engine}: {outputs.parity[name].snr_db:.1f} dB on {name!r}, "
        f"{percent_text(outputs.agreement)} of the results equal"
    ]
    if outputs.rounded >= 0.01:
        lines.append(
            f"rounding the transform's tensor to bytes changed it by {outputs.rounded:.2f} gray "
            f"levels on average, which alone costs {outputs.rounding[name].snr_db:.1f} dB"
        )
    if outputs.clipped >= 0.01:
        lines.append(
            "values of the transform's tensor outside 0..255 were clipped, by "
            f"{outputs.clipped:.2f} gray levels on average"
        )
    return lines
