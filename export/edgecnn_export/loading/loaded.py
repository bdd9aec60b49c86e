"""A loaded model as a value, and what is known of its one input."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import nn
from torch.export import ExportedProgram

from edgecnn_export.exporter_metadata import NO_METADATA, ExporterMetadata
from edgecnn_export.loading.file_format import Kind
from edgecnn_export.loading.program import batch_of, image_of


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model in memory, and the settings its file declares.

    Attributes:
        path: The file.
        sha256: Of its content.
        kind: What kind of file it is.
        module: In eval(), float32, on the CPU, without gradients; None for ONNX.
        onnx: The graph as it was read, checked, without external tensors; None for other kinds.
        program: The exported program of ``module``; only for ``pt2``.
        spec: ExportConfig keys that the file (or timm's configuration of it) sets.
        origin: Where ``mean`` and ``std`` of ``spec`` come from; None where it has none.
        samples: uint8[N,h,w,3] BGR images from the checkpoint; owned by the receiver.
        warnings: What a person has to know about how it was read.
        metadata: What an exporter wrote into the file; ``spec`` has the settings among it.
    """

    path: Path
    sha256: str
    kind: Kind
    module: nn.Module | None = None
    onnx: ModelProto | None = None
    program: ExportedProgram | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    origin: Literal["checkpoint", "timm"] | None = None
    samples: NDArray[np.uint8] | None = None
    warnings: tuple[str, ...] = ()
    metadata: ExporterMetadata = NO_METADATA


def input_channels(loaded: LoadedModel) -> int | None:
    """How many channels the model's image has, 1 to 4; None where that is not certain.

    From the declared input of ONNX and exported programs, else from the first convolution. One
    that takes more than 4 channels may follow a reshaping of the image.
    """
    shape = input_shape(loaded)
    channels = shape[1] if shape else None
    if channels is None and loaded.module is not None:
        channels = first_conv_channels(loaded.module)
    return channels if channels is not None and 1 <= channels <= 4 else None


def input_shape(loaded: LoadedModel) -> tuple[int | None, ...] | None:
    """The image's declared shape N,C,H,W, None where a size is free; None as a whole if unknown."""
    if loaded.onnx is not None:
        weights = {tensor.name for tensor in loaded.onnx.graph.initializer}
        image = next(value for value in loaded.onnx.graph.input if value.name not in weights)
        dims = image.type.tensor_type.shape.dim
        return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims)
    if loaded.program is not None:
        _, *sizes = image_of(loaded.program).shape
        fixed = (size if isinstance(size, int) else None for size in sizes)
        return (batch_of(loaded.program), *fixed)
    return None


def declared_size(loaded: LoadedModel) -> dict[str, str]:
    """``{"input": "WIDTHxHEIGHT"}`` where the declared input is NCHW of a fixed size, else {}."""
    match input_shape(loaded):
        case (_, 1 | 3 | None, int(height), int(width)):
            return {"input": f"{width}x{height}"}
    return {}


def first_conv_channels(module: nn.Module) -> int | None:
    """Input channels of the first 2-D convolution, in order of definition; None without one."""
    for part in module.modules():
        weight = getattr(part, "weight", None)
        kind = getattr(part, "original_name", type(part).__name__)
        if isinstance(weight, torch.Tensor) and weight.ndim == 4 and "Transpose" not in kind:
            groups = getattr(part, "groups", 1)
            return int(weight.shape[1]) * (groups if isinstance(groups, int) else 1)
    return None
