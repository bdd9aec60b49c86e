"""INT8 as a step of an export: from pictures in folders to artifacts in the bundle."""

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx

from edgecnn_export.config import ExportConfig, Target
from edgecnn_export.progress import Progress
from edgecnn_export.quantization.accuracy_gate import AccuracyGate, make_gate
from edgecnn_export.quantization.calibrate import range_coverage
from edgecnn_export.quantization.calibration_audit import (
    Audit,
    ImageHashes,
    audit_pictures,
    image_hashes,
    with_coverage,
)
from edgecnn_export.quantization.quantize import quantize
from edgecnn_export.quantization.search import TargetResult
from edgecnn_export.quantization.warnings import (
    exact_sums_warnings,
    gate_warnings,
    left_out_targets,
    outcome_warnings,
    unreadable_file_warnings,
)
from edgecnn_export.verification.images import evenly_spaced, list_pictures, relative_name
from edgecnn_export.verification.verify import Verifier
from edgecnn_runtime.bundle.bundle import sha256_file
from edgecnn_runtime.bundle.manifest import Artifact, Input, Provenance
from edgecnn_runtime.device.cache import default_cache_dir
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.evaluation.dataset import LabeledSet, SourceLocation
from edgecnn_runtime.image_file import read_picture
from edgecnn_runtime.preprocess import Preprocessor
from edgecnn_runtime.tasks import task_of
from edgecnn_runtime.types import Pixels

TARGETS: tuple[Target, ...] = ("cpu", "openvino", "cpu-rr", "trt")
MAX_DROP = 0.5
LIMIT = 300
"""Calibration pictures used at most, spread over the folder: more of them change no range."""
HELD_OUT = 64
"""Of these, how many are kept for measuring at most."""
HOLD_OUT_STRIDE = 5
"""One in so many calibration pictures is held out."""
MIN_FOR_HOLD_OUT = 40
"""Under so many none is held out: they are measured on as well."""
MEASURED = 128
"""Pictures the gate is asked on, about: where fewer are held out, some that were calibrated on are
added. They are a little easier, but a hundredth of thirty results is none."""
COVERAGE_PICTURES = 64
"""Labeled pictures whose activations are compared with the calibrated ranges, about."""


@dataclass(frozen=True)
class CalibrationSet:
    """pixels: uint8[N,H,W,3] BGR at network input. names: of their files. skipped: files that
    could not be read."""

    pixels: Pixels
    names: tuple[str, ...]
    skipped: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Of every pixel, in order."""
        return hashlib.sha256(self.pixels.tobytes()).hexdigest()


@dataclass(frozen=True)
class Int8:
    """What the step made. artifacts: of the targets that passed, written into the bundle.

    results: every target. calibration: the pictures. calibrated, measured: on how many the ranges
    were learnt, and the gate was asked. warnings: in plain words.
    """

    artifacts: tuple[Artifact, ...]
    results: tuple[TargetResult, ...]
    audit: Audit
    calibration: CalibrationSet
    calibrated: int
    measured: int
    warnings: tuple[str, ...]

    def provenance(self, plain: Provenance) -> Provenance:
        """The same, with what the ranges were learned from."""
        if not self.results:
            return plain
        return msgspec.structs.replace(
            plain,
            calibration_sha256=self.calibration.sha256,
            calibration_count=len(self.calibration.pixels),
        )

    @property
    def unmet(self) -> tuple[TargetResult, ...]:
        """The targets whose gate no graph passed."""
        return tuple(result for result in self.results if not result.passed)


NOT_QUANTIZED = Int8(
    (), (), Audit(count=0, different=0), CalibrationSet(np.empty(0, np.uint8), (), ()), 0, 0, ()
)
"""Where INT8 was not asked for."""


def check_int8(config: ExportConfig) -> None:
    """Raise UsageError early for settings that cannot be meant, before anything takes time."""
    said = [
        "--" + name.replace("_", "-")
        for name in ("calib", "eval_data", "targets", "max_drop", "method", "work_dir")
        if getattr(config, name)
    ]
    if not config.int8:
        if said:
            raise UsageError(f"{', '.join(said)}: only with --int8; add it, or leave them out")
        return
    if not config.calib:
        raise UsageError(
            "--int8 needs --calib DIR: 100 to 300 pictures like those the camera will see; "
            "they need no labels"
        )
    list_pictures(config.calib, "--calib")
    if config.eval_data and not Path(config.eval_data).exists():
        raise UsageError(f"--eval-data {config.eval_data}: no such file or folder")
    if config.work_dir:
        _check_writable(Path(config.work_dir))


def _check_writable(folder: Path) -> None:
    """A search that was told where to be kept is not lost in silence."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"--work-dir {folder}: cannot be written to: {error.strerror}") from error


