"""Let the camera's bytes be the quantized input of a ``cpu`` graph.

A folded float graph begins ``pixels → Cast → Transpose → Sub(mean) → Conv``. Bytes are already
eight bits: read as x = pixel - z with one scalar zero-point z they need no quantizer, and what is
left of the mean, W·(z - mean), is a constant that goes into the convolution's bias.

At the border it is not a constant: padding means x = 0 there, the value z and not each channel's
mean. Ten gray levels of difference in a ring of three pixels cost an ImageNet ResNet-18 5 dB. So
where it matters the bytes get a frame of the mean's own color, and the convolution does not pad.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgecnn_export.quantization.range_estimation import Range

CLOSE = 0.6
"""Gray levels between zero-point and mean that need no frame: both are rounded to a byte."""
LARGEST = 255

StemPadding: TypeAlias = tuple[int, int, int, int]
"""Pixels at the top, left, bottom and right."""


@dataclass(frozen=True)
class InputStem:
    """How pixels enter a folded graph.

    nodes: names of the Cast, Transpose and Sub. tensor: what they give, float32[N,3,H,W].
    mean: float32[3], BGR. convs: names of the convolutions that read it, and nothing else does.
    frame: what they pad, where that has to be the mean's color; else zeros.
    """

    nodes: tuple[str, ...]
    tensor: str
    mean: NDArray[np.float32]
    convs: tuple[str, ...]
    frame: StemPadding

    @property
    def zero(self) -> int:
        """The zero-point: the byte nearest to every channel's mean."""
        return _zero(self.mean)

    @property
    def color(self) -> NDArray[np.uint8]:
        """uint8[3], BGR: of the frame."""
        return np.clip(np.round(self.mean), 0, LARGEST).astype(np.uint8)

    @property
    def range(self) -> Range:
        """What ``tensor`` covers once it is pixel - zero: steps of exactly one."""
        return float(-self.zero), float(LARGEST - self.zero)


def find_stem(model: onnx.ModelProto) -> InputStem | None:
    """The entry of a folded graph; None where pixels meet anything but convolutions first.

    None also where those would need different frames, or one of a color that is no byte.
    """
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
    frame = _frame(readers, mean)
    if frame is None:
        return None
    return InputStem(tuple(nodes), tensor, mean, tuple(node.name for node in readers), frame)


def strip_stem(model: onnx.ModelProto, entry: InputStem) -> onnx.ModelProto:
    """A copy that begins at ``entry.tensor``, now pixel - zero with the frame around it.

    What is left of the mean is in biases.
    """
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    graph = opened.graph
    shape = [d.dim_value or d.dim_param for d in graph.input[0].type.tensor_type.shape.dim]
    batch, height, width, channels = shape
    top, left, bottom, right = entry.frame
    for node in graph.node:
        if node.name in entry.convs:
            _move_mean(graph, node, entry)
    kept = [node for node in graph.node if node.name not in entry.nodes]
    del graph.node[:], graph.input[:], graph.value_info[:]
    graph.node.extend(kept)
    planes = [batch, channels, top + height + bottom, left + width + right]
    graph.input.append(helper.make_tensor_value_info(entry.tensor, TensorProto.FLOAT, planes))
    return opened


def attach_uint8_input(
    quantized: onnx.ModelProto, entry: InputStem, pixels: onnx.ValueInfoProto
) -> None:
    """Put pixels (→ frame) → DequantizeLinear before the entry's quantizer. In place.

    Both have the same numbers: the pair changes nothing and ONNX Runtime drops it; but OpenVINO
    takes a convolution as INT8 only behind a quantizer, and an ImageNet ResNet-18 spends a quarter
    of its time in the first. Without a zero-point OpenVINO would drop it too, so its steps are
    then one rounding error wider than 1: ONNX Runtime runs it, for 1 % of YuNet's time, and
    OpenVINO saves 30 %. The Transpose comes last, where OpenVINO makes it part of the convolution.
    """
    graph = quantized.graph
    quantizer = _reader(graph, "QuantizeLinear", entry.tensor)
    reader = _reader(graph, "DequantizeLinear", quantizer.output[0])
    step, zero = quantizer.input[1:]
    if not entry.zero:
        wider = np.nextafter(np.float32(1), np.float32(2))
        graph.initializer.append(numpy_helper.from_array(wider, "pixel_step"))
        quantizer.input[1] = reader.input[1] = "pixel_step"
    frame, source = _framed(graph, entry, pixels)
    exact = helper.make_node(
        "DequantizeLinear", [source, step, zero], ["pixels_exact"], "pixels_are_quantized"
    )
    planes = helper.make_node(
        "Transpose", ["pixels_float"], [reader.output[0]], "pixels_to_planes", perm=[0, 3, 1, 2]
    )
    quantizer.input[0], reader.output[0] = "pixels_exact", "pixels_float"
    entering = [*frame, exact, quantizer, reader, planes]
    kept = [node for node in graph.node if node.name not in {quantizer.name, reader.name}]
    del graph.node[:], graph.input[:]
    graph.node.extend([*entering, *kept])
    graph.input.append(pixels)


