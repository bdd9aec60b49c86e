"""What can be read off a traced graph: outputs, final activations, batch sizes, operator counts."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import onnx

from edgecnn_export.config import ExportConfig
from edgecnn_export.loading.size import Size
from edgecnn_export.tracing.batch import batch_axes
from edgecnn_runtime.bundle.manifest import Output
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.types import Floats

VALUE_PRESERVING_OPS = {
    "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Cast",
}  # fmt: skip


class GraphSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A graph in numbers.

    Attributes:
        nodes: How many nodes it has.
        bytes: Its size as a file.
        operators: How often each operator is used, the most frequent first.
    """

    nodes: int
    bytes: int
    operators: dict[str, int]


@dataclass(frozen=True)
class GraphInfo:
    """A traced graph as seen from outside.

    Attributes:
        outputs: Its outputs as the manifest describes them.
        tails: By output name, the op type of the activation that ends it; "" without one.
        batch: The batch sizes it takes; None means any.
    """

    outputs: tuple[Output, ...]
    tails: Mapping[str, str]
    batch: tuple[int, ...] | None = None


def inspect_graph(
    model: onnx.ModelProto,
    config: ExportConfig,
    run: Callable[[Floats], Mapping[str, Floats]],
    size: Size,
) -> GraphInfo:
    """Read off a graph what the settings are resolved with.

    Args:
        model: The traced float graph.
        config: The settings, for the batch sizes asked for.
        run: The reference: normalized float32[N,C,H,W] to outputs by name, the batch first. It
            runs once, where the graph does not give the size of an output.
        size: What the network takes.

    Raises:
        UsageError: The graph does not take a batch size that was asked for.
    """
    return GraphInfo(
        outputs_of(model, run, size), final_activations(model), batch_sizes(config, model)
    )


def summarize_graph(model: onnx.ModelProto) -> GraphSummary:
    """Count a graph's nodes by operator, and its bytes."""
    counts = Counter(node.op_type for node in model.graph.node)
    nodes, size = sum(counts.values()), model.ByteSize()
    return GraphSummary(nodes=nodes, bytes=size, operators=dict(counts.most_common()))


def batch_sizes(config: ExportConfig, model: onnx.ModelProto) -> tuple[int, ...] | None:
    """Batch sizes the bundle allows; None means any.

    Raises:
        UsageError: The graph does not take a batch size that was asked for.
    """
    fixed = _dims(model.graph.input[0])[0]
    requested = config.batch
    if requested is not None and (not requested or min(requested) < 1):
        raise UsageError("--batch takes sizes from 1, for instance --batch 1,4")
    if fixed is None:
        return None if requested is None else tuple(sorted(set(requested)))
    if requested not in {None, (fixed,)}:
        raise UsageError(
            f"--batch {','.join(map(str, requested or ()))}: the model takes {fixed} at a time "
            "only, because a size in its code is fixed; leave --batch out"
        )
    return (fixed,)


def outputs_of(
    model: onnx.ModelProto, run: Callable[[Floats], Mapping[str, Floats]], size: Size
) -> tuple[Output, ...]:
    """Every output as the manifest describes it: the batch axis is None, all others are sizes.

    An output of a graph with a fixed batch that has no axis of that size has no None.

    Args:
        model: The traced float graph.
        run: As for ``inspect_graph``.
        size: What the network takes.
    """
    axes = batch_axes(model)
    declared = {output.name: _dims(output) for output in model.graph.output}
    batch = _dims(model.graph.input[0])[0]
    shapes = {
        name: (*dims[: axes[name]], None, *dims[axes[name] + 1 :])
        if batch is None or not dims or dims[axes[name]] in {None, batch}
        else dims
        for name, dims in declared.items()
    }
    if any(not declared[name] or shape.count(None) > 1 for name, shape in shapes.items()):
        planes = np.random.default_rng(0).standard_normal((1, *size.chw), np.float32)
        values = run(planes)
        shapes = {name: (*v.shape[1:][: axes[name]], None, *v.shape[1:][axes[name] :])
                  for name, v in values.items()}  # fmt: skip
    return tuple(Output(name=name, dtype="float32", shape=shape) for name, shape in shapes.items())


def final_activations(model: onnx.ModelProto) -> dict[str, str]:
    """The op type of the activation at the end of each output, before operators that reshape."""
    producers = {output: node for node in model.graph.node for output in node.output}
    activations = {}
    for output in model.graph.output:
        node = producers.get(output.name)
        while node is not None and node.op_type in VALUE_PRESERVING_OPS:
            node = producers.get(node.input[0])
        activations[output.name] = node.op_type if node is not None else ""
    return activations


def _dims(value: Any) -> tuple[int | None, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims)
