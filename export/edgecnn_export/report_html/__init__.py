"""report.html: one self-contained page, light and dark, without network access or scripts.

The template escapes every value: labels and file names come from strangers.
"""

import base64
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

import cv2
import jinja2
import msgspec
import numpy as np

from edgecnn_export.report import ExportReport
from edgecnn_export.report_html.input_diagram import input_diagram
from edgecnn_export.report_html.sqnr_plot import sqnr_plot
from edgecnn_export.verification.gate import HALF, LOWER
from edgecnn_runtime.bundle.manifest import Artifact, ModelSpec, Run
from edgecnn_runtime.draw import Canvas
from edgecnn_runtime.parity import cosine_text
from edgecnn_runtime.tasks import task_of
from edgecnn_runtime.text import TextRenderer
from edgecnn_runtime.types import Pixels, Result

THUMBNAIL = 320
"""Longest side of an image in the page, in pixels."""
STROKE = 1.5
"""Width of the lines drawn in it."""
OPERATORS_SHOWN = 14
NINES_SHOWN = 12.0


def render(report: ExportReport, pixels: Pixels, results: Sequence[Result]) -> str:
    """The whole page.

    Args:
        report: What it shows.
        pixels: The verification images, uint8[N,H,W,3] BGR.
        results: The reference's result for each, in its pixels.
    """
    folder = resources.files("edgecnn_export.report_html")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text("utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": file_size, "exact": cosine_text, "nines": _bar}
    bundle = report.bundle
    spec = bundle.model
    return environment.get_template("report.html").render(
        report=report,
        bundle=bundle,
        half=report.half,
        int8=report.int8,
        plots={
            target.target: sqnr_plot(sorted(target.layers, key=lambda layer: layer.index))
            for target in (report.int8.targets if report.int8 else ())
        },
        rows=[
            _row(report, artifact, run) for artifact in bundle.artifacts for run in artifact.runs
        ],
        unmade=_unmade(report),
        diagram=input_diagram(spec.input),
        normalization=_normalization(spec.input),
        decode=msgspec.to_builtins(spec.decode),
        outputs=[(o.name, ["N" if d is None else d for d in o.shape]) for o in spec.outputs],
        pictures=[
            {"fact": fact, "image": _data_uri(image)}
            for fact, image in zip(report.pictures, _thumbnails(pixels, results, spec), strict=True)
        ],
        operators=_operators(report.before.operators, report.after.operators),
        total_seconds=sum(report.seconds.values()) or 1.0,
    )


def file_size(count: int) -> str:
    """Bytes with three digits and a unit: 812 B, 3.4 kB, 44.7 MB."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def _bar(cosine: float) -> float:
    """The length of a bar: how many nines a cosine begins with (0.9999 has four), as a share."""
    return float(min(NINES_SHOWN, -np.log10(max(1 - cosine, 10**-NINES_SHOWN)))) / NINES_SHOWN


def _row(report: ExportReport, artifact: Artifact, run: Run) -> dict[str, Any]:
    worst = min(run.parity.values(), key=lambda parity: parity.cosine)
    exact = artifact.precision == "fp32" and run.engine.endswith("/f32")
    # of INT8 what its gate measured, on more pictures, so that both say the same
    measurement = report.int8.measurement(artifact, run.engine) if report.int8 else None
    figures = measurement or worst
    # of INT8 and reduced precisions a mark only: their own gate may be the task's metric
    reduced = HALF if artifact.precision == "fp16" else LOWER
    gate = report.gate if exact else reduced.cosine
    return {
        "artifact": artifact,
        "run": run,
        "cosine": figures.cosine,
        "snr_db": figures.snr_db,
        "max_abs": worst.max_abs,
        "agreement": measurement.agreement if measurement else run.agreement,
        "gate": gate,
        "exact": exact,
        "passed": figures.cosine >= gate or not exact,
    }


def _unmade(report: ExportReport) -> list[tuple[str, str]]:
    """The artifacts that missed their gate, and what was reached."""
    targets = report.int8.targets if report.int8 else ()
    unmade = [(f"int8-{t.target}", t.best.verdict.text) for t in targets if not t.passed]
    half = report.half
    return unmade + ([("fp16", half.best.verdict.text)] if half and not half.passed else [])


def _normalization(spec: Any) -> list[tuple[str, float, float]]:
    channels = {"rgb": "RGB", "bgr": "BGR", "gray": "Y"}[spec.color]
    return list(zip(channels, spec.normalization.mean, spec.normalization.std, strict=True))


def _operators(before: dict[str, int], after: dict[str, int]) -> list[dict[str, Any]]:
    names = sorted(before | after, key=lambda name: -max(before.get(name, 0), after.get(name, 0)))
    cut = OPERATORS_SHOWN if len(names) > OPERATORS_SHOWN + 1 else len(names)
    shown, rest = names[:cut], names[cut:]
    rows = [(name, before.get(name, 0), after.get(name, 0)) for name in shown]
    if rest:
        sums = [sum(counts.get(name, 0) for name in rest) for counts in (before, after)]
        rows.append((f"{len(rest)} others", sums[0], sums[1]))
    most = max(max(row[1:]) for row in rows)
    return [
        {"name": name, "before": was, "after": now, "was": was / most, "now": now / most}
        for name, was, now in rows
    ]


def _thumbnails(pixels: Pixels, results: Sequence[Result], model: ModelSpec) -> Iterator[Pixels]:
    """The images, small, with the outlines of what was found; its names stand below them."""
    task, letters = task_of(model), TextRenderer()
    height, width = pixels.shape[1:3]
    scale = THUMBNAIL / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    for image, result in zip(pixels, results, strict=True):
        canvas = Canvas(image.copy(), labels=model.labels, letters=letters)
        canvas.size, canvas.stroke = 0, max(1, round(STROKE / scale))
        task.draw(canvas, result)
        yield np.asarray(cv2.resize(canvas.pixels, size, interpolation=method), np.uint8)


def _data_uri(image: Pixels) -> str:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 82])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
