"""Half precision as a step of an export: from the float graph to an artifact in the bundle."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from edgecnn_export.config import ExportConfig
from edgecnn_export.half_precision.report import HalfReport
from edgecnn_export.half_precision.search import ENGINE, search_half
from edgecnn_export.half_precision.warnings import half_warnings
from edgecnn_export.progress import Progress
from edgecnn_export.quantization.accuracy_gate import AccuracyGate
from edgecnn_export.quantization.step import read_calibration
from edgecnn_export.quantization.unfinished import work_folder
from edgecnn_export.verification.compare import compare
from edgecnn_export.verification.gate import (
    HALF,
    MIN_FINDINGS,
    Gate,
    applicable_gate,
)
from edgecnn_export.verification.verify import EXACT_BACKEND, Check, Verifier
from edgecnn_runtime.backends import get_engine
from edgecnn_runtime.bundle.bundle import sha256_file
from edgecnn_runtime.bundle.manifest import Artifact
from edgecnn_runtime.tasks import task_of

FILE = "model.fp16.onnx"
AGREEMENT = 0.95
"""The share of equal results where there are MIN_FINDINGS: a box whose score is near the threshold
comes and goes. Of a YOLOv8n with random weights 2 % did, at a cosine of 0.9995."""
AMPLE_COSINE = 0.9994
"""A repair goes on until this is reached, because other images lose up to 1.7 times as much."""
CALIBRATION_IMAGES = 64
"""Calibration images, where there are any, on which tensors are searched for large values."""


@dataclass(frozen=True)
class Half:
    """What the step made; nothing where half precision was not asked for.

    Attributes:
        artifacts: The one that was written into the bundle, if it passed.
        checks: How it compares with the reference where every tensor is rounded.
        warnings: What a person has to know about it.
        report: How it was made.
    """

    artifacts: tuple[Artifact, ...] = ()
    checks: tuple[Check, ...] = ()
    warnings: tuple[str, ...] = ()
    report: HalfReport | None = None

    @property
    def unmet(self) -> bool:
        """Whether it was asked for and no graph passed its gate."""
        return self.report is not None and not self.report.passed


def half_step(
    model: onnx.ModelProto, verifier: Verifier, config: ExportConfig, progress: Progress
) -> Half:
    """Convert a float graph to half precision, and write it into the bundle if it passes.

    Args:
        model: The graph, folded and optimized.
        verifier: Of the float artifact; graphs are compared with the reference on its images.
        config: What the user set.
        progress: Shows every step.

    Raises:
        UsageError: The calibration images cannot be used.
        UnsupportedModelError: Nothing in the model can compute in half precision.
    """
    if not config.fp16:
        return Half()
    pixels = verifier.truth.pixels
    if config.calib:
        with progress.step("read the calibration pictures"):
            calibration = read_calibration(config.calib, verifier.spec.input, CALIBRATION_IMAGES)
        pixels = np.concatenate([pixels, calibration.pixels])
    folder = work_folder(config)
    graph = search_half(model, _gate(verifier), pixels, folder=folder, progress=progress)
    warnings = half_warnings(graph.report)
    if not graph.report.passed:
        return Half(warnings=warnings, report=graph.report)
    artifact = _write(verifier.folder, graph.model)
    check = _check(artifact, graph.rounding, verifier)
    return Half((artifact,), (check,), warnings, graph.report)


def _gate(verifier: Verifier) -> AccuracyGate:
    """What the graph has to reach; equal results count where they are enough to prove something."""
    results = verifier.truth.results
    counted = sum(map(task_of(verifier.spec).count, results)) >= MIN_FINDINGS
    agreement = AGREEMENT if counted else 0.0
    return AccuracyGate(
        spec=verifier.spec,
        truth=verifier.truth,
        engines=[ENGINE],
        evaluation=None,
        reference=None,
        example="",
        max_drop=0.0,
        required=Gate(HALF.cosine, agreement),
        ample=Gate(AMPLE_COSINE, agreement),
    )


def _write(folder: Path, graph: onnx.ModelProto) -> Artifact:
    path = folder / FILE
    path.write_bytes(graph.SerializeToString())
    return Artifact(
        file=FILE,
        precision="fp16",
        target="trt",
        sha256=sha256_file(path),
        bytes=path.stat().st_size,
    )


def _check(artifact: Artifact, rounding: onnx.ModelProto, verifier: Verifier) -> Check:
    """The artifact as an engine computes it that rounds every tensor: what devices are held to."""
    spec, truth = verifier.spec, verifier.truth
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        path.write_bytes(rounding.SerializeToString())
        comparison = compare(path, spec, truth, ENGINE)
    engine = get_engine(EXACT_BACKEND)
    gate = applicable_gate(HALF, spec, truth.results)
    return Check(artifact, engine.name, engine.precisions()[0], engine.version(), gate, comparison)
