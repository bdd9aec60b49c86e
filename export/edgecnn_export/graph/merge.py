"""Passes that turn several linear layers into one convolution."""

from typing import TypeAlias

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgecnn_export.graph.nodes import (
    Convolution,
    const_value,
    convolution,
    replace_constant,
    sole_consumer,
)

Affine: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Scale and shift, one value per channel."""


def fold_affine(model: ir.Model) -> None:
    """Scale and shift a convolution's (or Gemm's) weights instead of its output.

    Requires: BatchNormalization with constant statistics; Add and Mul with a constant per channel.
    Ensures: none is left that alone reads a Conv's (BatchNormalization: or Gemm's) output.
    """
    for node in list(model.graph):
        before, affine = _affine(node)
        if before is None or affine is None or sole_consumer(before) is not node:
            continue
        if _scale(before.producer(), *affine):
            _replace(node, before)


def merge_branches(model: ir.Model) -> None:
    """Sum the weights of parallel convolutions instead of their outputs.

    RepVGG, MobileOne, RepGhost and FastViT train blocks of several convolutions (and a batch
    normalization of the input itself) over one input, added up; they are one convolution.
    Requires: ``fold_affine`` ran.
    Ensures: no Add is left of two convolutions that differ only in kernel and padding.
    """
    for node in list(model.graph):
        if node.op_type != "Add" or any(value is None for value in node.inputs):
            continue
        one, two = (value.producer() if value is not None else None for value in node.inputs)
        first, second = convolution(one), convolution(two)
        if first is None and second is not None:
            first = _as_convolution(one, second)
        elif second is None and first is not None:
            second = _as_convolution(two, first)
        if first is None or second is None or not _parallel(node, first, second):
            continue
        small, large = sorted((first, second), key=_size)
        if (weight := _embed(small, large)) is None:
            continue
        large.update(
            np.asarray(large.weight, np.float64) + weight, np.float64(large.bias) + small.bias
        )
        _replace(node, large.output)


def _affine(node: ir.Node) -> tuple[ir.Value | None, Affine | None]:
    """What a node scales and shifts, and by how much per channel: y = x·scale + shift."""
    if node.op_type == "BatchNormalization":
        return node.inputs[0], _normalization(node)
    if node.op_type not in {"Add", "Mul"}:
        return None, None
    for value, other in (node.inputs, reversed(node.inputs)):
        conv = convolution(value.producer()) if value is not None else None
        constant = const_value(other)
        if conv is None or constant is None or constant.ndim > conv.weight.ndim:
            continue
        shape = (1,) * (conv.weight.ndim - constant.ndim) + constant.shape
        channels = conv.weight.shape[0]
        if constant.size != 1 and shape != (1, channels, *[1] * (conv.weight.ndim - 2)):
            continue
        column = np.broadcast_to(constant.astype(np.float64).reshape(-1), (channels,))
        if node.op_type == "Add":
            return value, (np.ones(channels), column)
        return value, (column, np.zeros(channels))
    return None, None


def _normalization(node: ir.Node) -> Affine | None:
    values = [const_value(value) for value in node.inputs[1:5]]
    if any(value is None for value in values) or node.attributes.get_int("training_mode", 0):
        return None
    gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in values)
    scale = gamma / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
    return scale, beta - mean * scale


def _scale(node: ir.Node | None, scale: NDArray[np.float64], shift: NDArray[np.float64]) -> bool:
    conv = convolution(node)
    if conv is not None:
        column = scale.reshape(-1, *[1] * (conv.weight.ndim - 1))
        conv.update(conv.weight * column, conv.bias * scale + shift)
        return True
    if node is None or node.op_type != "Gemm" or len(node.inputs) < 2 or node.graph is None:
        return False
    weight = const_value(node.inputs[1])
    bias = const_value(node.inputs[2]) if len(node.inputs) > 2 else np.zeros_like(scale)
    plain = all(node.attributes.get_float(name, 1.0) == 1.0 for name in ("alpha", "beta"))
    if weight is None or bias is None or not plain:
        return False
    column = scale[:, None] if node.attributes.get_int("transB", 0) else scale[None]
    node.resize_inputs(3)
    replace_constant(node, 1, (weight * column).astype(weight.dtype))
    replace_constant(node, 2, (bias * scale + shift).astype(weight.dtype), f"{node.name}.bias")
    return True


def _as_convolution(node: ir.Node | None, like: Convolution) -> Convolution | None:
    """A batch normalization of the same input, as a 1x1 convolution in as many groups."""
    affine = _normalization(node) if node and node.op_type == "BatchNormalization" else None
    if node is None or affine is None:
        return None
    scale, shift = affine
    if node.inputs[0] is not like.node.inputs[0] or len(scale) != like.channels:
        return None
    inner = like.channels // like.group
    weight = np.zeros((like.channels, inner, *[1] * len(like.before)))
    weight[np.arange(like.channels), np.arange(like.channels) % inner] = scale.reshape(
        -1, *[1] * len(like.before)
    )
    ones, zeros = (1,) * len(like.before), (0,) * len(like.before)
    return Convolution(node, weight, shift, zeros, zeros, ones, ones, like.group)


def _size(conv: Convolution) -> tuple[int, bool]:
    return conv.weight.size, conv.node.op_type == "Conv"


def _parallel(add: ir.Node, first: Convolution, second: Convolution) -> bool:
    return (
        first.node.inputs[0] is second.node.inputs[0]
        and first.output is not second.output
        and sole_consumer(first.output) is add
        and sole_consumer(second.output) is add
        and first.weight.shape[:2] == second.weight.shape[:2]
        and (first.group, first.strides) == (second.group, second.strides)
        and set(first.dilations + second.dilations) == {1}
    )


def _embed(small: Convolution, large: Convolution) -> NDArray[np.float64] | None:
    """The small kernel inside zeros of the large one's size; None where it does not fit."""
    begin = np.subtract(large.before, small.before)
    end = np.subtract(large.after, small.after)
    spare = np.subtract(large.weight.shape[2:], small.weight.shape[2:])
    if min(*begin, *end) < 0 or (spare != begin + end).any():
        return None
    around = [(0, 0), (0, 0), *zip(begin, end, strict=True)]
    return np.pad(np.asarray(small.weight, np.float64), around)


def _replace(node: ir.Node, value: ir.Value) -> None:
    """Let whatever reads the node's output read ``value``, and remove the node."""
    output, graph = node.outputs[0], node.graph
    assert graph is not None
    value.name, value.shape, value.type = output.name, output.shape, output.type
    output.replace_all_uses_with(value, replace_graph_outputs=True)
    graph.remove(node, safe=True)
