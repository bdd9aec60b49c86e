"""``edgecnn bench``: the cost of a bundle on this machine, and whether it has changed."""

import argparse
import json
import re
import shlex
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn.cli.flags import add_flags, read_flags
from edgecnn.cli.terminal_text import escape_markup
from edgecnn_bench.config import BenchConfig
from edgecnn_runtime.errors import EdgecnnError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgecnn_bench.progress import BenchProgress

EXAMPLE = """\
  edgecnn bench digits.edge                                 every engine here, a table
  edgecnn bench digits.edge --threads 1,2 --out now.json    write the numbers too
  edgecnn bench plates.edge --source clip.mp4               video decoding included
  edgecnn bench old.edge new.edge                           two bundles, interleaved
  edgecnn bench digits.edge --select                        choose what load() will use here
  edgecnn bench compare base.json now.json --fail-if 10%    exit code 3 if anything got slower
  edgecnn bench report *.json --out report.html             one page to look at
  edgecnn bench report now.json --markdown                  a table for a README"""
GROUPS = {
    "what": ("scopes", "source", "backends", "precisions", "artifacts", "threads", "batch",
             "checkpoint", "arch"),
    "how": ("seconds", "rounds", "warmup", "starts", "sustained", "seed", "unverified"),
}  # fmt: skip
INTERRUPTED = 130
TOO_SLOW = 3
"""Exit code of a comparison that found a row too slow, as of a verification that failed."""

SELECT = ("backends", "precisions", "artifacts", "threads", "batch", "seconds", "warmup", "seed",
          "select", "cache_dir")  # fmt: skip
COMPARE = ("fail_if", "any_host", "any_model")
REPORT = ("markdown",)
SWITCH: dict[str, Any] = {"action": "store_true", "default": None}
"""None where a switch was not given, as for every other flag of this command."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``edgecnn bench``, ``bench compare`` and ``bench report``."""
    parser.usage = (
        "edgecnn bench BUNDLE… [flags]\n"
        "       edgecnn bench BUNDLE --select [--cache-dir DIR]\n"
        "       edgecnn bench compare BASE.json NEW.json [--fail-if 10%%]\n"
        "       edgecnn bench compare RUN.json     (of two bundles)\n"
        "       edgecnn bench report FILE.json… [--out report.html | --markdown]"
    )
    parser.add_argument(
        "words", nargs="+", metavar="BUNDLE", help="bundles to time; or compare, report and files"
    )
    add_flags(parser, BenchConfig, groups=GROUPS)
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print JSON instead of tables")
    about = "also write it to FILE.json, report.html or FILE.md"
    output.add_argument("--out", type=Path, help=about)

    select = parser.add_argument_group("bench --select")
    about = "measure which candidate is fastest here; load() and `edgecnn run` then use it"
    select.add_argument("--select", **SWITCH, help=about)
    about = "where the choice is stored (default: the user's or service's state folder)"
    select.add_argument("--cache-dir", type=Path, metavar="DIR", help=about)

    compare = parser.add_argument_group("bench compare")
    about = "exit code 3 if a row got that much slower"
    compare.add_argument("--fail-if", type=_share, metavar="10%", help=about)
    compare.add_argument("--any-host", **SWITCH, help="compare across machines")
    compare.add_argument("--any-model", **SWITCH, help="compare different models")

    report = parser.add_argument_group("bench report")
    report.add_argument("--markdown", **SWITCH, help="Markdown instead of a page")


def run(args: argparse.Namespace) -> int:
    """Measure, compare or draw, by the first word."""
    verb, files = args.words[0], args.words[1:]
    if verb == "compare":
        _only(args, "bench compare", COMPARE)
        return _compare(args, files)
    if verb == "report":
        _only(args, "bench report", REPORT)
        return _report(args, files)
    if args.select:
        _only(args, "bench BUNDLE --select", SELECT)
        return _select(args)
    _only(args, "bench BUNDLE", BenchConfig.__struct_fields__)
    return _measure(args)


def _select(args: argparse.Namespace) -> int:
    from rich.console import Console

    from edgecnn_bench.autotune import select
    from edgecnn_bench.results import as_json, write_json
    from edgecnn_bench.selection_table import selection_table
    from edgecnn_runtime.device.cache import default_cache_dir

    if len(args.words) != 1:
        raise UsageError("--select takes one bundle")
    _check_out(args.out, ".json")
    cache = args.cache_dir or default_cache_dir()
    config = read_flags(args, BenchConfig)
    with progress_bar() as progress:
        selection = select(args.words[0], config, cache, command=_command(), progress=progress)
    if args.json:
        print(as_json(selection), end="")
    else:
        Console(emoji=False).print(selection_table(selection))
    if args.out:  # after printing: a full disk must not lose the measurement
        write_json(args.out, selection)
    if not selection.stored:
        print(f"not stored: {cache} cannot be written; name another --cache-dir", file=sys.stderr)
        return EdgecnnError.exit_code
    return 0


