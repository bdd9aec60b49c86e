"""Scale channels of inner tensors alike, so that one quantizer fits all of them.

ReLU(x / s) = ReLU(x) / s: a convolution may divide a channel by s and the next one multiply its
weights for it by s, and the network computes the same. A channel that reaches ten times as far as
the others otherwise leaves them a tenth of the steps. Nagel et al. (ICCV 2019), section 4.1, with
the strength chosen for each tensor by the noise that activations and weights are going to add.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgecnn_export.quantization.calibrate import ActivationCollector
from edgecnn_export.quantization.onnx_graph import (
    add_constant,
    attribute,
    constants,
    has_bias,
    is_constant,
    read_bias,
    remove_unread,
)
from edgecnn_runtime.types import Pixels

IMAGES = 24
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
HOMOGENEOUS = ("Relu", "LeakyRelu")
LARGEST = 64.0
"""How much a channel is scaled at most, either way."""
WEIGHT_ERROR_FACTOR = 4.0
"""A weight's error is the same at every position and survives pooling; an activation's is not."""


@dataclass
class _Conv:
    """A convolution with constant weights [out, in / groups, …] and bias [out]."""

    node: onnx.NodeProto
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    group: int

    def by_input(self) -> NDArray[np.float64]:
        """float64[in, out / groups, taps]: a view of the weights by input channel."""
        out, inside = self.weight.shape[:2]
        split = self.weight.reshape(self.group, out // self.group, inside, -1)
        return split.transpose(0, 2, 1, 3).reshape(self.group * inside, out // self.group, -1)

    def scale_inputs(self, scale: NDArray[np.float64]) -> None:
        """Multiply the weights of input channel i by scale[i]."""
        out, inside, *taps = self.weight.shape
        split = self.weight.reshape(self.group, out // self.group, inside, -1)
        self.weight = (split * scale.reshape(self.group, 1, inside, 1)).reshape(out, inside, *taps)

    def scale_outputs(self, scale: NDArray[np.float64]) -> None:
        """Multiply output channel o by scale[o]."""
        self.weight = self.weight * scale.reshape(-1, *([1] * (self.weight.ndim - 1)))
        self.bias = self.bias * scale

    def store(self, graph: onnx.GraphProto) -> None:
        """Write weights and bias under names of this convolution's own."""
        for index, values in enumerate((self.weight, self.bias)[: 1 + has_bias(self.node)], 1):
            name = f"{self.node.output[0]}.equalized.{('weight', 'bias')[index - 1]}"
            self.node.input[index] = add_constant(graph, name, values.astype(np.float32))


@dataclass(frozen=True)
class _Joint:
    """A tensor between one convolution and others, with at most a homogeneous function on it."""

    tensor: str
    before: _Conv
    after: tuple[_Conv, ...]


@dataclass(frozen=True)
class _Channels:
    """Largest magnitude and mean square of each channel, float64[C]."""

    reach: NDArray[np.float64]
    power: NDArray[np.float64]


def equalize_cross_layer(model: onnx.ModelProto, pixels: Pixels) -> onnx.ModelProto:
    """A copy that computes the same and is easier to quantize.

    Args:
        model: The float graph.
        pixels: uint8[N,H,W,3] BGR; the first IMAGES show how far each channel reaches.

    Returns:
        The graph itself where nothing in it can be equalized, or has to be.
    """
    equalized = copy.deepcopy(model)
    graph = equalized.graph
    joints = _joints(graph)
    if not joints:
        return model
    channels = _observe(model, [joint.tensor for joint in joints], pixels[:IMAGES])
    scales = [_choose(joint, channels[joint.tensor]) for joint in joints]
    if all((scale == 1).all() for scale in scales):
        return model
    for joint, scale in zip(joints, scales, strict=True):
        joint.before.scale_outputs(1 / scale)
        for conv in joint.after:
            conv.scale_inputs(scale)
    convs = {id(conv): conv for joint in joints for conv in (joint.before, *joint.after)}
    for conv in convs.values():
        conv.store(graph)
    remove_unread(graph, constants(graph))
    return equalized


def _joints(graph: onnx.GraphProto) -> list[_Joint]:
    weights = constants(graph)
    convs = {n.output[0]: _read_conv(n, weights) for n in graph.node if is_constant(n, weights)}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {output.name for output in graph.output}
    joints = []
    for output, before in convs.items():
        tensor, nodes = output, readers.get(output, [])
        if len(nodes) == 1 and nodes[0].op_type in HOMOGENEOUS and tensor not in outputs:
            tensor = nodes[0].output[0]
            nodes = readers.get(tensor, [])
        after = [convs[n.output[0]] for n in nodes if n.output[0] in convs and n.input[0] == tensor]
        if after and len(after) == len(nodes) and tensor not in outputs:
            joints.append(_Joint(tensor, before, tuple(after)))
    return joints


def _read_conv(node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto]) -> _Conv:
    weight = numpy_helper.to_array(weights[node.input[1]]).astype(np.float64)
    bias = read_bias(node, weights).astype(np.float64)
    return _Conv(node, weight, bias, attribute(node, "group", 1))


def _observe(
    model: onnx.ModelProto, tensors: Sequence[str], pixels: Pixels
) -> dict[str, _Channels]:
    reach: dict[str, NDArray[np.float64]] = {}
    power: dict[str, NDArray[np.float64]] = {}
    for activations in ActivationCollector(model, tensors).run(pixels):
        for name, values in activations.items():
            axes = (0, *range(2, values.ndim))
            top = np.maximum(values.max(axes), -values.min(axes)).astype(np.float64)
            reach[name] = np.maximum(reach.get(name, 0.0), top)
            square = np.square(values).sum(axes, dtype=np.float64)
            power[name] = power.get(name, 0.0) + square / (values[0, 0].size * len(pixels))
    return {name: _Channels(reach[name], power[name]) for name in tensors}


def _choose(joint: _Joint, channels: _Channels) -> NDArray[np.float64]:
    """float64[C]: what each channel is divided by; the strength with the least noise to come."""
    alive = channels.reach > 0
    if not alive.any():
        return np.ones(len(channels.reach))
    middle = float(np.median(channels.reach[alive]))
    relative = np.where(alive, channels.reach / middle, 1.0)
    scales = [np.clip(relative**strength, 1 / LARGEST, LARGEST) for strength in STRENGTHS]
    return min(scales, key=lambda scale: _noise(joint, channels, scale))


def _noise(joint: _Joint, channels: _Channels, scale: NDArray[np.float64]) -> float:
    """Expected error power behind the joint, of eight-bit activations and weights."""
    step = (channels.reach / scale).max() / 255
    total = 0.0
    for conv in joint.after:
        weights = conv.by_input() * scale[:, None, None]
        total += step**2 * float((weights**2).sum())
        rows = np.abs(weights).max(2).reshape(conv.group, -1, weights.shape[1]).max(1)
        power = (channels.power / scale**2).reshape(conv.group, -1).sum(1)
        error = float(((rows / 127) ** 2).sum(1) @ power) * weights.shape[2]
        total += WEIGHT_ERROR_FACTOR * error
    return total
