"""What an export has to tell, as plain values: all of report.json, all that report.html shows."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from edgecnn_export.planning.graph_info import GraphSummary
from edgecnn_export.quantization.report import Int8Report, make_int8_report
from edgecnn_export.quantization.step import Int8
from edgecnn_export.verification.compare import ReferenceOutputs
from edgecnn_export.verification.images import NetworkImages
from edgecnn_export.verification.verify import Check
from edgecnn_runtime.bundle.manifest import Manifest
from edgecnn_runtime.tasks import task_of

SCHEMA = 1


class ReportImage(msgspec.Struct, frozen=True, kw_only=True):
    """A verification picture: where it came from, what the model says of it, which engines agree.

    golden: whether it is in the bundle's self-test.
    """

    name: str
    result: str
    agreed: dict[str, bool]
    golden: bool


class ExportReport(msgspec.Struct, frozen=True, kw_only=True):
    """All of report.json.

    bundle: the manifest, without the list of files this report is itself in. warnings: in plain
    words. gate: the centered cosine every float output had to reach. before, after: the graph as
    traced and as emitted. seconds: how long each step of the export took. int8: how it was made.
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
    int8: Int8Report | None = None


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """What a report is made from."""

    manifest: Manifest
    warnings: Sequence[str]
    before: GraphSummary
    after: GraphSummary
    pictures: NetworkImages
    truth: ReferenceOutputs
    golden: Sequence[int]
    checks: Sequence[Check]
    seconds: dict[str, float]
    int8: Int8


def make_report(facts: ReportInputs) -> ExportReport:
    """The report as it is written."""
    task = task_of(facts.manifest.model)
    checks = {_where(check): check for check in facts.checks}
    return ExportReport(
        schema=SCHEMA,
        bundle=facts.manifest,
        warnings=tuple(facts.warnings),
        gate=max(check.gate.cosine for check in facts.checks),
        before=facts.before,
        after=facts.after,
        pictures=tuple(
            ReportImage(
                name=name,
                result=task.summarize(facts.truth.results[index]),
                agreed={engine: check.comparison.agreed[index] for engine, check in checks.items()},
                golden=index in facts.golden,
            )
            for index, name in enumerate(facts.pictures.names)
        ),
        skipped=facts.pictures.skipped,
        seconds=facts.seconds,
        int8=make_int8_report(facts.int8) if facts.int8.results else None,
    )


def _where(check: Check) -> str:
    """What a person calls one artifact on one engine."""
    target = check.artifact.target
    return check.engine if target == "any" else f"{check.engine} int8-{target}"
