"""Reading and making constants and convolutions in an ``onnx_ir`` graph."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray


def const_value(value: ir.Value | None) -> NDArray[Any] | None:
    """The constant behind a value, None where it is computed or absent."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else np.asarray(tensor.numpy())


def constant(graph: ir.Graph, name: str, values: NDArray[Any]) -> ir.Value:
    """A new initializer; ``name`` gets a number where another one has it."""
    unique, number = name, 1
    while unique in graph.initializers:
        unique, number = f"{name}.{number}", number + 1
    tensor = ir.tensor(np.ascontiguousarray(values), name=unique)
    value = ir.val(unique, const_value=tensor)
    graph.register_initializer(value)
    return value


def sole_consumer(value: ir.Value) -> ir.Node | None:
    """The one node that reads a value; None where several do, none does or it is an output."""
    uses = value.uses()
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


@dataclass(frozen=True)
class Convolution:
    """A Conv node with constant weights and explicit padding.

    Attributes:
        node: The node itself.
        weight: float[out,in/group,*kernel].
        bias: float[out]; zeros where the node has none.
        before: Zeros added before each spatial axis.
        after: Zeros added after each spatial axis.
        strides: One per spatial axis.
        dilations: One per spatial axis.
        group: How many groups.
    """

    node: ir.Node
    weight: NDArray[Any]
    bias: NDArray[Any]
    before: tuple[int, ...]
    after: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int

    @property
    def channels(self) -> int:
        """How many channels it reads."""
        return int(self.weight.shape[1]) * self.group

    @property
    def output(self) -> ir.Value:
        """What it computes."""
        return self.node.outputs[0]

    def update(self, weight: NDArray[Any], bias: NDArray[Any] | None = None) -> None:
        """Give the node weights (and a bias) of its own; others keep the ones they shared."""
        dtype = self.weight.dtype
        replace_constant(self.node, 1, weight.astype(dtype))
        if bias is not None:
            self.node.resize_inputs(3)
            replace_constant(self.node, 2, bias.astype(dtype), _bias_name(self.node))


def convolution(node: ir.Node | None) -> Convolution | None:
    """Read a node as a Convolution; None for any other node, and where its weights are computed."""
    if node is None or node.op_type != "Conv" or node.domain:
        return None
    weight = const_value(node.inputs[1])
    bias = _bias(node, weight)
    auto_pad = node.attributes.get_string("auto_pad", "NOTSET")
    if weight is None or bias is None or auto_pad not in {"NOTSET", "VALID"}:
        return None
    rank = weight.ndim - 2
    pads = node.attributes.get_ints("pads", [0] * 2 * rank)
    return Convolution(
        node=node,
        weight=weight,
        bias=bias,
        before=tuple(pads[:rank]),
        after=tuple(pads[rank:]),
        strides=tuple(node.attributes.get_ints("strides", [1] * rank)),
        dilations=tuple(node.attributes.get_ints("dilations", [1] * rank)),
        group=node.attributes.get_int("group", 1),
    )


def replace_constant(node: ir.Node, index: int, values: NDArray[Any], name: str = "") -> None:
    """Give a node's input a constant of its own, named ``name`` or else as the old one was.

    The old one is removed if nothing else reads it; else the new one's name gets a number.
    """
    graph, old = node.graph, node.inputs[index]
    assert isinstance(graph, ir.Graph)
    node.replace_input_with(index, None)
    if old is not None and old.name:
        name = name or old.name
        if not old.uses() and old.name in graph.initializers:
            del graph.initializers[old.name]
    node.replace_input_with(index, constant(graph, name, values))


def _bias_name(node: ir.Node) -> str:
    weight = node.inputs[1]
    return f"{(weight.name if weight else None) or node.name}".removesuffix(".weight") + ".bias"


def _bias(node: ir.Node, weight: NDArray[Any] | None) -> NDArray[Any] | None:
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        return const_value(node.inputs[2])
    return None if weight is None else np.zeros(weight.shape[0], weight.dtype)
