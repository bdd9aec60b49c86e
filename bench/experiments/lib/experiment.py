"""An experiment: what a script measures, and the one way all of them are run, shown and written.

A script says what its rows are and ends with

    sys.exit(main(__doc__, Experiment(name="int8_timm", title=…, measure=measure, columns=…)))

The baselines in ``bench/baselines`` run through the same functions.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgecnn_bench.results import RESULTS, write_result
from lib.fetch import CACHE
from lib.material import ASSETS

Row: TypeAlias = dict[str, Any]
Cell: TypeAlias = str | Callable[[Row], str]
"""A format string for the row's values, or a function of the row."""

LIMIT_COLUMNS: Mapping[str, Cell] = {
    "": "{what}",
    "measured": "{value:.3g} {unit}",
    "goal": "≤ {goal:g} {unit}",
}
"""For rows that hold a ``value`` and the ``goal`` it may not exceed, in the same ``unit``."""


class Options(argparse.Namespace):
    """The command line of a script.

    Attributes:
        names: Rows to measure.
        quick: A short try, whose results are printed and not written.
        cache: Folder for downloads and for what is made of them.
        out: Folder for the result file.
    """

    names: list[str]
    quick: bool
    cache: Path
    out: Path


def within_limit(row: Row) -> bool:
    """Whether the row's value does not exceed its goal."""
    return bool(row["value"] <= row["goal"])


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What one script measures.

    Attributes:
        name: Name of the result file in ``bench/results``.
        title: Title of the printed table.
        measure: Yields the rows of ``options.names``; a row holds JSON values or NumPy arrays.
        reached: Whether a row is as good as it should be; the answer is stored in the row.
        columns: Heading to cell, for the printed table.
        names: Names of all rows, to choose from on the command line; empty if rows have none.
        facts: What is written beside the rows, the goal for example.
        notes: Lines to print below the table.
        needs_assets: Whether it needs the test material beside the checkout.
    """

    name: str
    title: str
    measure: Callable[[Options], Iterable[Row]]
    reached: Callable[[Row], bool] = within_limit
    columns: Mapping[str, Cell] = field(default_factory=lambda: LIMIT_COLUMNS)
    names: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: Callable[[Sequence[Row]], Iterable[str]] = lambda _rows: ()
    needs_assets: bool = True


def main(doc: str | None, experiment: Experiment) -> int:
    """Run an experiment as the command line asks; the exit code: 0 if every row is reached."""
    options = parse_options(doc, experiment.names)
    return 0 if run(experiment, options) else 1


def parse_options(doc: str | None, names: Sequence[str]) -> Options:
    """Parse the command line of a script whose rows have these names."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = ", ".join(names)
    if names:
        parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these rows of {known}")
    parser.add_argument("--quick", action="store_true", help="a short try; nothing is written")
    for flag, folder, content in (("--cache", CACHE, "downloads"), ("--out", RESULTS, "results")):
        explanation = f"folder for {content} (default: {folder})"
        parser.add_argument(flag, type=Path, default=folder, metavar="DIR", help=explanation)
    options = parser.parse_args(namespace=Options(names=[]))
    if unknown := sorted(set(options.names) - set(names)):
        parser.error(f"no such row: {', '.join(unknown)}; there are {known}")
    options.names = options.names or list(names)
    return options


def run(experiment: Experiment, options: Options) -> bool:
    """Measure, print the table, and write the result if all rows were measured in full.

    Returns:
        Whether every row is reached; also where the test material is absent and nothing ran.
    """
    if experiment.needs_assets and not ASSETS.is_dir():
        print(f"{experiment.name}: skipped, it needs the test material in {ASSETS}")
        return True
    table = Table(title=experiment.title, title_justify="left", box=box.SIMPLE_HEAD)
    for number, heading in enumerate([*experiment.columns, "missed"]):
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    rows = []
    for row in experiment.measure(options):
        row["reached"] = experiment.reached(row)
        rows.append(row)
        cells = [_cell(cell, row) for cell in experiment.columns.values()]
        table.add_row(*cells, "" if row["reached"] else Text("MISSED", style="bold red"))
        print(" · ".join(cells), file=sys.stderr, flush=True)
    Console(highlight=False, markup=False).print(table, *experiment.notes(rows), sep="\n")
    reached = all(row["reached"] for row in rows)
    if not options.quick and set(experiment.names) <= set(options.names):
        data = {**experiment.facts, "rows": rows, "reached": reached}
        write_result(experiment.name, data, options.out)
    return reached


def _cell(cell: Cell, row: Row) -> str:
    return cell.format_map(row) if isinstance(cell, str) else cell(row)
