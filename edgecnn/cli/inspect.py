"""``edgecnn inspect``: what a bundle contains, how to feed it and where it came from."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from edgecnn.cli.tables import plain_table
from edgecnn.cli.terminal_text import escape_markup

if TYPE_CHECKING:
    from rich.table import Table

    from edgecnn_runtime.bundle.bundle import Bundle

EXAMPLE = """\
  edgecnn inspect plate-reader.edge
  edgecnn inspect plate-reader.edge --json | jq -r .digest
      the digest names the bundle's whole content; load(digest=…) accepts no other"""


PICTURES = {
    "given": "given with --images",
    "calibration": "from the calibration folder",
    "checkpoint": "carried by the checkpoint",
    "synthetic": "synthetic",
}
"""Where the self-test's pictures come from, in words."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``edgecnn inspect``."""
    parser.add_argument("bundle", metavar="BUNDLE", help="a folder that `edgecnn export` wrote")
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON")


def run(args: argparse.Namespace) -> int:
    """Check every file of the bundle and print its manifest."""
    import msgspec

    from edgecnn_runtime.bundle.bundle import open_bundle

    bundle = open_bundle(args.bundle)
    if args.json:
        manifest = msgspec.to_builtins(bundle.manifest)
        print(json.dumps({"digest": bundle.digest, "manifest": manifest}, indent=2))
    else:
        _print(bundle)
    return 0


def _print(bundle: "Bundle") -> None:
    from rich.console import Console

    console = Console(emoji=False)
    manifest = bundle.manifest
    console.print(_table("", [("name", manifest.name), ("task", manifest.model.task),
                              ("digest", bundle.digest)]))  # fmt: skip
    console.print(_table("input", _input(bundle)))
    console.print(_table("output", _output(bundle)))
    console.print(_artifacts(bundle))
    if quality := _quality(bundle):
        console.print(_table("judged on labeled pictures", quality))
    provenance = manifest.provenance
    golden = manifest.golden
    versions = ", ".join(f"{name} {version}" for name, version in provenance.versions.items())
    count, sha256 = provenance.calibration_count, provenance.calibration_sha256
    rows = [
        ("from", f"{provenance.source}, sha256 {provenance.source_sha256}"),
        ("at", provenance.created),
        ("by", provenance.command),
        ("with", versions),
        ("golden", f"{golden.count} pictures, {PICTURES[golden.pictures]}"),
        ("calibrated", f"on {count} pictures, sha256 {sha256}" if count else "no"),
        ("report", str(bundle.path / "report.html") if "report.html" in manifest.files else "none"),
    ]
    console.print(_table("exported", rows))


def _input(bundle: "Bundle") -> list[tuple[str, str]]:
    spec = bundle.manifest.model.input
    numbers = spec.normalization
    batch = bundle.manifest.model.batch
    resize = f"{spec.resize}, {spec.interpolation}"
    if spec.resize == "crop":
        resize += f", {spec.crop_pct:g} of the short side"
    if spec.resize == "letterbox":
        resize += f", pad {','.join(map(str, spec.pad))} (B,G,R), picture at {spec.pad_position}"
    assumed = "ASSUMED: no source gives it; export again with --mean and --std, or --preset"
    origin = assumed if numbers.origin == "assumed" else f"from: {numbers.origin}"
    assumed_color = ("", "ASSUMED: no source gives it; export again with --color")
    color = [assumed_color] if spec.color_origin == "assumed" else []
    return [
        ("pixels", f"uint8[N,{spec.height},{spec.width},3] BGR, batch {batch or 'any'}"),
        ("fitted by", resize),
        ("trained on", spec.color),
        *color,
        ("mean", ", ".join(f"{value:g}" for value in numbers.mean)),
        ("std", ", ".join(f"{value:g}" for value in numbers.std)),
        ("", origin),
    ]


def _output(bundle: "Bundle") -> list[tuple[str, str]]:
    import msgspec

    model = bundle.manifest.model
    rows = []
    for output in model.outputs:
        shape = ",".join("N" if n is None else str(n) for n in output.shape)
        rows.append((output.name, f"{output.dtype}[{shape}]"))
    decode: dict[str, Any] = msgspec.to_builtins(model.decode)
    words = ", ".join(f"{key} {_short(value)}" for key, value in decode.items() if value != "")
    labels = [("labels", _short(model.labels))] if model.labels else []
    guess = "guessed from the outputs' shapes and values; export again with --head to set it"
    origin = [("head", guess)] if model.head_origin == "guessed" else []
    return [*rows, ("decoded as", words), *origin, *labels]


def _artifacts(bundle: "Bundle") -> "Table":
    from rich.filesize import decimal

    from edgecnn_runtime.parity import cosine_text, percent_text

    table = plain_table()
    for heading in ("artifact", "size", "verified on", "cosine", "agree"):
        table.add_column(heading, overflow="fold", no_wrap=heading in {"size", "cosine", "agree"})
    for artifact in bundle.manifest.artifacts:
        cells = [artifact.file, decimal(artifact.bytes)]
        for run in artifact.runs:
            worst = min((parity.cosine for parity in run.parity.values()), default=0.0)
            cells += [escape_markup(run.engine), cosine_text(worst), percent_text(run.agreement)]
            table.add_row(*cells)
            cells = [""] * 2
        if not artifact.runs:
            table.add_row(*cells, "nothing")
    return table


def _quality(bundle: "Bundle") -> list[tuple[str, str]]:
    """The task's metric of each artifact that export judged on labeled pictures."""
    rows = []
    for artifact in bundle.manifest.artifacts:
        if it := artifact.quality:
            interval = f"({it.low:.1%} to {it.high:.1%})"
            words = f"{it.metric} {it.value:.2%} {interval}, float {it.reference:.2%}"
            rows.append((artifact.file, f"{words}, on {it.samples} of {it.data}"))
    return rows


def _table(title: str, rows: list[tuple[str, str]]) -> "Table":
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", show_header=False, box=None)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        style = "[bold yellow]{}[/]" if value.startswith("ASSUMED") else "{}"
        table.add_row(escape_markup(name), style.format(escape_markup(value)))
    return table


def _short(value: Any, most: int = 12) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, list | tuple):
        words = ", ".join(str(item) for item in value[:most])
        return words + (f" … ({len(value)} in all)" if len(value) > most else "")
    return str(value)
