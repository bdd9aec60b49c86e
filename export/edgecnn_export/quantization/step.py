"""INT8 as a step of an export: from pictures in folders to artifacts in the bundle."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx

from edgecnn_export.config import ExportConfig
from edgecnn_export.progress import Progress
from edgecnn_export.quantization.accuracy_gate import AccuracyGate, make_gate
from edgecnn_export.quantization.calibrate import range_coverage
from edgecnn_export.quantization.calibration_audit import ImageHashes, audit_pictures, image_hashes
from edgecnn_export.quantization.quantize import quantize
from edgecnn_export.quantization.report import Int8Report, TargetResult
from edgecnn_export.quantization.schemes import SCHEMES
from edgecnn_export.quantization.unfinished import work_folder
from edgecnn_export.quantization.warnings import (
    exact_sums_warnings,
    few_findings_warnings,
    gate_warnings,
    left_out_targets,
    outcome_warnings,
    unreadable_file_warnings,
)
from edgecnn_export.verification.images import list_pictures, readable_pictures
from edgecnn_export.verification.verify import Verifier
from edgecnn_runtime.bundle.bundle import sha256_file
from edgecnn_runtime.bundle.manifest import Artifact, Input, Provenance
from edgecnn_runtime.device.cpu import cpu_features, describe_int8
from edgecnn_runtime.evaluation.dataset import LabeledSet, SourceLocation
from edgecnn_runtime.preprocess import Preprocessor, prepare
from edgecnn_runtime.tasks import task_of
from edgecnn_runtime.types import Pixels

MAX_DROP = 0.5
LIMIT = 300
"""Calibration images used at most, spread over the folder: more of them change no range."""
HELD_OUT = 64
"""Of these, how many are held out for measuring at most."""
HOLD_OUT_STRIDE = 5
"""One in so many calibration images is held out."""
MIN_FOR_HOLD_OUT = 40
"""Of fewer images none is held out: the gate measures on those that were calibrated on."""
MEASURED = 128
"""Images the gate measures on, about: where fewer are held out, some that were calibrated on are
added. They are a little easier, but a hundredth of thirty results is none."""
COVERAGE_IMAGES = 64
"""Labeled images whose activations are compared with the calibrated ranges, about."""


@dataclass(frozen=True)
class CalibrationSet:
    """The images that a model is calibrated on.

    Attributes:
        pixels: uint8[N,H,W,3] BGR at network input.
        names: Their files, below the folder.
        skipped: The files that could not be read.
    """

    pixels: Pixels
    names: tuple[str, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class Int8:
    """What the step made; nothing where INT8 was not asked for.

    Attributes:
        artifacts: Those of the targets that passed, written into the bundle.
        warnings: What a person has to know about them.
        report: How they were made.
        calibration_sha256: Of every calibration image's pixels, in order.
    """

    artifacts: tuple[Artifact, ...] = ()
    warnings: tuple[str, ...] = ()
    report: Int8Report | None = None
    calibration_sha256: str = ""

    @property
    def results(self) -> tuple[TargetResult, ...]:
        """One per target."""
        return self.report.targets if self.report else ()

    @property
    def unmet(self) -> tuple[TargetResult, ...]:
        """The targets whose gate no graph passed."""
        return tuple(result for result in self.results if not result.passed)

    def provenance(self, plain: Provenance) -> Provenance:
        """A bundle's provenance, with the images that ranges were learned from."""
        if self.report is None:
            return plain
        return msgspec.structs.replace(
            plain,
            calibration_sha256=self.calibration_sha256,
            calibration_count=len(self.report.calibration),
        )


