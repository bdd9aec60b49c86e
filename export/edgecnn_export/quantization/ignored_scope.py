"""What a scheme could quantize and had better not."""

from collections.abc import Collection
from dataclasses import dataclass

import onnx

from edgecnn_export.quantization.onnx_graph import constants
from edgecnn_export.quantization.schemes import (
    ELEMENTWISE,
    FUSED,
    PASSTHROUGH_OPS,
    WEIGHTED,
    QuantScheme,
)

MOVES = FUSED + PASSTHROUGH_OPS


@dataclass(frozen=True)
class Ignored:
    """What is not quantized.

    Attributes:
        nodes: The names of those that stay in float.
        tensors: The tensors without a quantizer, among those that layers with weights compute.
    """

    nodes: frozenset[str] = frozenset()
    tensors: frozenset[str] = frozenset()


def find_ignored(model: onnx.ModelProto, scheme: QuantScheme) -> Ignored:
    """Find what eight bits would only harm.

    Results: behind the last layer with weights nothing multiplies them again, and OpenVINO returns
    each output to float in steps of its own. And elementwise operators beside one that is in float
    in any case, as the products in a GELU or the scale of a layer normalization: rounding between
    two float operators gains nothing. A MatMul that only those read gives float itself; a
    convolution cannot, in ONNX Runtime, without being computed in float.

    Args:
        model: The float graph, every node named.
        scheme: What it quantizes.
    """
    if not scheme.quantize_outputs:
        return Ignored()
    leading = _leading(model)
    floats = {
        node.name
        for node in model.graph.node
        if node.op_type not in WEIGHTED and not leading.intersection(node.output)
    } | _beside_float(model, scheme)
    inputs, unread = _quantized_reads(model, scheme, floats)
    tensors = {
        tensor
        for tensor, origin in _origin_operators(model).items()
        if tensor not in leading or (origin in scheme.float_output_ops and tensor not in inputs)
    }
    # a ReLU whose output is quantized becomes the end of that range; without one it has to stay
    relus = {n.name for n in model.graph.node if n.op_type in FUSED and n.output[0] in tensors}
    return Ignored(frozenset(floats | unread | relus), frozenset(tensors))


def shared_quantizers(model: onnx.ModelProto, scheme: QuantScheme) -> dict[str, str]:
    """The tensors that hold the values of another one elsewhere, and share its quantizer.

    Returns:
        The other one by the tensor's name.
    """
    if not scheme.quantize_outputs:
        return {}
    moves = set(PASSTHROUGH_OPS) - {"AveragePool", "Resize"}  # those make new values
    origins: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type in moves:
            origins |= dict.fromkeys(node.output, origins.get(node.input[0], node.input[0]))
    return origins


def _leading(model: onnx.ModelProto) -> set[str]:
    """Tensors with a layer with weights somewhere behind them."""
    leading: set[str] = set()
    for node in reversed(model.graph.node):
        if node.op_type in WEIGHTED or leading.intersection(node.output):
            leading.update(node.input)
    return leading


def _beside_float(model: onnx.ModelProto, scheme: QuantScheme) -> set[str]:
    """Names of elementwise operators that read a float one, or one that does."""
    stored = constants(model.graph)
    beside: set[str] = set()
    floats: set[str] = set()
    for node in model.graph.node:
        inputs = [name for name in node.input if name not in stored]
        if node.op_type in ELEMENTWISE and floats.intersection(inputs):
            beside.add(node.name)
        moved = node.op_type in MOVES and floats.intersection(inputs[:1])
        if node.op_type not in scheme.operators or node.name in beside or moved:
            floats.update(node.output)
    return beside


def _quantized_reads(
    model: onnx.ModelProto, scheme: QuantScheme, floats: Collection[str]
) -> tuple[set[str], set[str]]:
    """Tensors that a quantized operator reads; names of elementwise operators that make none."""
    inputs: set[str] = set()
    unread: set[str] = set()
    for node in reversed(model.graph.node):
        if node.name in floats or node.op_type not in scheme.operators:
            continue
        if node.op_type in WEIGHTED or inputs.intersection(node.output):
            inputs.update(node.input)
        elif node.op_type in ELEMENTWISE:
            unread.add(node.name)
    return inputs, unread


def _origin_operators(model: onnx.ModelProto) -> dict[str, str]:
    """The operator that a tensor's values come from, whether they were moved since or not."""
    origins: dict[str, str] = {}
    for node in model.graph.node:
        moved = origins.get(node.input[0]) if node.input and node.op_type in MOVES else None
        origins |= dict.fromkeys(node.output, moved or node.op_type)
    return origins
