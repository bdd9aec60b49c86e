"""The camera's bytes become the graph's input: ``pixels`` uint8[N,H,W,3] BGR."""

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from edgecnn_export.graph.nodes import Convolution, constant, convolution
from edgecnn_export.tracing.naming import PIXELS, unused_name
from edgecnn_runtime.bundle.manifest import Input

LUMA_BGR = np.array((0.114, 0.587, 0.299))
"""Weights of B, G, R in gray (ITU-R BT.601), unrounded."""
RGB_OF_BGR = [2, 1, 0]


def fold_pixels(model: onnx.ModelProto, spec: Input) -> onnx.ModelProto:
    """A copy that takes raw pixels: color order, mean and std go into the graph.

    The copy begins Cast → Transpose, because the TensorRT parser refuses to transpose uint8. Where
    only convolutions read the input, scale and color order go into their weights, exactly, and the
    mean stays a Sub before them: padding then still adds zeros of normalized input. Where anything
    else reads it, every step is a node.

    Args:
        model: A float graph with one input float32[N,C,H,W], normalized, in the colors of ``spec``.
        spec: How the model was trained.
    """
    working = ir.from_proto(model)
    graph = working.graph
    old = graph.inputs[0]
    assert old.shape is not None
    batch, channels, height, width = old.shape
    readers = [convolution(use.node) for use in old.uses() if not _reads_shape(use.node, spec)]
    pixels = ir.val(PIXELS, ir.DataType.UINT8, [batch, height, width, 3])
    entry = _Entry(graph, pixels)
    entry.add("Cast", "pixels_to_float", attributes={"to": ir.DataType.FLOAT})
    entry.add("Transpose", "pixels_to_planes", attributes={"perm": [0, 3, 1, 2]})
    mean, scale = _per_channel(spec)
    absorbing = [reader for reader in readers if reader is not None and _absorbs(reader, spec)]
    if readers and len(absorbing) == len(readers) and not old.is_graph_output():
        entry.subtract(mean)
        for reader in absorbing:
            reader.update(_absorb(reader, scale, spec))
    else:
        entry.recolor(spec, int(channels) if isinstance(channels, int) else 3)
        order = RGB_OF_BGR if spec.color == "rgb" else slice(None)
        entry.subtract(mean[order])
        entry.multiply(scale[order])
    ir.convenience.replace_all_uses_with(old, entry.value, replace_graph_outputs=True)
    graph.inputs[0] = pixels
    graph.sort()
    folded: onnx.ModelProto = ir.to_proto(working)
    return folded


def _reads_shape(node: ir.Node, spec: Input) -> bool:
    """Whether a node only reads sizes, and those are the same before recoloring."""
    if node.op_type != "Shape":
        return False
    batch_only = node.attributes.get_int("start", 0) == 0 and node.attributes.get_int("end") == 1
    return batch_only or spec.color != "gray"


def _per_channel(spec: Input) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and 1/std in the order of the camera's channels; one value each for gray."""
    mean = np.array(spec.normalization.mean, np.float64)
    std = np.array(spec.normalization.std, np.float64)
    if spec.color == "rgb":
        mean, std = mean[::-1], std[::-1]
    return mean, 1.0 / std


def _absorbs(reader: Convolution, spec: Input) -> bool:
    """Whether color and scale fit into a convolution's weights.

    A grouped one cannot take channels from another group, so its channels must not be reordered.
    """
    if reader.weight.ndim != 4:
        return False
    return reader.group == 1 or spec.color == "bgr"


def _absorb(reader: Convolution, scale: NDArray[np.float64], spec: Input) -> NDArray[np.float64]:
    """The weights for raw BGR planes."""
    weight: NDArray[np.float64] = reader.weight.astype(np.float64)
    if spec.color == "gray":
        return np.asarray(weight.sum(1, keepdims=True) * scale * LUMA_BGR[:, None, None])
    if spec.color == "rgb":
        weight = weight[:, ::-1]
    rows = np.repeat(scale.reshape(reader.group, -1), len(weight) // reader.group, axis=0)
    return np.asarray(weight * rows[:, :, None, None])


class _Entry:
    """The chain of nodes in front of the network; ``value`` is its end."""

    def __init__(self, graph: ir.Graph, pixels: ir.Value) -> None:
        self._graph = graph
        self._names = ir.convenience.create_value_mapping(graph)
        self.value = pixels

    def add(
        self,
        operator: str,
        name: str,
        others: Sequence[ir.Value] = (),
        attributes: dict[str, object] | None = None,
    ) -> None:
        node = ir.node(operator, [self.value, *others], attributes or {}, name=name)
        self._graph.append(node)
        self.value = node.outputs[0]
        self.value.name = unused_name(self._names, f"{name}.out")

    def subtract(self, mean: NDArray[np.float64]) -> None:
        if mean.any():
            self.add("Sub", "pixels_minus_mean", [self._column("pixels.mean", mean)])

    def multiply(self, scale: NDArray[np.float64]) -> None:
        if (scale != 1).any():
            self.add("Mul", "pixels_scaled", [self._column("pixels.scale", scale)])

    def recolor(self, spec: Input, channels: int) -> None:
        """BGR planes → the planes the network was trained on."""
        if spec.color == "rgb":
            order = constant(self._graph, "pixels.order", np.array(RGB_OF_BGR, np.int64))
            self.add("Gather", "pixels_reordered", [order], {"axis": 1})
        elif spec.color == "gray":
            luma = np.broadcast_to(LUMA_BGR[None, :, None, None], (channels, 3, 1, 1))
            weight = constant(self._graph, "pixels.luma", luma.astype(np.float32))
            self.add("Conv", "pixels_to_gray", [weight])

    def _column(self, name: str, values: NDArray[np.float64]) -> ir.Value:
        return constant(self._graph, name, values.astype(np.float32).reshape(1, -1, 1, 1))
