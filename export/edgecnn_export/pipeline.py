"""The story of an export: plan → float graph → verify → half precision → quantize → assemble.

With --int8 or --fp16 a bundle is assembled twice: the float one, then, in its place, the one with
those forms.
"""

import shutil
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import onnx

from edgecnn_export.config import ExportConfig
from edgecnn_export.draft import Draft, PlannedModel
from edgecnn_export.graph.fold import fold_pixels
from edgecnn_export.graph.fuse_float import fuse_float
from edgecnn_export.graph.optimize import optimize
from edgecnn_export.half_precision.step import Half, half_step
from edgecnn_export.loading.load import load_model
from edgecnn_export.loading.loaded import (
    LoadedModel,
    declared_size,
    input_channels,
    input_shape,
)
from edgecnn_export.loading.size import Size, network_size
from edgecnn_export.planning.graph_info import inspect_graph
from edgecnn_export.planning.provenance import provenance
from edgecnn_export.planning.resolve import Evidence, check_early, plan_input, resolve
from edgecnn_export.planning.settings import ExportSettings, with_checkpoint_defaults
from edgecnn_export.preflight import CheckedSettings, bundle_path, check_settings
from edgecnn_export.progress import NullProgress, Progress, Timed
from edgecnn_export.quantization.step import Int8, quantize_step
from edgecnn_export.quantization.unfinished import (
    PENDING,
    is_bundle,
    is_unfinished,
    mark_unfinished,
    wants_forms,
)
from edgecnn_export.report import make_report
from edgecnn_export.report_html.files import write_report
from edgecnn_export.tracing.trace import trace
from edgecnn_export.verification.compare import decode_reference
from edgecnn_export.verification.divergence import describe_failure, require_finite
from edgecnn_export.verification.golden import most_distinct, write_golden
from edgecnn_export.verification.images import (
    ImageFolder,
    collect,
    read_pictures,
)
from edgecnn_export.verification.reduced_precision import check_reduced
from edgecnn_export.verification.reference import make_reference, reference_preprocess
from edgecnn_export.verification.verify import (
    Check,
    Verifier,
    artifacts_with_runs,
    constant_output_warnings,
    nothing_found_warnings,
    stable_images,
)
from edgecnn_runtime.bundle.bundle import (
    MANIFEST,
    Bundle,
    new_bundle,
    sha256_file,
    write_manifest,
)
from edgecnn_runtime.bundle.manifest import SCHEMA_VERSION, Artifact, Manifest
from edgecnn_runtime.errors import EdgecnnError, ExportInterruptedError, VerificationError

OPSET = 20
FLOAT_FILE = "model.fp32.onnx"


@dataclass(frozen=True)
class ExportResult:
    """What an export made.

    Attributes:
        bundle: As it was written.
        checks: Every artifact on every engine.
        warnings: What a person has to know, the most serious first.
        seconds: How long each step took, in order.
        half: What half precision gave; it is ``unmet`` where no graph passed its gate.
        int8: What quantization gave; its ``unmet`` are the targets that are not in the bundle,
            because no graph passed their gate.
    """

    bundle: Bundle
    checks: tuple[Check, ...]
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    half: Half
    int8: Int8


