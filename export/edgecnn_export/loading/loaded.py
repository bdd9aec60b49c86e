"""A loaded model as a value, and what can be told of its one input."""

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

from edgecnn_export.loading.file_format import Kind


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model in memory, and what its file says of itself.

    path, sha256: the file and its content. kind: what it was.
    module: in eval(), float32, on the CPU, without gradients; None for ONNX.
    onnx: the graph as it came, checked, without external tensors; None for everything else.
    program: the exported program ``module`` was made from; only for ``pt2``.
    spec: ExportConfig keys that the file (or timm's configuration of it) says, typed as there.
    origin: where ``mean`` and ``std`` of ``spec`` come from; None where it has none.
    samples: uint8[N,h,w,3] BGR pictures from the checkpoint; owned by the receiver.
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


def input_channels(loaded: LoadedModel) -> int | None:
    """How many channels the model's picture has: 1 or 3 (4 is told too), None where not certain.

    From the declared input of ONNX and exported programs, else from the first convolution; one
    that takes more than 4 channels may stand behind a reshaping of the picture.
    """
    shape = input_shape(loaded)
    channels = shape[1] if shape else None
    if channels is None and loaded.module is not None:
        channels = first_conv_channels(loaded.module)
    return channels if channels is not None and 1 <= channels <= 4 else None


def input_shape(loaded: LoadedModel) -> tuple[int | None, ...] | None:
    """The one input's declared shape, None where a size is dynamic; None as a whole if unknown."""
    if loaded.onnx is not None:
        weights = {tensor.name for tensor in loaded.onnx.graph.initializer}
        inputs = [value for value in loaded.onnx.graph.input if value.name not in weights]
        dims = inputs[0].type.tensor_type.shape.dim if len(inputs) == 1 else []
        sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]
    elif loaded.program is not None:
        names = set(loaded.program.graph_signature.user_inputs)
        placed = loaded.program.graph.find_nodes(op="placeholder")
        values = [node.meta["val"] for node in placed if node.name in names]
        dims = values[0].shape if len(values) == 1 else []
        sizes = [size if isinstance(size, int) else None for size in dims]
    else:
        return None
    return tuple(sizes) if len(sizes) == 4 else None


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
        named = getattr(part, "original_name", type(part).__name__)
        if isinstance(weight, torch.Tensor) and weight.ndim == 4 and "Transpose" not in named:
            groups = getattr(part, "groups", 1)
            return int(weight.shape[1]) * (groups if isinstance(groups, int) else 1)
    return None
