"""``edgecnn verify``: does this bundle do here what it did where it was made?"""

import argparse
import json
from typing import TYPE_CHECKING, Any

from edgecnn.cli.tables import plain_table
from edgecnn.cli.terminal_text import escape_markup
from edgecnn.cli.verify_transform import print_drift, run_transform
from edgecnn_runtime.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from edgecnn_export.transform_check import Drift
    from edgecnn_runtime.bundle.bundle import Bundle
    from edgecnn_runtime.types import Pixels
    from edgecnn_runtime.verification.verify import BackendCheck

EXAMPLE = """\
  edgecnn verify plate-reader.edge
      replay the golden pictures on every engine installed here
  edgecnn verify plate-reader.edge --images photos/ --count 200
      also compare the engines with each other on your pictures
  edgecnn verify plate-reader.edge --precision all --json
      also verify the reduced precisions; JSON for a script
  edgecnn verify plate-reader.edge --transform mytrain:transform --images photos/
      does the network get what it was trained on? mytrain.py in this folder contains
      def transform(path): return tf(Image.open(path).convert("RGB"))

The exit code is 3 if an engine does not reproduce the model, or if the transform differs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``edgecnn verify``."""
    flag = parser.add_argument
    flag("bundle", metavar="BUNDLE", help="a folder that `edgecnn export` wrote")
    flag("--images", metavar="DIR", help="pictures to compare the engines on")
    about = "pictures of DIR at most (default: 64)"
    flag("--count", type=int, default=64, metavar="N", help=about)
    flag("--backend", default="", metavar="NAME", help="verify this engine only")
    about = "f32, bf16 … or all (default: each engine's most exact one)"
    flag("--precision", default="", help=about)
    about = "compare the bundle with this training transform (picture's path → tensor)"
    flag("--transform", metavar="PKG.MOD:NAME", help=about)
    about = "gray levels by which the transform may differ in the median picture (default: 6)"
    flag("--max-drift", type=float, metavar="LEVELS", help=about)
    flag("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Print a verdict on each artifact and engine; exit code 3 when one failed."""
    from edgecnn_runtime.bundle.bundle import open_bundle
    from edgecnn_runtime.selection.candidates import candidates
    from edgecnn_runtime.verification.verify import verify_bundle

    if args.count < 1:
        raise UsageError("--count is at least 1")
    if args.max_drift is not None and not (args.transform and args.max_drift >= 0):
        raise UsageError("--max-drift is at least 0, and goes with --transform")
    frames: list[Pixels] = []
    if args.images:
        from edgecnn_export.verification.images import list_pictures, read_pictures

        pictures = read_pictures(args.images, list_pictures(args.images), args.count)
        frames = list(pictures.frames) if pictures else []
    bundle = open_bundle(args.bundle)
    if args.transform:
        from edgecnn_export.transform_check import load_transform

        load_transform(args.transform)  # an error in it is reported before anything takes time
    ways = candidates(bundle, backend=args.backend, precision=args.precision)
    verdicts = verify_bundle(bundle, ways, frames)
    drift = run_transform(args, bundle) if args.transform else None
    passed = all(verdict.passed for verdict in verdicts) and (drift is None or drift.passed)
    if args.json:
        print(json.dumps(_as_json(args.bundle, bundle, verdicts, drift)))
    else:
        _print(verdicts, len(frames))
        if not (args.backend or args.precision):
            _print_untried(bundle, verdicts)
        if drift is not None:
            print_drift(drift)
    return 0 if passed else VerificationError.exit_code


def _as_json(
    path: str, bundle: "Bundle", verdicts: "list[BackendCheck]", drift: "Drift | None"
) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = {
        "bundle": path,
        "digest": bundle.digest,
        "verdicts": [msgspec.to_builtins(v) | {"passed": v.passed} for v in verdicts],
    }
    if drift is not None:
        plain["transform"] = msgspec.to_builtins(drift) | {"passed": drift.passed}
    return plain


def _print(verdicts: "list[BackendCheck]", pictures: int) -> None:
    from rich.console import Console

    from edgecnn_runtime.bundle.manifest import artifact_name

    console = Console(emoji=False)
    compared = (f"{pictures} more", "agree") if pictures else ()
    headings = ("golden dB", "needs", "agree", *compared)
    table = plain_table("", "artifact", "engine", numbers=headings)
    for verdict in verdicts:
        mark = "[green]✓[/]" if verdict.passed else "[red]✗[/]"
        cells = [*_golden(verdict), *(_compared(verdict) if pictures else [])]
        table.add_row(mark, artifact_name(verdict.artifact), verdict.engine, *cells)
    console.print(table)
    for verdict in verdicts:
        if verdict.problem:
            words = f"{verdict.artifact} on {verdict.engine}: {verdict.problem}"
            console.print(f"[red]FAILED[/] {escape_markup(words)}", highlight=False)
    if all(verdict.passed for verdict in verdicts):
        console.print(f"verified: {len(verdicts)} of {len(verdicts)} reproduce the model here")


def _print_untried(bundle: "Bundle", verdicts: "list[BackendCheck]") -> None:
    """What nothing here can say anything about."""
    from rich.console import Console

    tried = {verdict.artifact for verdict in verdicts}
    files = [a.file for a in bundle.manifest.artifacts if a.file not in tried]
    if files:
        words = f"not tried: {escape_markup(', '.join(files))}, for engines that are not here"
        Console(emoji=False).print(words)


def _golden(verdict: "BackendCheck") -> list[str]:
    from edgecnn_runtime.parity import percent_text

    test = verdict.selftest
    if test is None:
        return ["", "", ""]
    name = min(test.required_db, key=lambda name: test.snr_db[name] - test.required_db[name])
    return [
        f"{test.snr_db[name]:.1f}",
        f"{test.required_db[name]:.1f}",
        percent_text(test.agreement),
    ]


def _compared(verdict: "BackendCheck") -> list[str]:
    from edgecnn_runtime.parity import percent_text

    comparison = verdict.comparison
    if comparison is None:
        return ["reference" if verdict.passed else "", ""]
    worst = min(comparison.parity.values(), key=lambda parity: parity.snr_db)
    return [f"{worst.snr_db:.1f}", percent_text(comparison.agreement)]
