"""Let the camera's bytes be the quantized input of a ``cpu`` graph.

A folded float graph begins ``pixels → Cast → Transpose → Sub(mean) → Conv``. Bytes are already
eight bits: read as x = pixel - z with one scalar zero-point z they need no quantizer, and what is
left of the mean, W·(z - mean), is a constant that goes into the convolution's bias.

At the border it is not a constant: padding means x = 0 there, the value z and not each channel's
mean. Ten gray levels of difference in a ring of three pixels cost an ImageNet ResNet-18 5 dB. So
where it matters the bytes get a frame of the mean's own color, and the convolution does not pad.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgecnn_export.quantization.onnx_graph import (
    add_constant,
    assign,
    attribute,
    constants,
    is_constant,
    read_bias,
    set_bias,
)
from edgecnn_export.quantization.range_estimation import Range

CLOSE = 0.6
"""Gray levels between zero-point and mean that need no frame: both are rounded to a byte."""
LARGEST = 255

StemPadding: TypeAlias = tuple[int, int, int, int]
"""Pixels at the top, left, bottom and right."""


@dataclass(frozen=True)
class InputStem:
    """How pixels enter a folded graph.

    Attributes:
        nodes: The names of the Cast, the Transpose and, if there is one, the Sub.
        tensor: What they compute, float32[N,3,H,W].
        mean: What is subtracted, float32[3], BGR.
        convs: The names of the convolutions that read ``tensor``; nothing else does.
        frame: The pixels by which they pad, where the padding has to have the mean's color; else
            zeros.
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
    """How pixels enter a folded graph; None where they meet anything but convolutions first.

    None also where those would need different frames, or one whose color is not a byte.
    """
    graph = model.graph
    weights = constants(graph)
    nodes: list[str] = []
    mean = np.zeros(3, np.float32)
    tensor = graph.input[0].name
    readers = _readers(graph, tensor)
    for operator in ("Cast", "Transpose", "Sub"):
        if [node.op_type for node in readers] != [operator]:
            if operator == "Sub":
                break
            return None
        if operator == "Sub":
            name = readers[0].input[1]
            values = numpy_helper.to_array(weights[name]).ravel() if name in weights else mean[:0]
            if values.size not in {1, 3} or readers[0].input[0] != tensor:
                return None
            mean = np.broadcast_to(values, 3).astype(np.float32)
        nodes.append(readers[0].name)
        tensor = readers[0].output[0]
        readers = _readers(graph, tensor)
    if not readers or tensor in {output.name for output in graph.output}:
        return None
    if any(not is_constant(n, weights) or weights[n.input[1]].dims[1] != 3 for n in readers):
        return None
    frame = _frame(readers, mean)
    if frame is None:
        return None
    return InputStem(tuple(nodes), tensor, mean, tuple(node.name for node in readers), frame)


def strip_stem(model: onnx.ModelProto, stem: InputStem) -> onnx.ModelProto:
    """A copy that begins at ``stem.tensor``, now pixel - zero with the frame around it.

    What is left of the mean is in biases.
    """
    model = copy.deepcopy(model)
    graph = model.graph
    batch, height, width, channels = (
        d.dim_value or d.dim_param for d in graph.input[0].type.tensor_type.shape.dim
    )
    top, left, bottom, right = stem.frame
    for node in graph.node:
        if node.name in stem.convs:
            _move_mean(graph, node, stem)
    assign(graph.node, [node for node in graph.node if node.name not in stem.nodes])
    del graph.value_info[:]
    planes = [batch, channels, top + height + bottom, left + width + right]
    assign(graph.input, [helper.make_tensor_value_info(stem.tensor, TensorProto.FLOAT, planes)])
    return model