def export(
    config: ExportConfig,
    progress: Progress | None = None,
    checked: CheckedSettings | None = None,
) -> ExportResult:
    """Turn a trained model into a verified bundle.

    The bundle appears at ``config.out`` once the float model is verified, and is replaced by one
    with INT8 or half precision once that is.

    Args:
        config: The settings as they were typed.
        progress: Where each step is announced.
        checked: What ``check_settings`` gave for them; None checks them now.

    Raises:
        UsageError: A setting is wrong or missing.
        CheckpointError: The model file is damaged.
        UnsupportedModelError: The model cannot be exported.
        VerificationError: An artifact does not follow the reference.
        ExportInterruptedError: Ctrl-C after the float bundle was written.
        EdgecnnError: The bundle cannot be written.
    """
    timed = Timed(progress or NullProgress())
    checked = checked or check_settings(config)
    settings, backends = checked.settings, checked.backends
    pending = ""  # the digest of the float bundle, where other forms are to follow
    try:
        with ThreadPoolExecutor(max_workers=1) as aside:  # work that overlaps with a phase
            images = aside.submit(read_pictures, checked.folder, checked.files, flag=checked.flag)
            loaded, settings, size = load(settings, timed)
            out = bundle_path(settings.config)
            overwrite = settings.config.overwrite or is_unfinished(out, settings.config)
            with new_bundle(out, overwrite=overwrite) as scratch:
                model = plan(loaded, settings, size, images, timed)
                draft = verify(float_graph(model, scratch, timed), backends, timed)
                manifest = assemble(with_pending_forms(draft), config, timed)
                if wants_forms(settings.config):
                    pending = mark_unfinished(scratch, out, settings.config)
        if pending:
            draft, manifest = add_forms(draft, out, backends, config, timed)
    except KeyboardInterrupt:
        if not pending or not is_bundle(out, pending):
            raise
        raise ExportInterruptedError(
            f"interrupted: {out} holds the float model, complete and verified, and no other form. "
            "The same command goes on with them where it stopped"
        ) from None
    bundle = Bundle(out, manifest, sha256_file(out / MANIFEST))
    return ExportResult(bundle, draft.checks, draft.warnings, timed.seconds, draft.half, draft.int8)


def load(settings: ExportSettings, timed: Timed) -> tuple[LoadedModel, ExportSettings, Size]:
    """Read the model file, complete the settings by it, and refuse early what cannot work."""
    with timed.step("load"):
        loaded = load_model(settings.config)
        settings = with_checkpoint_defaults(settings, loaded.spec, loaded.origin or "checkpoint")
        size = network_size(settings.config, input_channels(loaded), input_shape(loaded))
        check_early(settings, size)
        declared, requested = declared_size(loaded).get("input"), f"{size.width}x{size.height}"
        if declared and declared != requested:
            warning = (
                f"the file is made for pictures of {declared}, and --input asks for {requested}: "
                "a network that was trained at one size may see less at another"
            )
            loaded = replace(loaded, warnings=(*loaded.warnings, warning))
    return loaded, settings, size


def plan(
    loaded: LoadedModel,
    settings: ExportSettings,
    size: Size,
    images: Future[ImageFolder | None],
    timed: Timed,
) -> PlannedModel:
    """Trace the model, run it on the verification images, and find out what it takes and gives."""
    with timed.step("trace"):
        traced = trace(loaded, size, settings.config.opset or OPSET)
        reference = make_reference(loaded, traced)
        graph = inspect_graph(traced, settings.config, reference.run, size)
        spec = plan_input(settings, size, graph).input
    with timed.step("run the reference"):
        pictures = collect(images.result(), loaded.samples, spec)
        outputs = reference.run(reference_preprocess(pictures.pixels, spec))
    evidence = Evidence(outputs=outputs, pictures=len(pictures.pixels), metadata=loaded.metadata)
    plan = resolve(settings, size, graph, evidence)
    return PlannedModel(
        config=settings.config,
        loaded=loaded,
        traced=traced,
        reference=reference,
        plan=plan,
        images=pictures,
        outputs=outputs,
    )


def float_graph(model: PlannedModel, folder: Path, timed: Timed) -> Draft:
    """Write the float artifact."""
    spec, pixels = model.plan.spec, model.images.pixels
    with timed.step("fold"):
        folded = fold_pixels(model.traced, spec.input)
    with timed.step("optimize"):
        graph = optimize(folded)
        artifact = write_artifact(folder, fuse_float(graph))
    truth = decode_reference(spec, pixels, require_finite(model.outputs, graph, pixels))
    return Draft(
        model=model,
        graph=graph,
        artifact=artifact,
        verifier=Verifier(folder, spec, truth),
        warnings=(
            *model.plan.warnings,
            *model.loaded.warnings,
            *model.images.warnings,
            *nothing_found_warnings(spec, truth),
            *constant_output_warnings(truth),
        ),
    )


def verify(draft: Draft, backends: Sequence[str], timed: Timed) -> Draft:
    """Compare the float artifact with the reference on every engine."""
    return _check(draft, [draft.artifact], backends, timed)


