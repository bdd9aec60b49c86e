"""What a scheme could quantize and had better not."""

from collections.abc import Collection
from dataclasses import dataclass

import onnx

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
    """nodes: names of those that stay in float. tensors: made by layers with weights, and not
    quantized either."""

    nodes: frozenset[str] = frozenset()
    tensors: frozenset[str] = frozenset()


def find_ignored(model: onnx.ModelProto, scheme: QuantScheme) -> Ignored:
    """Find what eight bits would only harm.

    Results: behind the last layer with weights nothing multiplies them again, and OpenVINO returns
    each output to float in steps of its own. And elementwise operators beside one that is in float
    in any case, as the products in a GELU or the scale of a layer normalization: rounding between
    two float operators gains nothing. A MatMul that only those read gives float itself; a
    convolution cannot, in ONNX Runtime, without being computed in float.
    """
    if not scheme.quantize_outputs:
        return Ignored()
    leading = _leading(model)
    behind = {
        node.name
        for node in model.graph.node
        if node.op_type not in WEIGHTED and not leading.intersection(node.output)
    }
    beside = behind | _beside_float(model, scheme)
    wanted, unread = _wanted(model, scheme, beside)
    tensors = {
        tensor
        for tensor, maker in _makers(model).items()
        if tensor not in leading or (maker in scheme.float_output_ops and tensor not in wanted)
    }
    # a ReLU whose output is quantized becomes the end of that range; without one it has to stay
    kept = {n.name for n in model.graph.node if n.op_type in FUSED and n.output[0] in tensors}
    return Ignored(frozenset(beside | unread | kept), frozenset(tensors))


def shared_quantizers(model: onnx.ModelProto, scheme: QuantScheme) -> dict[str, str]:
    """Tensors that share another one's quantizer, holding its values elsewhere: name → other's."""
    if not scheme.quantize_outputs:
        return {}
    moves = set(PASSTHROUGH_OPS) - {"AveragePool", "Resize"}  # those make new values
    origin: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type in moves:
            for output in node.output:
                origin[output] = origin.get(node.input[0], node.input[0])
    return origin


def _leading(model: onnx.ModelProto) -> set[str]:
    """Tensors with a layer with weights somewhere behind them."""
    leading: set[str] = set()
    for node in reversed(model.graph.node):
        if node.op_type in WEIGHTED or leading.intersection(node.output):
            leading.update(node.input)
    return leading


def _beside_float(model: onnx.ModelProto, scheme: QuantScheme) -> set[str]:
    """Names of elementwise operators that read a float one, or one that does."""
    constants = {i.name for i in model.graph.initializer}
    beside: set[str] = set()
    floats: set[str] = set()
    for node in model.graph.node:
        read = [name for name in node.input if name not in constants]
        if node.op_type in ELEMENTWISE and floats.intersection(read):
            beside.add(node.name)
        moved = node.op_type in MOVES and floats.intersection(read[:1])
        if node.op_type not in scheme.operators or node.name in beside or moved:
            floats.update(node.output)
    return beside


def _wanted(
    model: onnx.ModelProto, scheme: QuantScheme, floats: Collection[str]
) -> tuple[set[str], set[str]]:
    """Tensors that a quantized operator reads; names of elementwise operators that make none."""
    wanted: set[str] = set()
    unread: set[str] = set()
    for node in reversed(model.graph.node):
        if node.name in floats or node.op_type not in scheme.operators:
            continue
        if node.op_type in WEIGHTED or wanted.intersection(node.output):
            wanted.update(node.input)
        elif node.op_type in ELEMENTWISE:
            unread.add(node.name)
    return wanted, unread


def _makers(model: onnx.ModelProto) -> dict[str, str]:
    """The operator that a tensor's values come from, whether they were moved since or not."""
    makers: dict[str, str] = {}
    for node in model.graph.node:
        moved = makers.get(node.input[0]) if node.input and node.op_type in MOVES else None
        makers |= dict.fromkeys(node.output, moved or node.op_type)
    return makers
