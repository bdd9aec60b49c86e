"""A half precision graph as ONNX Runtime computes it faithfully on a processor.

ONNX Runtime has float16 kernels for few operators on x86. It computes the others in float32, and
between two of them it removes the cast to float16 again, so most activations are never rounded. In
the form that is made here every tensor is float32, and is rounded to float16 where it was one.
"""

import numpy as np
import onnx
import onnx_ir as ir

from edgecnn_export.graph.nodes import const_value
from edgecnn_export.half_precision.convert import FLOAT, HALF, MOVES


def with_explicit_rounding(model: onnx.ModelProto) -> onnx.ModelProto:
    """A float32 graph that gives what a half precision graph gives where sums are float32.

    Args:
        model: From ``to_half``.
    """
    working = ir.from_proto(model)
    graph = working.graph
    for value in graph.initializers.values():
        if value.dtype == HALF:
            numbers = np.asarray(const_value(value), np.float32)
            value.const_value, value.dtype = ir.tensor(numbers, name=value.name), FLOAT
    for node in list(graph):
        for value in node.outputs:
            if value.dtype != HALF:
                continue
            value.dtype = FLOAT
            if node.op_type == "Cast":
                node.attributes["to"] = ir.AttrInt64("to", FLOAT)
            if node.op_type not in MOVES:
                _round(graph, node, value)
    rounding: onnx.ModelProto = ir.to_proto(working)
    return rounding


def _round(graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
    """Let all readers of a tensor read it rounded to float16."""
    narrow = ir.node("Cast", [value], {"to": HALF}, name=f"{value.name}.narrow")
    narrow.outputs[0].name = f"{value.name}.narrow"
    wide = ir.node("Cast", narrow.outputs, {"to": FLOAT}, name=f"{value.name}.rounded")
    rounded = wide.outputs[0]
    rounded.name, rounded.dtype, rounded.shape = f"{value.name}.rounded", FLOAT, value.shape
    value.replace_all_uses_with(rounded)
    narrow.replace_input_with(0, value)
    graph.insert_after(node, [narrow, wide])
