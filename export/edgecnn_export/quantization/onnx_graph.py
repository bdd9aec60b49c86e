"""Reading and changing an ``onnx.GraphProto``, which is what ONNX Runtime's quantizer takes."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper


def constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """The initializers by name."""
    return {initializer.name: initializer for initializer in graph.initializer}


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """An attribute's plain value."""
    values = (onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name)
    return next(values, default)


def assign(field: Any, items: Iterable[Any]) -> None:
    """Give a repeated field of a message other items, some of its own among them."""
    items = list(items)
    del field[:]
    field.extend(items)


def add_constant(graph: onnx.GraphProto, name: str, values: Any) -> str:
    """Add an initializer, and return its name."""
    graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    return name


def remove_unread(graph: onnx.GraphProto, names: Iterable[str]) -> None:
    """Take out those of these initializers that no node reads."""
    unread = set(names) - {name for node in graph.node for name in node.input}
    assign(graph.initializer, [i for i in graph.initializer if i.name not in unread])


def is_constant(node: onnx.NodeProto, weights: Collection[str]) -> bool:
    """Whether a convolution's weights, and its bias if it has one, are initializers."""
    return node.op_type == "Conv" and all(name in weights for name in node.input[1:] if name)


def has_bias(node: onnx.NodeProto) -> bool:
    """Whether a convolution adds a bias."""
    return len(node.input) > 2 and bool(node.input[2])


def read_bias(node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto]) -> NDArray[Any]:
    """What a constant convolution adds to its C output channels: float[C], zeros without a bias."""
    if has_bias(node):
        return np.asarray(numpy_helper.to_array(weights[node.input[2]]))
    return np.zeros(weights[node.input[1]].dims[0], np.float32)


def set_bias(node: onnx.NodeProto, name: str) -> None:
    """Let a convolution add the value of this name."""
    assign(node.input, [*node.input[:2], name])
