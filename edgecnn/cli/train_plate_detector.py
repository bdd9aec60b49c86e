"""``edgecnn train plate-detector``: rendered scenes → a checkpoint that finds license plates."""

import argparse
from typing import TYPE_CHECKING

from edgecnn.cli.flags import add_flags, read_flags
from edgecnn.cli.tables import plain_table
from edgecnn.cli.terminal_text import escape_markup
from edgecnn.cli.training_display import StepDisplay
from edgecnn.train.plates.detector_config import DetectorConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from edgecnn.train.plates.scenes_photographs import RegionScore

EXAMPLE = """\
  sudo apt-get install gnome-backgrounds mate-backgrounds plasma-workspace-wallpapers
  edgecnn train plate-detector --out plates.pt
      hours on one core; the same line goes on where an earlier one was interrupted
  edgecnn train plate-detector --out plates.pt --photographs cars/
      and measures on cars/labels.tsv afterwards
  edgecnn export plates.pt"""
GROUPS = {
    "scenes": ("backgrounds", "fonts", "width", "height", "batch", "fresh", "seed"),
    "training": ("steps", "lr", "init_from", "device", "threads", "save_every"),
    "measurement": ("photographs",),
    "output": ("out",),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``edgecnn train plate-detector``."""
    add_flags(parser, DetectorConfig, groups=GROUPS)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    """Train, and print what the network finds in photographs."""
    from rich.console import Console

    config = read_flags(args, DetectorConfig)
    from edgecnn.train.plates.detector import train_detector  # with torch, which takes seconds

    display = Display(Console(emoji=False, stderr=True))
    with display.bar:
        scores = train_detector(config, display)
    if args.json:
        import dataclasses
        import json

        regions = [dataclasses.asdict(score) for score in scores]
        print(json.dumps({"checkpoint": config.out, "regions": regions}, indent=2))
        return 0
    console = Console(emoji=False)
    if scores:
        console.print(_table(scores))
    path = escape_markup(config.out)
    console.print(f"[bold]{path}[/]\nnext: edgecnn export {path}", highlight=False, soft_wrap=True)
    return 0


class Display:
    """A training's ``DetectorCallbacks``."""

    def __init__(self, console: "Console") -> None:
        self._steps = StepDisplay(console, every=100)
        self.bar, self.step = self._steps.bar, self._steps.step

    def reading(self, photographs: int) -> None:
        """Say how many photographs are behind the scenes."""
        console = self._steps.console
        if not photographs:
            console.print(
                "[yellow]no photographs behind the scenes:[/] --backgrounds DIR, or install some "
                "(`edgecnn train plate-detector --help` has the packages)"
            )
        console.print(f"{photographs} photographs are behind the scenes", highlight=False)


def _table(scores: "Sequence[RegionScore]") -> "Table":
    headings = ("photographs", "plates found", "share", "95 % interval", "other detections")
    table = plain_table("region", numbers=headings, title="\nin photographs")
    for score in scores:
        table.add_row(
            escape_markup(score.region),
            f"{score.count}",
            f"{score.found}",
            f"{score.found / score.count:.1%}",
            f"{score.low:.1%} to {score.high:.1%}",
            f"{score.others / score.count:.2f} a photograph",
        )
    return table