def _framed(
    graph: onnx.GraphProto, entry: InputStem, pixels: onnx.ValueInfoProto
) -> tuple[list[onnx.NodeProto], str]:
    """Nodes that put the frame around the picture, and what they give.

    Four strips beside the bytes are faster than a Pad with a fourth channel that says where the
    picture is, which OpenVINO fills byte by byte: 8 % of an ImageNet ResNet-18.
    """
    if not any(entry.frame):
        return [], pixels.name
    top, left, bottom, right = entry.frame
    height, width = (d.dim_value for d in list(pixels.type.tensor_type.shape.dim)[1:3])
    nodes = [helper.make_node("Shape", [pixels.name], ["batch"], "frame_batch", start=0, end=1)]

    def strip(name: str, high: int, wide: int) -> list[str]:
        if not high * wide:
            return []
        shape = np.array([high, wide, len(entry.color)])
        one = np.broadcast_to(entry.color, (1, *shape))
        graph.initializer.extend(
            [numpy_helper.from_array(shape, f"{name}_size"), numpy_helper.from_array(one, name)]
        )
        whole, made = f"{name}_shape", f"{name}_strip"
        nodes.extend(
            [
                helper.make_node("Concat", ["batch", f"{name}_size"], [whole], whole, axis=0),
                helper.make_node("Expand", [name, whole], [made], made),
            ]
        )
        return [made]

    high = top + height + bottom
    column = [*strip("frame_top", top, width), pixels.name, *strip("frame_bottom", bottom, width)]
    row = [*strip("frame_left", high, left), "tall_pixels", *strip("frame_right", high, right)]
    nodes.append(helper.make_node("Concat", column, ["tall_pixels"], "frame_rows", axis=1))
    nodes.append(helper.make_node("Concat", row, ["framed_pixels"], "frame_columns", axis=2))
    return nodes, "framed_pixels"


def _move_mean(graph: onnx.GraphProto, node: onnx.NodeProto, entry: InputStem) -> None:
    weights = {i.name: i for i in graph.initializer}
    kernel = numpy_helper.to_array(weights[node.input[1]]).astype(np.float64)
    offset = (kernel * (entry.zero - entry.mean).reshape(1, 3, 1, 1)).sum((1, 2, 3))
    has_bias = len(node.input) > 2 and node.input[2]
    bias = numpy_helper.to_array(weights[node.input[2]]) if has_bias else 0.0
    name = f"{node.name}_bias_at_zero"
    graph.initializer.append(numpy_helper.from_array((bias + offset).astype(np.float32), name))
    del node.input[2:]
    node.input.append(name)
    if any(entry.frame):
        kept = [attribute for attribute in node.attribute if attribute.name != "pads"]
        del node.attribute[:]
        node.attribute.extend(kept)


def _readers(model: onnx.ModelProto, tensor: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if tensor in node.input]


def _reader(graph: onnx.GraphProto, operator: str, tensor: str) -> onnx.NodeProto:
    found: onnx.NodeProto
    (found,) = (n for n in graph.node if n.op_type == operator and n.input[0] == tensor)
    return found


def _plain(node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto]) -> bool:
    constant = all(name in weights for name in list(node.input)[1:] if name)
    return node.op_type == "Conv" and constant and weights[node.input[1]].dims[1] == 3


def _pads(node: onnx.NodeProto) -> StemPadding | None:
    """None where they are the engine's to work out."""
    attributes = {a.name: a for a in node.attribute}
    if "auto_pad" in attributes and attributes["auto_pad"].s.startswith(b"SAME"):
        return None
    top, left, bottom, right = attributes["pads"].ints if "pads" in attributes else (0, 0, 0, 0)
    return top, left, bottom, right


def _frame(readers: Sequence[onnx.NodeProto], mean: NDArray[np.float32]) -> StemPadding | None:
    """What has to be put around the picture; None where no frame would serve."""
    if np.abs(mean - _zero(mean)).max() <= CLOSE:
        return 0, 0, 0, 0
    pads = {_pads(node) for node in readers}
    frame = pads.pop()
    if pads or frame is None or (any(frame) and not _bytes(mean)):
        return None
    return frame


def _zero(mean: NDArray[np.float32]) -> int:
    return int(np.clip(np.round(mean.mean()), 0, LARGEST - 1))


def _bytes(mean: NDArray[np.float32]) -> bool:
    return bool(((mean > -CLOSE) & (mean < LARGEST + CLOSE)).all())
