"""What can be read off a traced graph: batch sizes, outputs, what it is made of."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import onnx

from edgecnn_export.config import ExportConfig
from edgecnn_export.planning.size import Size
from edgecnn_export.tracing.batch import batch_axes
from edgecnn_export.verification.reference import Reference
from edgecnn_runtime.bundle.manifest import Output
from edgecnn_runtime.errors import UsageError


class GraphSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A graph in numbers; operators: how often each is used, the most frequent first."""

    nodes: int
    bytes: int
    operators: dict[str, int]


VALUE_PRESERVING_OPS = {
    "Identity",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Cast",
}


@dataclass(frozen=True)
class GraphInfo:
    """A traced graph from outside: its outputs as the manifest describes them, the op type of the
    activation that ends each, and the batch sizes it takes (None: any)."""

    outputs: tuple[Output, ...]
    tails: Mapping[str, str]
    batch: tuple[int, ...] | None = None


def inspect_graph(
    model: onnx.ModelProto, config: ExportConfig, reference: Reference, size: Size
) -> GraphInfo:
    """What the settings are resolved with."""
    return GraphInfo(
        outputs_of(model, reference, size), final_activations(model), batch_sizes(config, model)
    )


def summarize_graph(model: onnx.ModelProto) -> GraphSummary:
    """Count a graph's nodes by operator, and its bytes."""
    counts = Counter(node.op_type for node in model.graph.node)
    nodes, size = sum(counts.values()), model.ByteSize()
    return GraphSummary(nodes=nodes, bytes=size, operators=dict(counts.most_common()))


def batch_sizes(config: ExportConfig, model: onnx.ModelProto) -> tuple[int, ...] | None:
    """Batch sizes the bundle allows; None for any. Raises UsageError for one the graph refuses."""
    fixed = _dims(model.graph.input[0])[0]
    asked = config.batch
    if asked is not None and (not asked or min(asked) < 1):
        raise UsageError("--batch takes sizes from 1, for instance --batch 1,4")
    if fixed is None:
        return None if asked is None else tuple(sorted(set(asked)))
    if asked not in {None, (fixed,)}:
        raise UsageError(
            f"--batch {','.join(map(str, asked or ()))}: the model takes {fixed} at a time only, "
            "because a size in its code is fixed; leave --batch out"
        )
    return (fixed,)


def outputs_of(model: onnx.ModelProto, reference: Reference, size: Size) -> tuple[Output, ...]:
    """Every output as the manifest describes it: the batch axis is None, all others are sizes.

    Where the graph does not say a size, the reference runs once to show it.
    """
    axes = batch_axes(model)
    found = {output.name: _dims(output) for output in model.graph.output}
    shapes = {
        name: (*dims[: axes[name]], None, *dims[axes[name] + 1 :]) for name, dims in found.items()
    }
    if any(not found[name] or shape.count(None) > 1 for name, shape in shapes.items()):
        planes = (1, size.channels, size.height, size.width)
        shown = reference.run(np.random.default_rng(0).standard_normal(planes, np.float32))
        shapes = {name: (*v.shape[1:][: axes[name]], None, *v.shape[1:][axes[name] :])
                  for name, v in shown.items()}  # fmt: skip
    return tuple(Output(name=name, dtype="float32", shape=shape) for name, shape in shapes.items())


def final_activations(model: onnx.ModelProto) -> dict[str, str]:
    """The op type of the activation that ends each output, through ops that only reshape."""
    made = {output: node for node in model.graph.node for output in node.output}
    ends = {}
    for output in model.graph.output:
        node = made.get(output.name)
        while node is not None and node.op_type in VALUE_PRESERVING_OPS:
            node = made.get(node.input[0])
        ends[output.name] = node.op_type if node is not None else ""
    return ends


def _dims(value: Any) -> tuple[int | None, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims)
