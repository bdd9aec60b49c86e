"""A float graph whose layers compute in half precision.

Strongly typed engines compute in what the file contains, so every cast is a node of the graph.
Weights and activations are float16, the outputs float32, and the input stays the camera's bytes.
"""

from collections.abc import Collection
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from edgecnn_export.graph.nodes import const_value, constant
from edgecnn_runtime.errors import UnsupportedModelError

LARGEST = float(np.finfo(np.float16).max)
"""65504: what is larger is infinite in half precision."""
MOVES = (
    "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather",
    "Expand", "Identity", "Tile", "DepthToSpace", "SpaceToDepth",
)  # fmt: skip
"""Operators that compute nothing: they have the precision of what they move."""
SATURATING = ("Clip", "Max", "Min")
"""Operators for which the largest number does as well as any beyond it."""
BYTES = (ir.DataType.UINT8, ir.DataType.INT8, ir.DataType.BOOL)
FLOAT, HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16


class Precision(NamedTuple):
    """What a node may compute in half precision.

    Attributes:
        inputs: For each input, whether it may be float16.
        outputs: Likewise for each output.
    """

    inputs: tuple[bool, ...]
    outputs: tuple[bool, ...]


def to_half(model: onnx.ModelProto, floats: Collection[str] = ()) -> onnx.ModelProto:
    """A copy of a float graph in half precision.

    Requires: A graph from ``optimize``, every node named.

    Args:
        model: The float graph.
        floats: Names of nodes that stay in float32. Nodes that only move values follow what they
            move, and nodes for which ONNX defines no float16 stay in float32.

    Returns:
        A graph with the same input and outputs, of the same types.

    Raises:
        UnsupportedModelError: The type of a tensor cannot be inferred.
    """
    working = typed(model)
    graph = working.graph
    nodes = half_nodes(working, floats)
    outputs = list(graph.outputs)
    casts = _Casts(graph)
    uses = [
        (node, index, value)
        for node in ir.traversal.RecursiveGraphIterator(graph)
        for index, value in enumerate(node.inputs)
        if value is not None and value.dtype == FLOAT
    ]
    for node, precision in nodes.items():
        if node.op_type == "Cast":
            node.attributes["to"] = ir.AttrInt64("to", HALF)
        for value, may in zip(node.outputs, precision.outputs, strict=True):
            if may and value.dtype == FLOAT:
                value.dtype = HALF
    for node, index, value in uses:
        half = node in nodes and nodes[node].inputs[index]
        saturate = node.op_type in SATURATING
        node.replace_input_with(index, casts.cast(value, HALF if half else FLOAT, saturate))
    for index, value in enumerate(outputs):
        if value.dtype == HALF:
            name, value.name = value.name, f"{value.name}.half"
            result = casts.cast(value, FLOAT)
            result.name, result.shape = name, value.shape
            graph.outputs[index] = result
    graph.sort()
    common.RemoveUnusedNodesPass()(working)
    converted: onnx.ModelProto = ir.to_proto(working)
    return converted


def typed(model: onnx.ModelProto) -> ir.Model:
    """A copy of a graph in which every tensor has a type.

    Raises:
        UnsupportedModelError: The type of a tensor cannot be inferred.
    """
    working = ir.from_proto(onnx.shape_inference.infer_shapes(model))
    for node in working.graph:
        for value in node.outputs:
            if value.name and value.dtype is None:
                raise UnsupportedModelError(
                    f"the type of {value.name!r}, which {node.op_type} gives, cannot be inferred, "
                    "so the model has no half precision form: leave --fp16 out"
                )
    return working


def half_layers(model: ir.Model) -> list[ir.Node]:
    """The nodes that round in half precision, in the order of the graph.

    Those that move values do not, and neither do casts of bytes, which float16 holds exactly.

    Args:
        model: A float graph from ``typed``.
    """
    return [
        node
        for node in half_nodes(model)
        if node.op_type not in MOVES
        and not (node.op_type == "Cast" and node.inputs[0] and node.inputs[0].dtype in BYTES)
    ]


def half_nodes(model: ir.Model, floats: Collection[str] = ()) -> dict[ir.Node, Precision]:
    """The nodes that compute in half precision, in the order of the graph.

    Args:
        model: A float graph from ``typed``.
        floats: Names of nodes that stay in float32.
    """
    halves: dict[ir.Node, Precision] = {}
    for node in model.graph:
        precision = _precision(node, model.opset_imports.get(node.domain, 0))
        if node.name in floats or not any(precision.outputs):
            continue
        if node.op_type in MOVES:
            source = node.inputs[0].producer() if node.inputs[0] is not None else None
            if source not in halves:
                continue
        elif node.op_type != "Cast" and not any(precision.inputs):
            continue  # it makes values of its own, in the type of an attribute
        halves[node] = precision
    return halves


def _precision(node: ir.Node, opset: int) -> Precision:
    """Which float32 inputs and outputs of a node may be float16, according to ONNX."""
    branches = any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
                   for a in node.attributes.values())  # fmt: skip
    if branches or node.op_type == "CastLike":
        return Precision((False,) * len(node.inputs), (False,) * len(node.outputs))
    inputs, outputs = _half_types(node.op_type, node.domain, opset)
    may = Precision(
        tuple(
            value is not None and value.dtype == FLOAT and inputs[min(i, len(inputs) - 1)]
            for i, value in enumerate(node.inputs)
        ),
        tuple(
            value.dtype == FLOAT and outputs[min(i, len(outputs) - 1)]
            for i, value in enumerate(node.outputs)
        ),
    )
    if node.op_type == "Cast" and node.attributes.get_int("to") != FLOAT:
        return Precision(may.inputs, (False,) * len(node.outputs))
    return may


@lru_cache(maxsize=512)
def _half_types(operator: str, domain: str, opset: int) -> tuple[tuple[bool, ...], ...]:
    """Whether ONNX allows float16 for each formal input and output of an operator."""
    try:
        schema = onnx.defs.get_schema(operator, opset, domain)
    except onnx.defs.SchemaError:
        return (False,), (False,)
    return tuple(
        tuple("tensor(float16)" in formal.types for formal in formals) or (False,)
        for formals in (schema.inputs, schema.outputs)
    )


class _Casts:
    """The casts of a graph: each tensor is cast once, whoever reads it."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._values: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def cast(self, value: ir.Value, kind: ir.DataType, saturate: bool = False) -> ir.Value:
        """The value in a type: itself, a constant of its own, or the output of a Cast."""
        if value.dtype == kind:
            return value
        key = value, kind
        if key not in self._values:
            stored = const_value(value)
            if stored is None:
                self._values[key] = self._node(value, kind)
            else:
                limit = LARGEST if saturate else np.inf
                numbers = np.clip(stored, -limit, limit).astype(np.float16)
                self._values[key] = constant(self._graph, f"{value.name}.half", numbers)
        return self._values[key]

    def _node(self, value: ir.Value, kind: ir.DataType) -> ir.Value:
        name = f"{value.name}.{'half' if kind == HALF else 'float'}"
        node = ir.node("Cast", [value], {"to": kind}, name=f"{name}.cast")
        cast = node.outputs[0]
        cast.name, cast.dtype, cast.shape = name, kind, value.shape
        producer = value.producer()
        if producer is None:
            self._graph.insert_before(self._graph[0], node)
        else:
            self._graph.insert_after(producer, node)
        return cast