def _measure(args: argparse.Namespace) -> int:
    from rich.console import Console

    from edgecnn_bench.bench import bench
    from edgecnn_bench.compare import compare_models
    from edgecnn_bench.results import as_json
    from edgecnn_bench.schema import write_report
    from edgecnn_bench.table import comparison_table, report_table

    _check_out(args.out, ".json")
    config = read_flags(args, BenchConfig)
    with progress_bar() as progress:
        report = bench(args.words, config, command=_command(), progress=progress)
    if args.json:
        print(as_json(report), end="")
    else:
        console = Console(emoji=False)
        console.print(report_table(report, width=console.width), crop=False)
        if pair := compare_models(report):
            base, new = (model.name for model in report.models)
            heading = f"\n[bold]{escape_markup(new)}[/] against {escape_markup(base)}"
            console.print(heading, comparison_table(pair), sep="\n")
    if args.out:  # after printing: a full disk must not lose the measurement
        write_report(args.out, report)
    return INTERRUPTED if report.partial else 0


def _compare(args: argparse.Namespace, files: list[str]) -> int:
    from rich.console import Console

    from edgecnn_bench.compare import compare, compare_models
    from edgecnn_bench.results import as_json, write_json
    from edgecnn_bench.schema import read_report
    from edgecnn_bench.table import comparison_table

    _check_out(args.out, ".json")
    if len(files) not in {1, 2}:
        raise UsageError("edgecnn bench compare BASE.json NEW.json, or one file of two bundles")
    reports = [read_report(Path(file)) for file in files]
    if len(reports) == 2:
        comparison = compare(*reports, any_host=bool(args.any_host), any_model=bool(args.any_model))
    elif pair := compare_models(reports[0]):
        comparison = pair
    else:
        raise UsageError(
            f"{files[0]} holds no two bundles with a row in common: "
            "edgecnn bench BASE.edge NEW.edge --out run.json writes one that does"
        )
    if args.out:
        write_json(args.out, comparison)
    if args.json:
        print(as_json(comparison), end="")
    else:
        Console(emoji=False).print(comparison_table(comparison))
    slower = comparison.worse(args.fail_if) if args.fail_if is not None else []
    for change in slower:
        print(f"slower by {change.ratio.value - 1:.1%}: {change.key}", file=sys.stderr)
    return TOO_SLOW if slower else 0


def _report(args: argparse.Namespace, files: list[str]) -> int:
    from edgecnn_bench.markdown import markdown
    from edgecnn_bench.report import html_page
    from edgecnn_bench.results import write_whole
    from edgecnn_bench.schema import read_report

    if not files:
        raise UsageError("edgecnn bench report FILE.json…: name what `edgecnn bench --out` wrote")
    reports = [read_report(Path(file)) for file in files]
    if args.markdown or (args.out and args.out.suffix == ".md"):
        text = markdown(reports)
        if not args.out:
            print(text, end="")
            return 0
    else:
        _check_out(args.out, ".html")
        text = html_page(reports)
    out = args.out or Path("report.html")
    write_whole(out, text.encode())
    if args.json:
        print(json.dumps({"written": str(out), "bytes": len(text.encode())}))
    else:
        print(f"wrote {out}")
    return 0


def _only(args: argparse.Namespace, verb: str, allowed: tuple[str, ...]) -> None:
    """Refuse flags that this verb would ignore."""
    own = {*allowed, "words", "json", "out", "run", "command"}
    given = [name for name, value in vars(args).items() if value is not None and name not in own]
    if given:
        raise UsageError(f"--{given[0].replace('_', '-')} means nothing to `edgecnn {verb}`")


def _share(text: str) -> float:
    """10% or 0.1 → 0.1."""
    number = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text.strip())
    if not number:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 10% or 0.1")
    return float(number[1]) / (100 if number[2] else 1)


def _check_out(out: Path | None, suffix: str) -> None:
    if out is not None and out.suffix != suffix:
        raise UsageError(f"--out {out}: this writes {suffix[1:].upper()}, name it *{suffix}")


def _command() -> str:
    return shlex.join(["edgecnn", *sys.argv[1:]])


@contextmanager
def progress_bar() -> "Iterator[BenchProgress]":
    """One bar on stderr, renamed from phase to phase."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:12}", markup=False), BarColumn(),
        TextColumn("{task.percentage:3.0f} %"), TimeRemainingColumn(compact=True),
    )  # fmt: skip
    with Progress(*columns, console=Console(emoji=False, stderr=True), transient=True) as bar:
        task = bar.add_task("", visible=False)
        name = ""

        def show(phase: str, done: float, total: float, /) -> None:
            nonlocal name
            if phase != name:
                name = phase
                bar.reset(task, total=total, description=phase, visible=True)
            bar.update(task, completed=done, total=total)

        yield show
