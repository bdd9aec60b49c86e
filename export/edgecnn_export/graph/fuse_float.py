"""The last passes over a float graph: the same results in fewer, fuller steps.

They do not run on the graph that is quantized, because they trade what quantization needs (an
activation of its own for each head, a plane for each color) for speed. Each pass has the shape of
those in ``optimize``: an ``onnx_ir`` model, rewritten in place; what it requires and ensures.
"""

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir

from edgecnn_export.graph.nodes import (
    Convolution,
    const_value,
    constant,
    convolution,
    sole_consumer,
)
from edgecnn_export.tracing.cleanup import remove_unused

BLOCK = 16
"""Channels an engine computes at once; a convolution of fewer computes as many for nothing."""

UNARY = {"Relu", "Sigmoid", "HardSigmoid", "HardSwish", "LeakyRelu", "Elu", "Tanh", "Softplus"}
"""Operators that work on each value alone."""


def fuse_float(model: onnx.ModelProto) -> onnx.ModelProto:
    """Run both passes on a copy. Requires: a graph from ``fold_pixels`` and ``optimize``."""
    working = ir.from_proto(model)
    for step in (merge_sibling_convs, nhwc_stem, remove_unused):
        step(working)
    finished: onnx.ModelProto = ir.to_proto(working)
    return finished


def merge_sibling_convs(model: ir.Model) -> None:
    """Merge small convolutions over one input, and split the result.

    A detector's heads (YuNet: 1, 1, 4 and 10 channels) each fill a part of a block. Depthwise
    convolutions and activations that follow all of them alike are merged too.
    Ensures: no two convolutions over one input are left that would fill fewer blocks together.
    """
    graph = model.graph
    for value in [*graph.inputs, *(output for node in graph for output in node.outputs)]:
        heads = _alike(value)
        if len(heads) > 1:
            _join(graph, heads)
    graph.sort()


def nhwc_stem(model: ir.Model) -> None:
    """Convolve the camera's B, G, R, B, G, R … as one plane three times as wide.

    A kernel three times as wide with a stride three times as large reads the same values, so the
    image need not be split into planes: 2 to 5 % of a run for small networks.
    Requires: a graph that begins Cast → Transpose, perhaps → Sub, from ``fold_pixels``.
    Ensures: where only convolutions of all three planes read them, no Transpose is left there.
    """
    graph = model.graph
    pixels = graph.inputs[0]
    cast = sole_consumer(pixels)
    planes = sole_consumer(cast.outputs[0]) if cast is not None and cast.op_type == "Cast" else None
    if planes is None or planes.op_type != "Transpose" or pixels.shape is None:
        return
    read, mean = planes.outputs[0], None
    sub = sole_consumer(read)
    if sub is not None and sub.op_type == "Sub" and sub.inputs[0] is read:
        read, mean = sub.outputs[0], const_value(sub.inputs[1])
        if mean is None or mean.size != 3:
            return
    readers = [convolution(use.node) for use in read.uses()]
    kernels = [reader for reader in readers if reader is not None and _takes_planes(reader, read)]
    if len(kernels) != len(readers) or not readers or read.is_graph_output():
        return
    _, height, width, _ = pixels.shape
    assert isinstance(height, int)
    assert isinstance(width, int)
    shape = constant(graph, "pixels.rows", np.array([0, 1, height, 3 * width], np.int64))
    wide = ir.node("Reshape", [cast.outputs[0], shape], name="pixels_to_rows")  # type: ignore[union-attr] # the case is that one
    wide.outputs[0].name = "pixels_to_rows.out"
    graph.insert_before(planes, wide)
    planes.outputs[0].replace_all_uses_with(wide.outputs[0])
    graph.remove(planes, safe=True)
    if sub is not None and mean is not None:
        tiled = np.tile(mean.reshape(1, 1, 1, 3), width)
        sub.replace_input_with(1, constant(graph, "pixels.mean.rows", tiled))
        sub.outputs[0].shape = None
    for kernel in kernels:
        _widen(kernel)


def _takes_planes(reader: Convolution, planes: ir.Value) -> bool:
    plain = reader.group == 1 and reader.weight.shape[1:2] == (3,) and reader.weight.ndim == 4
    return plain and reader.dilations[1] == 1 and reader.node.inputs[0] is planes


