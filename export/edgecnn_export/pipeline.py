"""The story of an export: load → trace → fold → optimize → verify → quantize → pack."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
import onnx

from edgecnn_export.config import ExportConfig
from edgecnn_export.graph.fold import fold_pixels
from edgecnn_export.graph.fuse_float import fuse_float
from edgecnn_export.graph.optimize import optimize
from edgecnn_export.loading.load import load_model
from edgecnn_export.loading.loaded import input_channels, input_shape
from edgecnn_export.planning.graph_info import inspect_graph, summarize_graph
from edgecnn_export.planning.provenance import provenance
from edgecnn_export.planning.resolve import check_early, resolve
from edgecnn_export.planning.settings import read_settings, with_checkpoint_defaults
from edgecnn_export.planning.size import network_size
from edgecnn_export.progress import NullProgress, Progress, Timed
from edgecnn_export.quantization.step import Int8, check_int8, quantize_step
from edgecnn_export.report import ReportInputs
from edgecnn_export.report_html.files import write_report
from edgecnn_export.tracing.trace import trace
from edgecnn_export.verification.compare import decode_reference
from edgecnn_export.verification.divergence import describe_failure, require_finite
from edgecnn_export.verification.golden import most_distinct, write_golden
from edgecnn_export.verification.images import Flag, collect, list_pictures, read_pictures
from edgecnn_export.verification.reduced_precision import Reduced, check_reduced
from edgecnn_export.verification.reference import make_reference, reference_preprocess
from edgecnn_export.verification.verify import (
    Check,
    Verifier,
    artifacts_with_runs,
    constant_output_warnings,
    engines,
    stable_images,
)
from edgecnn_runtime.bundle.bundle import (
    MANIFEST,
    SUFFIX,
    Bundle,
    new_bundle,
    sha256_file,
    write_manifest,
)
from edgecnn_runtime.bundle.manifest import SCHEMA_VERSION, Artifact, Manifest
from edgecnn_runtime.errors import VerificationError

OPSET = 20
FLOAT_FILE = "model.fp32.onnx"


@dataclass(frozen=True)
class ExportResult:
    """What an export made.

    bundle: as it was written. checks: every artifact on every engine. warnings: in plain words,
    the gravest first. seconds: how long each step took, in order. int8: its ``unmet`` are the
    targets whose gate nothing passed, which are not in the bundle.
    """

    bundle: Bundle
    checks: tuple[Check, ...]
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    int8: Int8


def export(config: ExportConfig, progress: Progress | None = None) -> ExportResult:
    """Turn a trained model into a verified bundle.

    Nothing stands at ``config.out`` unless all of it succeeded. Raises UsageError for what was
    said wrong, UnsupportedModelError for a model that cannot be taken, VerificationError where an
    artifact does not follow the reference, EdgecnnError where the bundle cannot be written.
    """
    timed = Timed(progress or NullProgress())
    settings = read_settings(config)
    backends = engines(settings.config.backends)
    check_int8(settings.config)
    folder_of_pictures, flag = _pictures(settings.config)
    files = list_pictures(folder_of_pictures, flag)

    with ThreadPoolExecutor(max_workers=1) as aside:
        album = aside.submit(read_pictures, folder_of_pictures, files, flag=flag)

        with timed.step("load"):
            loaded = load_model(settings.config)
            settings = with_checkpoint_defaults(
                settings, loaded.spec, loaded.origin or "checkpoint"
            )
            size = network_size(settings.config, input_channels(loaded), input_shape(loaded))
            check_early(settings, size)

        out = Path(settings.config.out or settings.config.bundle_name() + SUFFIX)
        with new_bundle(out, overwrite=settings.config.overwrite) as folder:
            with timed.step("trace"):
                traced = trace(
                    loaded,
                    height=size.height,
                    width=size.width,
                    channels=size.channels,
                    opset=settings.config.opset or OPSET,
                )
                reference = make_reference(loaded, traced)
                seen = inspect_graph(traced, settings.config, reference.run, size)
                plan = resolve(settings, size, seen)

            spec = plan.spec
            pictures = collect(album.result(), loaded.samples, spec.input)
            answers = aside.submit(reference.run, reference_preprocess(pictures.pixels, spec.input))

            with timed.step("fold"):
                folded = fold_pixels(traced, spec.input)

            with timed.step("optimize"):
                model = optimize(folded)
                artifact = write_artifact(folder, fuse_float(model))

            with timed.step("run the reference"):
                truth = decode_reference(
                    spec,
                    pictures.pixels,
                    require_finite(answers.result(), model, pictures.pixels),
                )

            verifier = Verifier(folder, spec, truth)
            checks = verifier.run([artifact], backends, timed)
            if any(check.failed for check in checks):
                raise VerificationError(describe_failure(checks, verifier, reference))

            int8 = quantize_step(model, verifier, settings.config, backends, timed)
            checks += verifier.run(int8.artifacts, backends, timed)
            reduced = (
                check_reduced(verifier, checks, timed)
                if settings.config.reduced or settings.config.int8
                else Reduced()
            )
            checks += reduced.passed

            with timed.step("pack"):
                golden = most_distinct(truth.outputs, stable_images(checks))
                manifest = Manifest(
                    schema=SCHEMA_VERSION,
                    name=plan.name,
                    model=spec,
                    artifacts=artifacts_with_runs(checks, truth, golden),
                    golden=write_golden(folder, pictures, truth.outputs, golden),
                    provenance=int8.provenance(provenance(loaded, config)),
                )
                warnings = (
                    *plan.warnings,
                    *pictures.warnings,
                    *constant_output_warnings(truth),
                    *reduced.warnings,
                    *int8.warnings,
                )
                facts = ReportInputs(
                    manifest=manifest,
                    warnings=warnings,
                    before=summarize_graph(traced),
                    after=summarize_graph(model),
                    pictures=pictures,
                    truth=truth,
                    golden=golden,
                    checks=checks,
                    seconds=timed.seconds,
                    int8=int8,
                )
                reports = write_report(folder, facts)
                manifest = msgspec.structs.replace(manifest, files=reports)
                write_manifest(folder, manifest)

    bundle = Bundle(out, manifest, sha256_file(out / MANIFEST))
    return ExportResult(bundle, tuple(checks), warnings, timed.seconds, int8)


def _pictures(config: ExportConfig) -> tuple[str, Flag]:
    """The folder to verify on, and what named it."""
    return (config.images, "--images") if config.images else (config.calib, "--calib")


def write_artifact(folder: Path, model: onnx.ModelProto) -> Artifact:
    """Write the float graph and describe it."""
    path = folder / FLOAT_FILE
    path.write_bytes(model.SerializeToString())
    return Artifact(
        file=FLOAT_FILE, precision="fp32", sha256=sha256_file(path), bytes=path.stat().st_size
    )
