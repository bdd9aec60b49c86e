"""The user's settings, the file and the graph → one plan: input, task, decode, labels.

A setting that no source gives is taken from the graph, assumed with a warning, or refused with the
flag that sets it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from edgecnn_export import heads
from edgecnn_export.config import ExportConfig
from edgecnn_export.exporter_metadata import NO_METADATA, ExporterMetadata
from edgecnn_export.heads.base import Outputs, numbered
from edgecnn_export.heads.ranked import first_class_warnings
from edgecnn_export.loading.size import Size
from edgecnn_export.planning.graph_info import GraphInfo
from edgecnn_export.planning.labels import class_names, read_labels
from edgecnn_export.planning.names import check_names, read_pad, requested_head
from edgecnn_export.planning.normalization import normalization
from edgecnn_export.planning.settings import ExportSettings
from edgecnn_export.planning.unsupported_heads import refuse_unsupported
from edgecnn_runtime.bundle.manifest import (
    Color,
    Ctc,
    Input,
    ModelSpec,
    Normalization,
    Ranked,
    Resize,
)
from edgecnn_runtime.errors import BundleError, ConfigError, UsageError
from edgecnn_runtime.tasks import TASKS, make_decoder
from edgecnn_runtime.types import Floats


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of a model besides its graph.

    Attributes:
        outputs: The reference's on the verification pictures, float32[N,…] by name, the batch
            first.
        pictures: How many pictures these are.
        metadata: What the exporter wrote into the model file.
    """

    outputs: Mapping[str, Floats] = field(default_factory=dict)
    pictures: int = 0
    metadata: ExporterMetadata = NO_METADATA


@dataclass(frozen=True, kw_only=True)
class InputPlan:
    """How a frame becomes the network's input.

    Attributes:
        input: For the manifest.
        warnings: One for each assumption.
    """

    input: Input
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that the manifest contains besides files and measurements.

    Attributes:
        name: The bundle's name.
        spec: What the model takes and gives.
        warnings: What a person has to know, the most serious first.
    """

    name: str
    spec: ModelSpec
    warnings: tuple[str, ...]


def check_early(settings: ExportSettings, size: Size) -> None:
    """Check task, head, normalization and labels before the long work starts.

    Raises:
        UsageError: ``resolve`` would refuse them after it.
    """
    task = check_names(settings.config)
    normalization(settings, _color(settings.config, size), task)


def plan_input(settings: ExportSettings, size: Size, graph: GraphInfo) -> InputPlan:
    """Plan how frames are prepared: what the model has to be run with before its head is believed.

    Args:
        settings: The merged settings.
        size: What the network takes.
        graph: The traced graph.

    Raises:
        UsageError: A setting cannot be known; the message names the flag that sets it.
    """
    config = settings.config
    head = requested_head(config)
    ranks = [len(output.shape) for output in graph.outputs]
    task = heads.task_of_head(head, config.task) if head else config.task
    task = task or ("classify" if ranks == [2] else "detect")
    color = _color(config, size)
    mean_std, warnings = normalization(settings, color, task)
    return InputPlan(input=_input(config, size, color, mean_std, task), warnings=tuple(warnings))


def resolve(
    settings: ExportSettings, size: Size, graph: GraphInfo, evidence: Evidence | None = None
) -> Plan:
    """Plan one export.

    Args:
        settings: The merged settings.
        size: What the network takes.
        graph: The traced graph.
        evidence: What the head is believed on; None leaves names and shapes alone.

    Raises:
        UsageError: A setting cannot be known; the message names the flag that sets it.
        UnsupportedModelError: The outputs are those of a head that edgecnn does not have.
    """
    config = settings.config
    labels = read_labels(config)
    outputs = _outputs(config, size, graph, labels or (), evidence or Evidence())
    requested = requested_head(config)
    refuse_unsupported(outputs, config.task, requested)
    head = requested or heads.guess_head(outputs, config.task)
    task = heads.task_of_head(head, config.task)
    plan = plan_input(settings, size, graph)
    decode = heads.read_head(head, task, outputs)
    names = class_names(decode, outputs, labels)
    warnings = list(plan.warnings)
    if labels is None and len(names) > 1 and names == numbered(len(names)):
        warnings.append("no --labels: the classes are called 0, 1, 2, …")
    if isinstance(decode, Ranked):
        warnings += first_class_warnings(decode, outputs)
    if labels is None and isinstance(decode, Ctc) and "charset" not in config.decode:
        count = len(decode.charset)
        warnings.append(
            "no --labels: a reading is made of numbers, not of characters; give --labels FILE with "
            f"the model's {count} characters, one per line, in their order"
        )
    if config.batch is None and graph.batch and min(graph.batch) > 1:
        least = min(graph.batch)
        warnings.append(
            f"the model takes {least} pictures at a time only, so one picture costs as much as "
            f"{least}: for a single camera export it again with a batch of one or a free batch"
        )
    declared = requested or (labels and labels == outputs.metadata.labels)
    certain = declared or (config.task and len(heads.heads_of(config.task)) == 1)
    spec = ModelSpec(
        task=task,
        input=plan.input,
        outputs=graph.outputs,
        decode=decode,
        head_origin="given" if certain else "guessed",
        labels=names,
        batch=graph.batch,
    )
    try:
        make_decoder(spec)
    except BundleError as error:
        raise UsageError(f"this head does not fit the model: {error}") from None
    return Plan(name=config.bundle_name(), spec=spec, warnings=tuple(warnings))


def _outputs(
    config: ExportConfig,
    size: Size,
    graph: GraphInfo,
    labels: tuple[str, ...],
    evidence: Evidence,
) -> Outputs:
    """All that heads are told from."""
    shapes = {o.name: tuple(1 if d is None else d for d in o.shape) for o in graph.outputs}
    batchless = {o.name for o in graph.outputs if None not in o.shape}
    for name, values in evidence.outputs.items():
        if len(values) != evidence.pictures:
            shapes[name] = (len(values) // max(1, evidence.pictures), *values.shape[1:])
            batchless.add(name)
    thresholds = {"score": config.score, "iou": config.iou}
    options = {key: value for key, value in thresholds.items() if value is not None}
    return Outputs(
        shapes=shapes,
        tails=graph.tails,
        width=size.width,
        height=size.height,
        labels=labels,
        options=options | config.decode,
        samples=evidence.outputs,
        metadata=evidence.metadata,
        batchless=frozenset(batchless),
    )


def _color(config: ExportConfig, size: Size) -> Color:
    return config.color or ("gray" if size.channels == 1 else "rgb")


def _input(
    config: ExportConfig, size: Size, color: Color, mean_std: Normalization, task: str
) -> Input:
    default: Resize = "letterbox" if TASKS[task].locates else "stretch"
    fields = {
        "width": size.width,
        "height": size.height,
        "color": color,
        "color_origin": "given" if config.color or color == "gray" else "assumed",
        "normalization": mean_std,
        "resize": config.resize or default,
        "interpolation": config.interpolation,
        "crop_pct": config.crop_pct,
        "pad": read_pad(config.pad),
        "pad_position": config.pad_position,
    }
    values = {key: value for key, value in fields.items() if value is not None}
    try:
        return msgspec.convert(values, Input)
    except msgspec.ValidationError as error:
        raise ConfigError(f"input settings: {error}") from None
