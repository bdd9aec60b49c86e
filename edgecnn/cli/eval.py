"""``edgecnn eval``: how accurate are a bundle's artifacts on labeled pictures, on this machine?"""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn.cli.tables import plain_table
from edgecnn.cli.terminal_text import escape_markup
from edgecnn_runtime.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from edgecnn_runtime.evaluation.dataset import LabeledSet
    from edgecnn_runtime.evaluation.metrics import Score
    from edgecnn_runtime.verification.accuracy import ArtifactScore

EXAMPLE = """\
  edgecnn eval digits.edge photos/
      photos/CLASS/picture.jpg: top-1 of every artifact, as a whole and class by class
  edgecnn eval digits.edge package/data
      MNIST's own files (t10k-images-idx3-ubyte.gz), or any other in their format
  edgecnn eval faces.edge boxes.csv --count 500
      mAP50; the table has file, x, y, w, h; 500 of its pictures, evenly spaced
  edgecnn eval people.edge annotations/person_keypoints_val2017.json --score 0.001
      OKS-mAP of a pose model on COCO, as it is published
  edgecnn eval plates.edge texts.csv --artifact int8-cpu --json
      exact match; the table has file and text; one artifact beside float, for a script"""
MAX_CLASSES = 20
"""Classes that the terminal shows; of more, those on which float is worst."""
MAX_BESIDE_INTERVAL = 4
"""Artifacts beside whose values an interval fits into 80 columns."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``edgecnn eval``."""
    flag = parser.add_argument
    flag("bundle", metavar="BUNDLE", help="a folder that `edgecnn export` wrote")
    about = "labeled pictures: class folders, YOLO texts, COCO JSON, masks, a table, or IDX files"
    flag("data", metavar="DATA", help=about)
    about = "this artifact beside float, e.g. int8-cpu (default: every one)"
    flag("--artifact", default="", metavar="NAME", help=about)
    about = "run on this engine (default: for each artifact the one that `run` would use)"
    flag("--backend", default="", metavar="NAME", help=about)
    flag("--threads", type=int, default=0, metavar="N", help="engine threads (default: every core)")
    about = "pictures at most, evenly spaced over DATA (default: all)"
    flag("--count", type=int, metavar="N", help=about)
    about = (
        "count what has this score at least, 0 to 1 (default: the bundle's threshold); published"
    )
    about += " mAP counts from 0.001 on"
    flag("--score", type=float, metavar="SCORE", help=about)
    flag("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    """Print each artifact's score, and class by class; 0 whatever they are."""
    from rich.console import Console

    from edgecnn_runtime.bundle.bundle import open_bundle
    from edgecnn_runtime.device.cache import default_cache_dir
    from edgecnn_runtime.evaluation.dataset import SourceLocation
    from edgecnn_runtime.model import with_score
    from edgecnn_runtime.selection.candidates import best_by_artifact
    from edgecnn_runtime.tasks import task_of
    from edgecnn_runtime.verification.accuracy import score_artifacts

    if args.count is not None and args.count < 1:
        raise UsageError(f"--count {args.count}: it is 1 or more")
    if args.threads < 0:
        raise UsageError(f"--threads {args.threads}: it is 1 or more")
    bundle = open_bundle(args.bundle)
    manifest = bundle.manifest
    spec = (manifest if args.score is None else with_score(manifest, args.score)).model
    labeled = task_of(spec).read_labels(SourceLocation(Path(args.data)), spec)
    if args.count:
        labeled = labeled.some(args.count)
    options = {"backend": args.backend, "artifact": args.artifact, "threads": args.threads}
    chosen, missing = best_by_artifact(bundle, default_cache_dir(), **options)
    with _progress() as bar:
        task = bar.add_task("", total=len(labeled.samples) * len(chosen))
        scores = []
        for each in score_artifacts(bundle, chosen, labeled, lambda: bar.advance(task), spec):
            scores.append(each)
    if args.json:
        print(json.dumps(_as_json(args, bundle.digest, labeled, scores, missing), indent=2))
    else:
        _print(labeled, scores, missing, Console(emoji=False, highlight=False))
    return 0


def _progress() -> "Progress":
    """A bar on stderr, with the time that is left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(emoji=False, stderr=True)
    columns = ("pictures", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)


def _print(
    labeled: "LabeledSet",
    scores: "Sequence[ArtifactScore]",
    missing: dict[str, str],
    console: "Console",
) -> None:
    from edgecnn_runtime.bundle.manifest import artifact_name

    known = [(each, each.score) for each in scores if each.score is not None]
    metric = known[0][1].metric if known else "score"
    others = list(known[0][1].others) if known else []
    numbers = (metric, "95 % interval", "to float", *others, "agree")
    table = plain_table("artifact", "engine", numbers=numbers)
    for each, score in known:
        cells = [artifact_name(each.candidate.artifact.file), each.candidate.engine]
        cells += [_percent(score.value, 2), _interval(score)]
        change = 100 * (score.value - known[0][1].value)
        cells += ["" if each.agreement is None else f"{change:+.2f}"]
        cells += [_percent(score.others[name]) for name in others]
        cells += ["" if each.agreement is None else f"{each.agreement:.1%}"]
        table.add_row(*cells)
    console.print(table)
    _print_classes([each for each, _ in known], console)
    console.print(
        f"{len(labeled.samples):,} pictures of {escape_markup(labeled.name)}, "
        f"{len(known)} of {len(scores) + len(missing)} artifacts; “to float” is in points"
    )
    if known and math.isnan(known[0][1].value):
        console.print("[yellow]![/] too few pictures to measure anything: take a larger --count")
    if known and known[0][1].value <= known[0][1].chance:
        console.print(
            f"[yellow]![/] no better than guessing, {known[0][1].chance:.1%}: do the labels mean "
            "the classes of the bundle? `edgecnn inspect` lists them"
        )
    for each in scores:
        if each.problem:
            name = artifact_name(each.candidate.artifact.file)
            console.print(f"[yellow]![/] {name}: {escape_markup(each.problem)}")
    for name, why in missing.items():
        console.print(f"not measured: {name}: {escape_markup(why)}")


def _print_classes(scores: "Sequence[ArtifactScore]", console: "Console") -> None:
    from edgecnn_runtime.bundle.manifest import artifact_name

    if not scores or not scores[0].classes:
        return
    first = scores[0].classes
    names = sorted(first, key=lambda name: first[name].value) if len(first) > MAX_CLASSES else first
    shown = list(names)[:MAX_CLASSES]
    columns = [artifact_name(each.candidate.artifact.file) for each in scores]
    interval = ["95 % interval"] if len(columns) <= MAX_BESIDE_INTERVAL else []
    metric = next(iter(first.values())).metric
    title = f"\n{metric} by class"
    if len(first) > len(shown):
        title += f", the {len(shown)} lowest of {len(first)}; --json has all"
    numbers = ("pictures", columns[0], *interval, *columns[1:])
    table = plain_table("class", numbers=numbers, title=title)
    for name in shown:
        score = first[name]
        cells = [escape_markup(name), f"{score.samples:,}", _percent(score.value)]
        cells += [_interval(score)] if interval else []
        others = [each.classes.get(name) for each in scores[1:]]
        cells += [_percent(other.value) if other else "" for other in others]
        table.add_row(*cells)
    console.print(table)


def _percent(value: float, digits: int = 1) -> str:
    return "none" if math.isnan(value) else f"{100 * value:.{digits}f} %"


def _interval(score: "Score") -> str:
    return f"{100 * score.low:.1f} … {100 * score.high:.1f}"


def _as_json(
    args: argparse.Namespace,
    digest: str,
    labeled: "LabeledSet",
    scores: "Sequence[ArtifactScore]",
    missing: dict[str, str],
) -> dict[str, Any]:
    results = [
        {
            "artifact": each.candidate.artifact.file,
            "engine": each.candidate.engine,
            "version": each.version,
            **(_plain(each.score) if each.score else {}),
            "agreement": each.agreement,
            "problem": each.problem,
            "classes": {name: _plain(score) for name, score in each.classes.items()},
        }
        for each in scores
    ]
    return {
        "bundle": args.bundle,
        "digest": digest,
        "data": str(labeled.source.path),
        "pictures": len(labeled.samples),
        "results": results,
        "not_measured": missing,
    }


def _plain(score: "Score") -> dict[str, Any]:
    """A score for JSON, which has no NaN."""
    import dataclasses

    values = dataclasses.asdict(score)
    values["others"] = {name: _number(value) for name, value in score.others.items()}
    return {name: _number(value) for name, value in values.items()}


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
