"""``edgecnn export``: a trained model becomes a verified bundle."""

import argparse
import contextlib
import json
import signal
import sys
from typing import TYPE_CHECKING

from edgecnn.cli.flags import add_flags, read_flags
from edgecnn.cli.tables import plain_table
from edgecnn.cli.terminal_text import escape_markup
from edgecnn_runtime.errors import VerificationError

if TYPE_CHECKING:
    from rich.console import Console

    from edgecnn_export.pipeline import ExportResult

EXAMPLE = """\
  edgecnn export model.pt
      a checkpoint saved with edgecnn.save_checkpoint: it contains all settings
  edgecnn export weights.safetensors --arch timm.models:mobilenetv3_large_100 --images photos/
      a state dict, its architecture, and pictures to verify with
  edgecnn export yolo11n-pose.onnx --images people/
      Ultralytics' own file (detect, pose, obb or segment): it says everything itself
  edgecnn export yolov5s.onnx --input 640x384 --preset unit --color rgb --labels coco.txt
      a detector, for a 16:9 camera
  edgecnn export yunet.onnx --input 640x352 --preset raw --color bgr --images faces/
      a model trained on raw pixels
  edgecnn export model.pt --int8 --calib photos/ --eval-data labeled/
      INT8 too, for CPUs and TensorRT, losing at most half a point of accuracy
  edgecnn export --spec model.yaml --out gate.edge --overwrite
      the same settings as YAML keys (crop-pct is crop_pct); flags override them"""
TERMINATED = 143
"""A shell's exit code for SIGTERM; leaving this way removes an unfinished bundle."""
GROUPS = {
    "the model": ("spec", "arch", "arch_args", "weights_key", "trust_pickle"),
    "its input": (
        "input", "mean", "std", "preset", "color", "resize", "interpolation", "crop_pct", "pad",
        "pad_position",
    ),
    "its output": ("task", "head", "labels", "score", "iou", "decode"),
    "verification": ("images", "backends", "reduced"),
    "half precision": ("fp16",),
    "INT8": ("int8", "calib", "eval_data", "targets", "max_drop", "method", "work_dir"),
    "the bundle": ("out", "name", "overwrite", "batch", "opset"),
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``edgecnn export``."""
    from edgecnn_export.config import ExportConfig

    add_flags(parser, ExportConfig, positional=("model",), groups=GROUPS)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    """Export, with live progress on stderr and a summary on stdout."""
    from rich.console import Console

    from edgecnn.cli.progress import ProgressPrinter
    from edgecnn_export.config import ExportConfig
    from edgecnn_export.preflight import check_settings

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    config = read_flags(args, ExportConfig)
    checked = check_settings(config)  # before torch is imported, which takes seconds
    with ProgressPrinter(Console(emoji=False, stderr=True)) as steps:
        with steps.step("start"):
            from edgecnn_export.pipeline import export
        with contextlib.redirect_stdout(sys.stderr):  # a network may print; stdout may be JSON
            result = export(config, steps, checked)
    if args.json:
        print(json.dumps(_as_json(result), indent=2))
    else:
        print_result(result, Console(emoji=False))
    return VerificationError.exit_code if result.int8.unmet or result.half.unmet else 0


def print_result(result: "ExportResult", console: "Console") -> None:
    """Print a line per artifact and engine, what has to be known, and what to type next."""
    from rich.filesize import decimal

    from edgecnn_runtime.bundle.manifest import artifact_name, head_text
    from edgecnn_runtime.parity import cosine_text, percent_text

    table = plain_table("artifact", "engine", numbers=("size", "cosine", "SNR", "agree"))
    report = result.int8.report
    for check in result.checks:
        # of INT8 what its gate measured, on more pictures, so that both say the same
        gate = report.measurement(check.artifact, check.engine) if report else None
        figures = gate or check.comparison
        cells = [artifact_name(check.artifact.file), check.engine, decimal(check.artifact.bytes)]
        cells += [cosine_text(figures.cosine), f"{figures.snr_db:.1f} dB"]
        table.add_row(*cells, percent_text(figures.agreement))
    unmade = [f"int8-{target.target}" for target in result.int8.unmet]
    unmade += ["fp16"] if result.half.unmet else []
    for name in unmade:
        table.add_row(f"[red]{name}[/]", "[red]not made[/]")
    console.print(table)
    if (half := result.half.report) and half.passed:
        console.print(
            f"[green]✓[/] fp16: {escape_markup(half.best.verdict.text)}; "
            f"{len(half.float32)} of {half.layers} layers in float32",
            highlight=False,
        )
    for target in result.int8.results:
        if target.passed:
            console.print(
                f"[green]✓[/] int8-{target.target}: {escape_markup(target.best.verdict.text)}; "
                f"{len(target.best.floats)} of {len(target.layers)} layers in float",
                highlight=False,
            )
    unmet = tuple(f"{name} was not made" for name in unmade)
    model = result.bundle.manifest.model
    if model.head_origin == "guessed":
        classes = getattr(model.decode, "classes", 0)
        head = head_text(model.decode)
        head += f" with {classes} class{'es' * (classes > 1)}" if classes else ""
        console.print(
            f"[yellow]?[/] the head was guessed from the outputs: {head}; "
            "if it is another one, --head names it",
            highlight=False,
        )
    for warning in result.warnings:
        style = "bold yellow" if warning.startswith("ASSUMED") else "yellow"
        mark = "[red]✗[/]" if unmet and warning.startswith(unmet) else f"[{style}]![/]"
        console.print(f"{mark} {escape_markup(warning)}", highlight=False)
    path = escape_markup(str(result.bundle.path))
    page = escape_markup(str(result.bundle.path / "report.html"))
    console.print(
        f"\n[bold]{path}[/] verified in {sum(result.seconds.values()):.1f} s; "
        f"{page} shows how well\nnext: edgecnn run {path} SOURCE",
        highlight=False,
        soft_wrap=True,
    )


def _as_json(result: "ExportResult") -> dict[str, object]:
    import msgspec

    unmet: dict[str, str] = {t.target: t.best.verdict.text for t in result.int8.unmet}
    if result.half.report and result.half.unmet:
        unmet["fp16"] = result.half.report.best.verdict.text
    return {
        "bundle": str(result.bundle.path),
        "digest": result.bundle.digest,
        "warnings": list(result.warnings),
        "seconds": result.seconds,
        "manifest": msgspec.to_builtins(result.bundle.manifest),
        "unmet": unmet,
    }