def quantize_step(
    model: onnx.ModelProto,
    verifier: Verifier,
    config: ExportConfig,
    engines: Sequence[str],
    progress: Progress,
) -> Int8:
    """Quantize a float graph for every target asked for, and write what passed into the bundle.

    Args:
        model: The graph, folded and optimized.
        verifier: Of the float artifact; graphs are measured on its images too.
        config: What the user set.
        engines: Backends to measure on.
        progress: Shows every step.

    Raises:
        UsageError: Images or labels cannot be used.
        UnsupportedModelError: Nothing in the model can be quantized, or it holds NaN or infinity.
    """
    if not config.int8:
        return Int8()
    spec = verifier.spec
    evaluation, hashes, examples = None, None, None
    if config.eval_data:
        with progress.step("read the labeled pictures"):
            source = SourceLocation(Path(config.eval_data), argument="--eval-data")
            evaluation = task_of(spec).read_labels(source, spec)
            hashes, examples = _survey(evaluation, spec.input)
    with progress.step("read the calibration pictures"):
        calibration = read_calibration(config.calib, spec.input)
        audit = audit_pictures(calibration.pixels, calibration.names, evaluation=hashes)
    pixels, held_out = split_calibration(calibration.pixels)
    verification = exclude_images(verifier.truth.pixels, calibration.pixels)
    with progress.step("measure the float model"):
        gate = make_gate(
            spec,
            model,
            choose_measuring_images(held_out, verification, pixels),
            list(engines),
            evaluation=evaluation,
            max_drop=MAX_DROP if config.max_drop is None else config.max_drop,
            progress=progress,
        )
    quantized = quantize(
        model,
        pixels,
        gate,
        targets=tuple(dict.fromkeys(config.targets or SCHEMES)),
        method=config.method,
        folder=work_folder(config),
        progress=progress,
    )
    results = quantized.results
    if examples is not None:
        coverage = range_coverage(quantized.model, quantized.calibration, examples)
        audit = msgspec.structs.replace(audit, coverage=coverage)
    return Int8(
        artifacts=tuple(
            _write(verifier.folder, result, quantized.graphs[result.target], gate)
            for result in results
            if result.passed
        ),
        warnings=(
            *unreadable_file_warnings(calibration.skipped),
            *audit.warnings,
            *gate_warnings(config, gate.reference, gate.max_drop, gate.example),
            *few_findings_warnings(gate.findings, labeled=evaluation is not None),
            *left_out_targets(config.targets or (), results),
            *exact_sums_warnings(results),
            *outcome_warnings(results),
        ),
        report=Int8Report(
            audit=audit,
            calibration=calibration.names,
            calibrated_on=len(pixels),
            measured_on=len(gate.pixels),
            targets=results,
            processor=describe_int8(cpu_features()),
        ),
        calibration_sha256=hashlib.sha256(calibration.pixels.tobytes()).hexdigest(),
    )


def read_calibration(folder: str, spec: Input, limit: int = LIMIT) -> CalibrationSet:
    """Read images of a folder and prepare them as the runtime does, one in memory at a time.

    Args:
        folder: Where they are.
        spec: The network's input.
        limit: How many to read at most; others take the place of those that cannot be read.

    Raises:
        UsageError: None can be read.
    """
    files = list_pictures(folder, "--calib")
    pixels = np.empty((min(limit, len(files)), spec.height, spec.width, 3), np.uint8)
    preprocessor = Preprocessor(spec, pixels)
    names: list[str] = []
    skipped: list[str] = []
    for name, frame in readable_pictures(folder, files, limit, "--calib", skipped):
        preprocessor.load_frame(frame, len(names))
        names.append(name)
    return CalibrationSet(pixels[: len(names)], tuple(names), tuple(skipped))


def split_calibration(pixels: Pixels) -> tuple[Pixels, Pixels]:
    """Images to calibrate on, and others to measure on; the same ones where they are few."""
    if len(pixels) < MIN_FOR_HOLD_OUT:
        return pixels, pixels
    stride = max(HOLD_OUT_STRIDE, -(-len(pixels) // HELD_OUT))
    held_out = np.arange(len(pixels)) % stride == stride - 1
    return pixels[~held_out], pixels[held_out]


def exclude_images(pixels: Pixels, others: Pixels) -> Pixels:
    """The images that are not among the others."""
    hashes = {hash(image.tobytes()) for image in others}
    return pixels[[hash(image.tobytes()) not in hashes for image in pixels]]


def choose_measuring_images(held_out: Pixels, verification: Pixels, calibration: Pixels) -> Pixels:
    """The images the gate measures on: MEASURED of them or more, if there are so many.

    Args:
        held_out: Calibration images that no range comes from.
        verification: Verification images that are not among the calibration images.
        calibration: Images that ranges come from; some fill up what is missing.
    """
    missing = MEASURED - len(held_out) - len(verification)
    if missing <= 0 or calibration is held_out:
        return np.concatenate([held_out, verification])
    return np.concatenate([held_out, verification, calibration[:: -(-len(calibration) // missing)]])


def _survey(evaluation: LabeledSet, spec: Input) -> tuple[ImageHashes, Pixels]:
    """The hashes of all labeled images, and some of the images at network input."""
    stride = max(1, len(evaluation.samples) // COVERAGE_IMAGES)
    examples: list[Pixels] = []

    def prepared() -> Iterator[Pixels]:
        for index, (_, frame) in enumerate(evaluation.frames()):
            (image,) = prepare(spec, [frame])
            if index % stride == 0:
                examples.append(image)
            yield image

    return image_hashes(prepared()), np.stack(examples)


def _write(
    folder: Path, result: TargetResult, graph: onnx.ModelProto, gate: AccuracyGate
) -> Artifact:
    path = folder / f"model.int8-{result.target}.onnx"
    path.write_bytes(graph.SerializeToString())
    return Artifact(
        file=path.name,
        precision="int8",
        target=result.target,
        sha256=sha256_file(path),
        bytes=path.stat().st_size,
        quality=gate.quality(result.measurements),
    )
