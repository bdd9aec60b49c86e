"""What an export reports, as plain values: all of report.json, and all that report.html shows."""

from collections.abc import Sequence

import msgspec

from edgecnn_export.draft import Draft
from edgecnn_export.half_precision.report import HalfReport
from edgecnn_export.planning.graph_info import GraphSummary, summarize_graph
from edgecnn_export.quantization.report import Int8Report
from edgecnn_export.verification.verify import Check
from edgecnn_runtime.bundle.manifest import Manifest, artifact_name
from edgecnn_runtime.tasks import task_of

SCHEMA = 1


class ReportImage(msgspec.Struct, frozen=True, kw_only=True):
    """A verification image.

    Attributes:
        name: Its file below the folder, or another origin.
        result: What the model's author gets for it, in a few words.
        agreed: By engine and artifact, whether the whole result is equal.
        golden: Whether it is in the bundle's self-test.
    """

    name: str
    result: str
    agreed: dict[str, bool]
    golden: bool


class ExportReport(msgspec.Struct, frozen=True, kw_only=True):
    """All of report.json.

    Attributes:
        schema: SCHEMA.
        bundle: The manifest, without the files of the report itself.
        warnings: What a person has to know, the most serious first.
        gate: The centered cosine every float output had to reach.
        before: The graph as traced.
        after: The graph as emitted.
        pictures: The verification images.
        skipped: Files of the folder that could not be read as pictures.
        seconds: How long each step of the export took.
        half: How the half precision artifact was made; None without one.
        int8: How the INT8 artifacts were made; None without any.
    """

    schema: int
    bundle: Manifest
    warnings: tuple[str, ...]
    gate: float
    before: GraphSummary
    after: GraphSummary
    pictures: tuple[ReportImage, ...]
    skipped: tuple[str, ...]
    seconds: dict[str, float]
    half: HalfReport | None = None
    int8: Int8Report | None = None


def make_report(
    draft: Draft, manifest: Manifest, golden: Sequence[int], seconds: dict[str, float]
) -> ExportReport:
    """The report of a bundle.

    Args:
        draft: What the bundle is made of.
        manifest: The bundle's, without the report's own files.
        golden: Which of the verification images are in the self-test.
        seconds: How long each step of the export took.
    """
    images, results = draft.model.images, draft.verifier.truth.results
    task = task_of(manifest.model)
    agreed = {_where(check): check.comparison.agreed for check in draft.checks}
    return ExportReport(
        schema=SCHEMA,
        bundle=manifest,
        warnings=draft.warnings,
        gate=max(check.gate.cosine for check in draft.checks),
        before=summarize_graph(draft.model.traced),
        after=summarize_graph(draft.graph),
        pictures=tuple(
            ReportImage(
                name=name,
                result=task.summarize(results[index]),
                agreed={engine: equal[index] for engine, equal in agreed.items()},
                golden=index in golden,
            )
            for index, name in enumerate(images.names)
        ),
        skipped=images.skipped,
        seconds=seconds,
        half=draft.half.report,
        int8=draft.int8.report,
    )


def _where(check: Check) -> str:
    """The engine, and the name of an artifact below float32."""
    name = artifact_name(check.artifact.file)
    return check.engine if check.artifact.precision == "fp32" else f"{check.engine} {name}"
