"""Let the camera's bytes be the quantised input of a ``cpu`` graph.

A folded float graph begins ``pixels → Cast → Transpose → Sub(mean) → Conv``. Bytes are already
eight bits: read as x = pixel - z with one scalar zero-point z they need no quantiser, and what is
left of the mean, W·(z - mean), is a constant that goes into the convolution's bias.

At the border it is not a constant: padding means x = 0 there, the value z and not each channel's
mean. Ten grey levels of difference in a ring of three pixels cost an ImageNet ResNet-18 5 dB. So
where it matters a fourth channel is padded to the pixels, 255 everywhere inside the picture, whose
weights carry W·(z - mean) tap by tap; padding leaves it out exactly where it must.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgecnn_export.int8.ranges import Range

CLOSE = 0.6
"""Grey levels between zero-point and mean that need no mask: both are rounded to a byte."""


@dataclass(frozen=True)
class Entry:
    """How pixels enter a folded graph.

    nodes: names of the Cast, Transpose and Sub. tensor: what they give, float32[N,3,H,W].
    mean: float32[3], BGR. convs: names of the convolutions that read it, and nothing else does.
    padded: one of them pads, so the border needs the mask.
    """

    nodes: tuple[str, ...]
    tensor: str
    mean: NDArray[np.float32]
    convs: tuple[str, ...]
    padded: bool

    @property
    def zero(self) -> int:
        """The zero-point: the byte nearest to every channel's mean."""
        return int(np.clip(np.round(self.mean.mean()), 0, 254))

    @property
    def range(self) -> Range:
        """What ``tensor`` covers once it is pixel - zero: steps of exactly one."""
        return float(-self.zero), float(255 - self.zero)

    @property
    def masked(self) -> bool:
        """Whether the fourth channel is there."""
        return self.padded and bool(np.abs(self.mean - self.zero).max() > CLOSE)


def find_entry(model: onnx.ModelProto) -> Entry | None:
    """The entry of a folded graph; None where pixels meet anything but convolutions first."""
    weights = {i.name: i for i in model.graph.initializer}
    nodes: list[str] = []
    mean = np.zeros(3, np.float32)
    tensor = model.graph.input[0].name
    for wanted in ("Cast", "Transpose", "Sub"):
        readers = _readers(model, tensor)
        if len(readers) != 1 or readers[0].op_type != wanted:
            if wanted == "Sub":
                break
            return None
        if wanted == "Sub":
            found = weights.get(readers[0].input[1])
            values = None if found is None else numpy_helper.to_array(found).ravel()
            if values is None or len(values) not in {1, 3} or readers[0].input[0] != tensor:
                return None
            mean = np.broadcast_to(values, 3).astype(np.float32)
        nodes.append(readers[0].name)
        tensor = readers[0].output[0]
    readers = _readers(model, tensor)
    given = {output.name for output in model.graph.output}
    if not readers or tensor in given or not all(_plain(node, weights) for node in readers):
        return None
    padded = any(_pads(node) for node in readers)
    return Entry(tuple(nodes), tensor, mean, tuple(node.name for node in readers), padded)


def open_entry(model: onnx.ModelProto, entry: Entry, levels: int) -> onnx.ModelProto:
    """A copy that begins at ``entry.tensor``, now pixel - zero, the rest of the mean in biases.

    levels: the largest integer a weight is rounded to.
    """
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    graph = opened.graph
    shape = [d.dim_value or d.dim_param for d in graph.input[0].type.tensor_type.shape.dim]
    batch, height, width, channels = shape
    for node in graph.node:
        if node.name in entry.convs:
            _move_mean(graph, node, entry, levels)
    kept = [node for node in graph.node if node.name not in entry.nodes]
    del graph.node[:], graph.input[:], graph.value_info[:]
    graph.node.extend(kept)
    planes = [batch, channels + entry.masked, height, width]
    graph.input.append(helper.make_tensor_value_info(entry.tensor, TensorProto.FLOAT, planes))
    return opened