def _widen(kernel: Convolution) -> None:
    out, _, high, wide = kernel.weight.shape
    kernel.update(kernel.weight.transpose(0, 2, 3, 1).reshape(out, 1, high, 3 * wide))
    top, left, bottom, right = *kernel.before, *kernel.after
    _set(kernel.node, "kernel_shape", (high, 3 * wide))
    _set(kernel.node, "strides", (kernel.strides[0], 3 * kernel.strides[1]))
    _set(kernel.node, "pads", (top, 3 * left, bottom, 3 * right))


def _alike(value: ir.Value) -> list[Convolution]:
    """The convolutions over a value that would fill fewer blocks together than apart."""
    convs = [convolution(use.node) for use in value.uses() if use.idx == 0]
    readers = [reader for reader in convs if reader is not None and reader.group == 1]
    if not readers:
        return []
    heads = [head for head in readers if _form(head) == _form(readers[0]) and _partial(head)]
    return heads if _blocks(heads, together=False) > _blocks(heads, together=True) else []


def _form(head: Convolution) -> tuple[object, ...]:
    return head.weight.shape[2:], head.before, head.after, head.strides, head.dilations


def _partial(head: Convolution) -> bool:
    return len(head.weight) % BLOCK != 0 and not head.output.is_graph_output()


def _blocks(heads: Sequence[Convolution], *, together: bool) -> int:
    sizes = [len(head.weight) for head in heads]
    return sum(-(-size // BLOCK) for size in ([sum(sizes)] if together else sizes))


def _join(graph: ir.Graph, heads: Sequence[Convolution]) -> None:
    """Replace several convolutions, and what follows all of them alike, by one; then split."""
    sizes = [len(head.weight) for head in heads]
    values = [head.output for head in heads]
    joined = _joined(graph, heads, heads[0].node.inputs[0])
    while (steps := [sole_consumer(value) for value in values]) and (
        further := _step(graph, steps, sizes, joined)
    ):
        values, joined = [step.outputs[0] for step in steps if step is not None], further
    parts = constant(graph, f"{heads[0].node.name}.sizes", np.array(sizes, np.int64))
    split = ir.node(
        "Split", [joined, parts], {"axis": 1}, num_outputs=len(sizes),
        name=f"{heads[0].node.name}.heads",
    )  # fmt: skip
    graph.append(split)
    for value, part in zip(values, split.outputs, strict=True):
        part.name, part.shape, part.type = f"{value.name}.part", value.shape, value.type
        value.replace_all_uses_with(part)


def _step(
    graph: ir.Graph, steps: Sequence[ir.Node | None], sizes: Sequence[int], before: ir.Value
) -> ir.Value | None:
    """The node that follows all heads alike, merged; None where they differ."""
    first = steps[0]
    if first is None or any(step is None or step.outputs[0].is_graph_output() for step in steps):
        return None
    nodes = [step for step in steps if step is not None]
    if first.op_type in UNARY:
        if any(
            node.op_type != first.op_type or _settings(node) != _settings(first) for node in nodes
        ):
            return None
        return _append(graph, ir.node(first.op_type, [before], _settings(first)), first)
    depthwise = [
        conv for conv, size in zip(map(convolution, nodes), sizes, strict=True)
        if conv is not None and conv.group == conv.channels == len(conv.weight) == size
    ]  # fmt: skip
    if len(depthwise) != len(nodes) or len({_form(conv) for conv in depthwise}) > 1:
        return None
    return _joined(graph, depthwise, before, group=sum(sizes))


def _joined(
    graph: ir.Graph, heads: Sequence[Convolution], value: ir.Value | None, group: int = 1
) -> ir.Value:
    first = heads[0]
    name = first.node.name or first.output.name
    weight = constant(graph, f"{name}.weight", np.concatenate([head.weight for head in heads]))
    bias = constant(graph, f"{name}.bias", np.concatenate([head.bias for head in heads]))
    node = ir.node(
        "Conv",
        [value, weight, bias],
        {
            "kernel_shape": first.weight.shape[2:],
            "strides": first.strides,
            "dilations": first.dilations,
            "pads": (*first.before, *first.after),
            "group": group,
        },
    )
    return _append(graph, node, first.node)


def _append(graph: ir.Graph, node: ir.Node, like: ir.Node) -> ir.Value:
    node.name = f"{like.name}.joined"
    node.outputs[0].name = f"{like.outputs[0].name}.joined"
    graph.append(node)
    return node.outputs[0]


def _settings(node: ir.Node) -> dict[str, object]:
    return {name: attribute.value for name, attribute in node.attributes.items()}


def _set(node: ir.Node, name: str, values: Sequence[int]) -> None:
    node.attributes[name] = ir.AttrInt64s(name, tuple(int(value) for value in values))
