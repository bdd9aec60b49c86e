"""``edgecnn soak``: a site under faults."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.cli.tables import plain_table
from edgecnn_runtime.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from rich.console import Console

    from edgecnn_bench.soak.report import SoakReport

LONGEST = 10_080.0
"""Minutes of a soak at most: a week."""
EXAMPLE = """\
  edgecnn soak site.yaml --minutes 30                 every kind of fault, half an hour
  edgecnn soak site.yaml --clip street.mp4            real cameras of the site, played by a clip
  edgecnn soak site.yaml --faults stall,offline --minutes 2 --json

The daemon is a real one, with its state in a temporary folder and a webhook on loopback as its only
sink: no camera is opened and nobody is told. It exits with 3 if a limit was missed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``edgecnn soak``."""
    parser.add_argument("site", metavar="SITE.yaml", type=Path, help="what `edgecnn serve` takes")
    flag = parser.add_argument
    flag("--minutes", metavar="N", type=float, default=30.0, help="how long (default: 30)")
    about = "the video that is shown for cameras whose source is no video file"
    flag("--clip", metavar="VIDEO", type=Path, help=about)
    about = (
        "what goes wrong (default: all): stall, hang-up, offline, garbage, server, slow sink, "
        "sink down, full disk, clock"
    )
    flag("--faults", metavar="KIND,…", default="", help=about)
    about = "of the plan: the same seed gives the same faults (default: 1)"
    flag("--seed", metavar="N", type=int, default=1, help=about)
    about = "write what the daemon itself says to this file"
    flag("--log", metavar="FILE", type=Path, help=about)
    flag("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Soak, and print what was found; 0 where every limit holds."""
    from rich.console import Console

    from edgecnn_bench.results import as_json
    from edgecnn_bench.soak.faults import KINDS
    from edgecnn_bench.soak.soak import SoakConfig, soak
    from edgecnn_runtime.schema_errors import suggestion

    kinds = [word.strip() for word in args.faults.split(",")] if args.faults else list(KINDS)
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        hint = suggestion(unknown[0], KINDS)
        raise UsageError(f"--faults {unknown[0]}: there are {', '.join(KINDS)}{hint}")
    if not 0 < args.minutes <= LONGEST:
        raise UsageError(f"--minutes {args.minutes:g}: it is above 0, and {LONGEST:g} at most")
    config = SoakConfig(
        minutes=args.minutes, kinds=tuple(kind for kind in KINDS if kind in kinds),
        seed=args.seed, clip=args.clip, log=args.log,
    )  # fmt: skip
    stderr = Console(stderr=True, emoji=False, markup=False, highlight=False)
    with stderr.status("starting") as status:
        report = soak(args.site, config, status.update)
    if args.json:
        print(as_json(report), end="")
    else:
        _print(report, Console(emoji=False, highlight=False))
    return 0 if report.passed else VerificationError.exit_code


def _print(report: "SoakReport", console: "Console") -> None:
    faults = plain_table("fault", numbers=("times", "live again after"))
    for each in report.faults:
        recovery = f"{each.recovery:.1f} s" if each.count else each.why_not or "–"
        faults.add_row(each.kind, str(each.count), recovery)
    checks = plain_table("what", numbers=("measured", "limit", ""))
    for check in report.checks:
        limit = "" if check.limit is None else f"≤ {check.limit:g} {check.unit}"
        verdict = "" if check.passed else "[bold red]MISSED[/]"
        checks.add_row(check.what, f"{check.value:.3g} {check.unit}", limit, verdict)
    console.print(faults, checks, sep="\n")
    console.print(
        f"{report.cameras} cameras, {report.minutes:g} minutes, {report.reconnects:,} reconnects, "
        f"{report.events:,} events"
    )