def attach_uint8_input(
    quantized: onnx.ModelProto, stem: InputStem, pixels: onnx.ValueInfoProto
) -> None:
    """Put pixels (→ frame) → DequantizeLinear before the stem's quantizer. In place.

    Both have the same numbers: the pair changes nothing and ONNX Runtime drops it; but OpenVINO
    takes a convolution as INT8 only behind a quantizer, and an ImageNet ResNet-18 spends a quarter
    of its time in the first. Without a zero-point OpenVINO would drop it too, so its steps are
    then one rounding error wider than 1: ONNX Runtime runs it, for 1 % of YuNet's time, and
    OpenVINO saves 30 %. The Transpose comes last, where OpenVINO makes it part of the convolution.

    Args:
        quantized: What ``insert_qdq`` made of ``strip_stem``'s graph.
        stem: The one that was taken off.
        pixels: The float graph's input.
    """
    graph = quantized.graph
    (quantizer,) = _readers(graph, stem.tensor)
    (reader,) = _readers(graph, quantizer.output[0])
    step, zero = quantizer.input[1:]
    if not stem.zero:
        wider = np.nextafter(np.float32(1), np.float32(2))
        quantizer.input[1] = reader.input[1] = add_constant(graph, "pixel_step", wider)
    frame, source = _framed(graph, stem, pixels)
    exact = helper.make_node(
        "DequantizeLinear", [source, step, zero], ["pixels_exact"], "pixels_are_quantized"
    )
    planes = helper.make_node(
        "Transpose", ["pixels_float"], [reader.output[0]], "pixels_to_planes", perm=[0, 3, 1, 2]
    )
    quantizer.input[0], reader.output[0] = "pixels_exact", "pixels_float"
    others = [node for node in graph.node if node.name not in {quantizer.name, reader.name}]
    assign(graph.node, [*frame, exact, quantizer, reader, planes, *others])
    assign(graph.input, [pixels])


def _framed(
    graph: onnx.GraphProto, stem: InputStem, pixels: onnx.ValueInfoProto
) -> tuple[list[onnx.NodeProto], str]:
    """Nodes that put the frame around the image, and the name of the framed image.

    Four strips beside the bytes are faster than a Pad with a fourth channel that says where the
    image is, which OpenVINO fills byte by byte: 8 % of an ImageNet ResNet-18.
    """
    if not any(stem.frame):
        return [], pixels.name
    top, left, bottom, right = stem.frame
    height, width = (d.dim_value for d in list(pixels.type.tensor_type.shape.dim)[1:3])
    nodes = [helper.make_node("Shape", [pixels.name], ["batch"], "frame_batch", start=0, end=1)]

    def strip(name: str, high: int, wide: int) -> list[str]:
        if not high * wide:
            return []
        sizes = np.array([high, wide, len(stem.color)])
        add_constant(graph, f"{name}_size", sizes)
        add_constant(graph, name, np.broadcast_to(stem.color, (1, *sizes)))
        shape, output = f"{name}_shape", f"{name}_strip"
        nodes.append(helper.make_node("Concat", ["batch", f"{name}_size"], [shape], shape, axis=0))
        nodes.append(helper.make_node("Expand", [name, shape], [output], output))
        return [output]

    high = top + height + bottom
    column = [*strip("frame_top", top, width), pixels.name, *strip("frame_bottom", bottom, width)]
    row = [*strip("frame_left", high, left), "tall_pixels", *strip("frame_right", high, right)]
    nodes.append(helper.make_node("Concat", column, ["tall_pixels"], "frame_rows", axis=1))
    nodes.append(helper.make_node("Concat", row, ["framed_pixels"], "frame_columns", axis=2))
    return nodes, "framed_pixels"


def _move_mean(graph: onnx.GraphProto, node: onnx.NodeProto, stem: InputStem) -> None:
    weights = constants(graph)
    kernel = numpy_helper.to_array(weights[node.input[1]]).astype(np.float64)
    offset = (kernel * (stem.zero - stem.mean).reshape(1, 3, 1, 1)).sum((1, 2, 3))
    bias = (read_bias(node, weights) + offset).astype(np.float32)
    set_bias(node, add_constant(graph, f"{node.name}_bias_at_zero", bias))
    if any(stem.frame):
        assign(node.attribute, [a for a in node.attribute if a.name != "pads"])


def _readers(graph: onnx.GraphProto, tensor: str) -> list[onnx.NodeProto]:
    return [node for node in graph.node if tensor in node.input]


def _frame(convs: Sequence[onnx.NodeProto], mean: NDArray[np.float32]) -> StemPadding | None:
    """What has to be put around the image; None where no frame would serve."""
    if np.abs(mean - _zero(mean)).max() <= CLOSE:
        return 0, 0, 0, 0
    auto = any(attribute(conv, "auto_pad", b"").startswith(b"SAME") for conv in convs)
    frame, *others = {tuple(attribute(conv, "pads", (0, 0, 0, 0))) for conv in convs}
    is_byte = ((mean > -CLOSE) & (mean < LARGEST + CLOSE)).all()
    if auto or others or (any(frame) and not is_byte):
        return None
    top, left, bottom, right = frame
    return top, left, bottom, right


def _zero(mean: NDArray[np.float32]) -> int:
    return int(np.clip(np.round(mean.mean()), 0, LARGEST - 1))
