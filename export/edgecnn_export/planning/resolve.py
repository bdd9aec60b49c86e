"""The user's settings, the file and the graph → one plan: input, task, decode, labels.

A setting that no source gives is taken from the graph, assumed with a warning, or refused with the
flag that sets it.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from edgecnn_export.config import ExportConfig, Head
from edgecnn_export.planning import heads
from edgecnn_export.planning.graph_info import GraphInfo
from edgecnn_export.planning.labels import class_names, numbered, read_labels
from edgecnn_export.planning.normalization import normalization
from edgecnn_export.planning.settings import ExportSettings
from edgecnn_export.planning.size import Size
from edgecnn_runtime.bundle.manifest import (
    Color,
    Input,
    ModelSpec,
    Normalization,
    Resize,
    Task,
)
from edgecnn_runtime.decode import make_decoder
from edgecnn_runtime.errors import BundleError, ConfigError, UsageError


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
    """Check normalization and labels before the long work starts.

    Raises:
        UsageError: ``resolve`` would refuse them after it.
    """
    task = settings.config.task or _head_task(settings.config.head)
    normalization(settings, _color(settings.config, size), task)
    read_labels(settings.config)


def resolve(settings: ExportSettings, size: Size, graph: GraphInfo) -> Plan:
    """Plan one export.

    Args:
        settings: The merged settings.
        size: What the network takes.
        graph: The traced graph.

    Raises:
        UsageError: A setting cannot be known; the message names the flag that sets it.
    """
    config = settings.config
    labels = read_labels(config)
    options = _options(config)
    shapes = {o.name: tuple(1 if d is None else d for d in o.shape) for o in graph.outputs}
    outputs = heads.Outputs(
        shapes, graph.tails, size.width, size.height, len(labels or ()), options
    )
    requested = config.head if config.head != "auto" else None
    head = requested or heads.guess_head(outputs, config.task)
    task = heads.HEADS[head][1]
    if config.task not in {None, task}:
        raise UsageError(f"--task {config.task} and --head {head} do not go together")
    color = _color(config, size)
    mean_std, warnings = normalization(settings, color, task)
    if labels and task == "ocr":
        options = {"charset": labels, **options}
    if task == "ocr" and "charset" not in options:
        name = outputs.one(3, "a text reader")
        options = {"charset": numbered(shapes[name][2] - 1), **options}
    decode = heads.decoder(head, outputs, options)
    names = class_names(decode, outputs, labels)
    if labels is None and len(names) > 1 and task in {"classify", "detect", "ocr"}:
        warnings.append("no --labels: the classes are called 0, 1, 2, …")
    spec = ModelSpec(
        task=task,
        input=_input(config, size, color, mean_std, task),
        outputs=graph.outputs,
        decode=decode,
        labels=names,
        batch=graph.batch,
    )
    try:
        make_decoder(spec)
    except BundleError as error:
        raise UsageError(f"this head does not fit the model: {error}") from None
    return Plan(name=config.bundle_name(), spec=spec, warnings=tuple(warnings))


def _head_task(head: Head | None) -> Task | None:
    return heads.HEADS[head][1] if head and head != "auto" else None


def _options(config: ExportConfig) -> dict[str, Any]:
    thresholds = {"score": config.score, "iou": config.iou}
    return {k: v for k, v in thresholds.items() if v is not None} | config.decode


def _color(config: ExportConfig, size: Size) -> Color:
    return config.color or ("gray" if size.channels == 1 else "rgb")


def _input(
    config: ExportConfig, size: Size, color: Color, mean_std: Normalization, task: Task
) -> Input:
    default: Resize = "letterbox" if task == "detect" else "stretch"
    fields = {
        "width": size.width,
        "height": size.height,
        "color": color,
        "normalization": mean_std,
        "resize": config.resize or default,
        "interpolation": config.interpolation,
        "crop_pct": config.crop_pct,
        "pad": _pad(config.pad),
        "pad_position": config.pad_position,
    }
    values = {key: value for key, value in fields.items() if value is not None}
    try:
        return msgspec.convert(values, Input)
    except msgspec.ValidationError as error:
        raise ConfigError(f"input settings: {error}") from None


def _pad(pad: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if pad is None:
        return None
    if len(pad) not in {1, 3} or not all(0 <= value <= 255 for value in pad):
        raise UsageError("--pad is one gray value or B,G,R, each 0..255, for instance --pad 114")
    return pad * 3 if len(pad) == 1 else pad