def halve(draft: Draft, backends: Sequence[str], timed: Timed) -> Draft:
    """Make the half precision artifact if it was asked for, and check it as the float one."""
    half = half_step(draft.graph, draft.verifier, draft.model.config, timed)
    draft = _check(draft, half.artifacts, backends, timed)
    return replace(
        draft,
        half=half,
        checks=(*draft.checks, *half.checks),
        warnings=(*draft.warnings, *half.warnings),
    )


def quantize(draft: Draft, backends: Sequence[str], timed: Timed) -> Draft:
    """Make the INT8 artifacts that were asked for, and check them as the float one."""
    int8 = quantize_step(draft.graph, draft.verifier, draft.model.config, backends, timed)
    draft = replace(draft, int8=int8, warnings=(*draft.warnings, *int8.warnings))
    return _check(draft, int8.artifacts, backends, timed)


def with_pending_forms(draft: Draft) -> Draft:
    """What the float bundle is made of: where other forms are to follow, its report says so."""
    if not wants_forms(draft.model.config):
        return draft
    return replace(draft, warnings=(*draft.warnings, PENDING))


def add_forms(
    draft: Draft, out: Path, backends: Sequence[str], command: ExportConfig, timed: Timed
) -> tuple[Draft, Manifest]:
    """Replace the float bundle by one with every form. Whatever happens, one of them is there.

    Args:
        draft: The float bundle's.
        out: Where that is.
        backends: Engines to measure on.
        command: The settings as they were typed.
        timed: The steps so far.

    Raises:
        EdgecnnError: A form cannot be made; the message says that the float bundle is there.
    """
    try:
        with new_bundle(out, overwrite=True) as scratch:
            shutil.copyfile(out / FLOAT_FILE, scratch / FLOAT_FILE)
            draft = replace(draft, verifier=replace(draft.verifier, folder=scratch))
            draft = quantize(halve(draft, backends, timed), backends, timed)
            return draft, assemble(draft, command, timed)
    except EdgecnnError as error:
        error.args = (f"{error}\n  {out} holds the float model, complete and verified",)
        raise


def assemble(draft: Draft, command: ExportConfig, timed: Timed) -> Manifest:
    """Write golden data, reports and the manifest.

    Args:
        draft: Whose artifacts are written and checked.
        command: The settings as they were typed.
        timed: The steps so far.
    """
    folder, truth = draft.verifier.folder, draft.verifier.truth
    with timed.step("pack"):
        golden = most_distinct(truth.outputs, stable_images(draft.checks))
        manifest = Manifest(
            schema=SCHEMA_VERSION,
            name=draft.model.plan.name,
            model=draft.verifier.spec,
            artifacts=artifacts_with_runs(draft.checks, draft.verifier.spec, truth, golden),
            golden=write_golden(folder, draft.model.images, truth.outputs, golden),
            provenance=draft.int8.provenance(provenance(draft.model.loaded, command)),
        )
        report = make_report(draft, manifest, golden, timed.seconds)
        reports = write_report(folder, report, draft.model.images.pixels, truth.results)
        manifest = msgspec.structs.replace(manifest, files=reports)
        write_manifest(folder, manifest)
    return manifest


def write_artifact(folder: Path, model: onnx.ModelProto) -> Artifact:
    """Write the float graph and describe it."""
    path = folder / FLOAT_FILE
    path.write_bytes(model.SerializeToString())
    return Artifact(
        file=FLOAT_FILE, precision="fp32", sha256=sha256_file(path), bytes=path.stat().st_size
    )


def _check(
    draft: Draft, artifacts: Sequence[Artifact], backends: Sequence[str], timed: Timed
) -> Draft:
    """Check artifacts at every engine's exact precision, and where asked for below it."""
    verifier, config = draft.verifier, draft.model.config
    checks = verifier.run(artifacts, backends, timed)
    if any(check.failed for check in checks):
        raise VerificationError(describe_failure(checks, verifier, draft.model.reference))
    draft = replace(draft, checks=(*draft.checks, *checks))
    if not (config.reduced or config.int8):
        return draft
    reduced = check_reduced(verifier, checks, timed)
    return replace(
        draft,
        checks=(*draft.checks, *reduced.passed),
        warnings=(*draft.warnings, *reduced.warnings),
    )