def quantize_step(
    model: onnx.ModelProto,
    verifier: Verifier,
    config: ExportConfig,
    engines: Sequence[str],
    progress: Progress,
) -> Int8:
    """Quantize a float graph for every target asked for, and write what passed into the bundle.

    model: folded and optimized. verifier: of the float artifact; its pictures are measured on too.
    Raises UsageError for pictures or labels that cannot be used.
    """
    if not config.int8:
        return NOT_QUANTIZED
    spec = verifier.spec
    evaluation, known, some = None, None, None
    if config.eval_data:
        with progress.step("read the labeled pictures"):
            source = SourceLocation(Path(config.eval_data), argument="--eval-data")
            evaluation = task_of(spec).read_labels(source, spec)
            known, some = _survey(evaluation, spec.input)
    with progress.step("read the calibration pictures"):
        calibration = read_calibration(config.calib, spec.input)
        found = audit_pictures(calibration.pixels, calibration.names, evaluation=known)
    targets = tuple(dict.fromkeys(config.targets or TARGETS))
    used, held_out = split_calibration(calibration.pixels)
    others = exclude_images(verifier.truth.pixels, calibration.pixels)
    with progress.step("measure the float model"):
        judge = make_gate(
            spec,
            model,
            choose_measuring_images(held_out, others, used),
            list(engines),
            evaluation=evaluation,
            max_drop=MAX_DROP if config.max_drop is None else config.max_drop,
        )
    quantized = quantize(
        model,
        used,
        judge,
        targets=targets,
        method=config.method,
        folder=Path(config.work_dir) if config.work_dir else default_cache_dir(),
        progress=progress,
    )
    if some is not None:
        found = with_coverage(found, range_coverage(quantized.model, quantized.calibration, some))
    written = tuple(
        _write(verifier.folder, result, judge) for result in quantized.results if result.passed
    )
    warnings = (
        *unreadable_file_warnings(calibration.skipped),
        *found.warnings,
        *gate_warnings(config, judge.reference, judge.max_drop, judge.example),
        *left_out_targets(config.targets or (), quantized.results),
        *exact_sums_warnings(quantized.results),
        *outcome_warnings(quantized.results),
    )
    return Int8(
        written,
        quantized.results,
        found,
        calibration,
        calibrated=len(used),
        measured=len(judge.pixels),
        warnings=warnings,
    )


def read_calibration(folder: str, spec: Input, limit: int = LIMIT) -> CalibrationSet:
    """Up to ``limit`` pictures of a folder, prepared as the runtime does, one in memory at a time.

    Others take the place of those that are unreadable. Raises UsageError where none can be read.
    """
    files = list_pictures(folder, "--calib")
    chosen = evenly_spaced(files, limit)
    spare = sorted(set(files).difference(chosen))
    pixels = np.empty((len(chosen), spec.height, spec.width, 3), np.uint8)
    slot = np.empty((1, spec.height, spec.width, 3), np.uint8)
    preprocessor = Preprocessor(spec, slot)
    names: list[str] = []
    skipped: list[str] = []
    for file in [*chosen, *spare]:
        if len(names) == limit:
            break
        frame = read_picture(file)
        if frame is None:
            skipped.append(relative_name(folder, file))
            continue
        preprocessor.load_frame(frame)
        pixels[len(names)] = slot[0]
        names.append(relative_name(folder, file))
    if not names:
        raise UsageError(f"--calib {folder}: none of {len(skipped)} files is a readable picture")
    return CalibrationSet(pixels[: len(names)], tuple(names), tuple(skipped))


def split_calibration(pixels: Pixels) -> tuple[Pixels, Pixels]:
    """Pictures to calibrate on, and others to measure on; the same ones where they are few."""
    if len(pixels) < MIN_FOR_HOLD_OUT:
        return pixels, pixels
    stride = max(HOLD_OUT_STRIDE, -(-len(pixels) // HELD_OUT))
    kept = np.arange(len(pixels)) % stride == stride - 1
    return pixels[~kept], pixels[kept]


def exclude_images(pixels: Pixels, known: Pixels) -> Pixels:
    """Those of the pictures that are not among the known ones."""
    seen = {hash(picture.tobytes()) for picture in known}
    return pixels[[hash(picture.tobytes()) not in seen for picture in pixels]]


def choose_measuring_images(held_out: Pixels, verified: Pixels, used: Pixels) -> Pixels:
    """What the gate is asked on, the least known first: MEASURED pictures or more."""
    missing = MEASURED - len(held_out) - len(verified)
    if missing <= 0 or used is held_out:
        return np.concatenate([held_out, verified])
    return np.concatenate([held_out, verified, used[:: -(-len(used) // missing)]])


def _survey(evaluation: LabeledSet, spec: Input) -> tuple[ImageHashes, Pixels]:
    """What every labeled picture is recognized by, and some of them at network input."""
    slot = np.empty((1, spec.height, spec.width, 3), np.uint8)
    preprocessor = Preprocessor(spec, slot)
    stride = max(1, len(evaluation.samples) // COVERAGE_PICTURES)
    kept: list[Pixels] = []

    def prepared() -> Iterator[Pixels]:
        for index, (_, frame) in enumerate(evaluation.frames()):
            preprocessor.load_frame(frame)
            if index % stride == 0:
                kept.append(slot[0].copy())
            yield slot[0]

    return image_hashes(prepared()), np.stack(kept)


def _write(folder: Path, result: TargetResult, judge: AccuracyGate) -> Artifact:
    assert result.model is not None
    path = folder / f"model.int8-{result.target}.onnx"
    path.write_bytes(result.model.SerializeToString())
    return Artifact(
        file=path.name,
        precision="int8",
        target=result.target,
        sha256=sha256_file(path),
        bytes=path.stat().st_size,
        quality=judge.quality(result.measured),
    )
