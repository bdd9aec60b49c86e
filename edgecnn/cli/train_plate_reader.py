"""``edgecnn train plate-reader``: rendered plates → a checkpoint that reads license plates."""

import argparse
from typing import TYPE_CHECKING

from edgecnn.cli.flags import add_flags, read_flags
from edgecnn.cli.tables import plain_table
from edgecnn.cli.terminal_text import escape_markup
from edgecnn.cli.training_display import StepDisplay
from edgecnn.train.plates.reader_config import ReaderConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from edgecnn.train.plates.readings import GroupScore

EXAMPLE = """\
  edgecnn train plate-reader --out reader.pt
      hours on one core; the same line goes on where an earlier one was interrupted
  edgecnn train plate-reader --out mine.pt --init-from reader.pt --data crops.csv --steps 2000
      your own plates (file, text) beside rendered ones
  edgecnn train plate-reader --out reader.pt --photographs cars/labels.csv
      and measures on photographs that it never trains on
  edgecnn export reader.pt"""
GROUPS = {
    "plates": ("countries", "grammars", "fonts", "data", "share", "batch", "fresh", "pool", "seed"),
    "training": ("steps", "lr", "init_from", "device", "threads", "save_every"),
    "measurement": ("photographs", "measure_every"),
    "output": ("out",),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``edgecnn train plate-reader``."""
    add_flags(parser, ReaderConfig, groups=GROUPS)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    """Train, and print how many plates in photographs are read."""
    from rich.console import Console

    config = read_flags(args, ReaderConfig)
    from edgecnn.train.plates.reader import train_reader  # with torch, which takes seconds

    display = Display(Console(emoji=False, stderr=True))
    with display.bar:
        scores = train_reader(config, display)
    if args.json:
        import dataclasses
        import json

        groups = [dataclasses.asdict(score) for score in scores]
        print(json.dumps({"checkpoint": config.out, "groups": groups}, indent=2))
        return 0
    console = Console(emoji=False)
    if scores:
        console.print(_table(scores))
    path = escape_markup(config.out)
    console.print(f"[bold]{path}[/]\nnext: edgecnn export {path}", highlight=False, soft_wrap=True)
    return 0


class Display:
    """A training's ``ReaderCallbacks``."""

    def __init__(self, console: "Console") -> None:
        self._steps = StepDisplay(console, every=500)
        self.bar, self.step = self._steps.bar, self._steps.step

    def measured(self, done: int, scores: "Sequence[GroupScore]") -> None:
        """Print how many plates are read."""
        if scores:
            parts = (f"{escape_markup(s.group)} {s.right}/{s.count}" for s in scores)
            line = f"step {done:6d}  read: {', '.join(parts)}"
            self._steps.console.print(line, highlight=False)


def _table(scores: "Sequence[GroupScore]") -> "Table":
    headings = ("plates", "read", "share", "95 % interval", "to the letter", "score > 0.9", "right")
    table = plain_table("folder", numbers=headings, title="\nin photographs (O = 0, I = 1)")
    for score in scores:
        table.add_row(
            escape_markup(score.group),
            f"{score.count}",
            f"{score.right}",
            f"{score.right / score.count:.1%}",
            f"{score.low:.1%} to {score.high:.1%}",
            f"{score.strict}",
            f"{score.sure}",
            f"{score.sure_right}",
        )
    return table