def close_entry(quantised: onnx.ModelProto, entry: Entry, pixels: onnx.ValueInfoProto) -> None:
    """Put pixels (→ Pad) → Transpose in the place of the entry's QuantizeLinear. In place.

    The quantiser stays, behind a DequantizeLinear of the same numbers. The pair changes nothing
    and ONNX Runtime drops it; but OpenVINO takes a convolution as INT8 only behind a quantiser, and
    an ImageNet ResNet-18 spends a quarter of its time in the first. Without a zero-point OpenVINO
    would drop it too, so its steps are then one rounding error wider than 1: ONNX Runtime runs
    it, for 1 % of YuNet's time, and OpenVINO saves 30 %.
    """
    graph = quantised.graph
    quantiser = next(
        node
        for node in graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] == entry.tensor
    )
    begin, source = [], pixels.name
    if entry.masked:
        source = "pixels_and_mask"
        pads = numpy_helper.from_array(np.array([0, 0, 0, 0, 0, 0, 0, 1]), "mask_pads")
        value = numpy_helper.from_array(np.array(255, np.uint8), "mask_value")
        graph.initializer.extend([pads, value])
        inputs = [pixels.name, pads.name, value.name]
        begin.append(helper.make_node("Pad", inputs, [source], name="mask_pixels"))
    planes = helper.make_node(
        "Transpose", [source], ["pixel_planes"], name="pixels_to_planes", perm=[0, 3, 1, 2]
    )
    bytes_are = ["pixel_planes", *quantiser.input[1:]]
    exact = helper.make_node(
        "DequantizeLinear", bytes_are, [entry.tensor], name="pixels_are_quantised"
    )
    if not entry.zero:
        wider = numpy_helper.from_array(np.nextafter(np.float32(1), np.float32(2)), "pixel_step")
        graph.initializer.append(wider)
        for node in graph.node:
            if node is quantiser or node.input[0] == quantiser.output[0]:
                node.input[1] = wider.name
    kept = list(graph.node)
    del graph.node[:], graph.input[:]
    graph.node.extend([*begin, planes, exact, *kept])
    graph.input.append(pixels)


def _move_mean(graph: onnx.GraphProto, node: onnx.NodeProto, entry: Entry, levels: int) -> None:
    """Into the mask's weights, rounded as they will be, and what rounding leaves into the bias."""
    weights = {i.name: i for i in graph.initializer}
    kernel = numpy_helper.to_array(weights[node.input[1]]).astype(np.float64)
    offset = (kernel * (entry.zero - entry.mean).reshape(1, 3, 1, 1)).sum(1, keepdims=True)
    bias = np.zeros(len(kernel)) + _bias(node, weights)
    if entry.masked:
        inside = 255 - entry.zero
        mask = offset / inside
        largest = np.abs(np.concatenate([kernel, mask], 1)).max((1, 2, 3), keepdims=True)
        step = np.where(largest > 0, largest / levels, 1)
        mask = np.round(mask / step) * step
        offset = offset - mask * inside
        _add(graph, node, 1, np.concatenate([kernel, mask], 1))
    _add(graph, node, 2, bias + offset.sum((1, 2, 3)))


def _add(
    graph: onnx.GraphProto, node: onnx.NodeProto, at: int, values: NDArray[np.float64]
) -> None:
    name = f"{node.name}_{'weight' if at == 1 else 'bias'}_at_zero"
    graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    rest = list(node.input)[at + 1 :]
    del node.input[at:]
    node.input.extend([name, *rest])


def _bias(
    node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto]
) -> NDArray[np.float32] | float:
    has = len(node.input) > 2 and node.input[2]
    return numpy_helper.to_array(weights[node.input[2]]) if has else 0.0


def _readers(model: onnx.ModelProto, tensor: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if tensor in node.input]


def _plain(node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto]) -> bool:
    constant = all(name in weights for name in list(node.input)[1:] if name)
    return node.op_type == "Conv" and constant and weights[node.input[1]].dims[1] == 3


def _pads(node: onnx.NodeProto) -> bool:
    attributes = {a.name: a for a in node.attribute}
    automatic = attributes["auto_pad"].s if "auto_pad" in attributes else b"NOTSET"
    pads = attributes["pads"].ints if "pads" in attributes else []
    return automatic.startswith(b"SAME") or any(pads)
