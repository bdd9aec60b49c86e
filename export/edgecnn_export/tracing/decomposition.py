"""Export a captured program without tracing it a second time.

``torch.onnx.export`` decomposes a program by tracing all of it again under a symbolic batch,
which takes most of its time: 6 of 9 seconds for MobileNetV3-L. Evaluation-mode networks need less:
batch normalization with fixed statistics, pooling to one value, and in-place operators replaced by
their functional forms. As edits of the graph, here, that takes milliseconds and gives the same
ONNX nodes.
"""

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature
from torch.fx import Graph, Node

aten = torch.ops.aten

NEW_STORAGE = {
    "adaptive_avg_pool2d", "add", "add_", "avg_pool2d", "batch_norm", "cat", "conv1d", "conv2d",
    "conv_transpose2d", "div", "div_", "elu", "elu_", "gelu", "group_norm", "hardsigmoid",
    "hardsigmoid_", "hardswish", "hardswish_", "hardtanh", "hardtanh_", "layer_norm",
    "leaky_relu", "leaky_relu_", "linear", "matmul", "max_pool2d", "mean", "mish", "mish_",
    "mul", "mul_", "prelu", "relu", "relu6", "relu_", "sigmoid", "sigmoid_", "silu", "silu_",
    "softmax", "sub", "sub_", "tanh", "tanh_", "upsample_bilinear2d", "upsample_nearest2d",
}  # fmt: skip
"""Operators whose result never shares memory with another tensor that is still in use."""
VIEWS = {"contiguous", "dropout", "flatten", "permute", "reshape", "slice", "transpose", "view"}
"""Operators whose result may be their input's memory."""


def skip_decomposition(program: ExportedProgram) -> None:
    """Rewrite the program in place, so that the exporter skips decomposition where none is left.

    Requires: a program captured from a module in evaluation mode.
    Ensures: the same outputs; ``run_decompositions``, which the exporter calls, returns the
    program itself unless an operator in it has to be decomposed or writes to its input.
    """
    graph, signature = program.graph, program.graph_signature
    for position, node in enumerate(list(graph.nodes)):
        node.meta["position"] = position
    for node in list(graph.nodes):
        if node.target is aten.batch_norm.default:
            _fix_statistics(graph, signature, node)
        elif node.target is aten.adaptive_avg_pool2d.default and list(node.args[1]) == [1, 1]:
            node.target = aten.mean.dim
            node.args = (node.args[0], [-1, -2], True)
        elif _writes(node):
            _make_functional(signature, node)
    program.graph_module.recompile()

    decompose = program.run_decompositions

    def decompose_if_needed(table: Mapping[Any, Any] | None = None) -> Any:
        if table is None or any(_undone(node, table) for node in graph.nodes):
            return decompose(table)
        return program

    program.run_decompositions = decompose_if_needed


def restore_decomposition(program: ExportedProgram) -> None:
    """Let ``run_decompositions`` do its work again; the graph stays rewritten."""
    del program.run_decompositions


def _fix_statistics(graph: Graph, signature: ExportGraphSignature, node: Node) -> None:
    x, weight, bias, mean, variance, training, momentum, epsilon = node.args[:8]
    if training:
        return
    with graph.inserting_before(node):
        norm = graph.call_function(
            aten._native_batch_norm_legit_no_training.default,
            (x, weight, bias, mean, variance, momentum, epsilon),
        )
        result = graph.call_function(operator.getitem, (norm, 0))
    value = node.meta["val"]
    norm.meta = node.meta | {"val": (value, value.new_empty(0), value.new_empty(0))}
    result.meta = dict(node.meta)
    node.replace_all_uses_with(result)
    signature.replace_all_uses(node.name, result.name)
    graph.erase_node(node)


def _writes(node: Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _make_functional(signature: ExportGraphSignature, node: Node) -> None:
    """Turn ``relu_(x)`` into ``relu(x)`` where that changes no result.

    That is where no other tensor shares x's memory, and every other reader of x comes afterwards
    (and then has to read the result).
    """
    functional = _functional(node.target)
    written = node.args[0]
    if functional is None or not isinstance(written, Node):
        return
    others = [user for user in written.users if user is not node]
    if not _own_memory(written) or any(_position(user) < _position(node) for user in others):
        return
    for user in others:
        user.replace_input_with(written, node)
        if user.op == "output":
            signature.replace_all_uses(written.name, node.name)
    node.target = functional


def _functional(target: Any) -> Any:
    namespace, name = target._schema.name.split("::")
    if namespace != "aten" or not name.endswith("_") or name.endswith("__"):
        return None
    return getattr(getattr(aten, name[:-1], None), target._overloadname, None)


def _own_memory(node: Node) -> bool:
    """Whether no other tensor shares the memory of a result."""
    target, source = node.target, node.args[0] if node.args else None
    if target is operator.getitem:
        producer = source.target if isinstance(source, Node) else None
        return producer is aten._native_batch_norm_legit_no_training.default
    if not isinstance(target, torch._ops.OpOverload) or target.namespace != "aten":
        return False
    name = target._schema.name.split("::")[1]
    if name in VIEWS:
        return isinstance(source, Node) and len(source.users) == 1 and _own_memory(source)
    return name in NEW_STORAGE


def _position(node: Node) -> int:
    return int(node.meta.get("position", 0))


def _undone(node: Node, table: Mapping[Any, Any]) -> bool:
    if node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
        return node.target in table or _writes(node)
    if node.op == "call_function":
        return getattr(node.target, "__module__", "") not in {"_operator", "math"}
    return node.op not in {"placeholder", "output"}
