"""Scale channels of inner tensors alike, so that one quantizer fits all of them.

ReLU(x / s) = ReLU(x) / s: a convolution may divide a channel by s and the next one multiply its
weights for it by s, and the network computes the same. A channel that reaches ten times as far as
the others otherwise leaves them a tenth of the steps. Nagel et al. (ICCV 2019), section 4.1, with
the strength chosen for each tensor by the noise that activations and weights are going to add.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgecnn_export.quantization.calibrate import ActivationCollector
from edgecnn_runtime.types import Pixels

PICTURES = 48
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
    bias: NDArray[np.float64] | None
    group: int

    def by_input(self) -> NDArray[np.float64]:
        """float64[in, out / groups, taps]: a view of the weights by input channel."""
        out, inside = self.weight.shape[:2]
        split = self.weight.reshape(self.group, out // self.group, inside, -1)
        return split.transpose(0, 2, 1, 3).reshape(self.group * inside, out // self.group, -1)

    def scale_inputs(self, scale: NDArray[np.float64]) -> None:
        """Multiply what input channel i is weighed with by scale[i]."""
        out, inside = self.weight.shape[:2]
        each = scale.reshape(self.group, 1, inside, *([1] * (self.weight.ndim - 2)))
        split = self.weight.reshape(self.group, out // self.group, *self.weight.shape[1:])
        self.weight = (split * each).reshape(self.weight.shape)

    def scale_outputs(self, scale: NDArray[np.float64]) -> None:
        """Multiply output channel o by scale[o]."""
        self.weight = self.weight * scale.reshape(-1, *([1] * (self.weight.ndim - 1)))
        self.bias = None if self.bias is None else self.bias * scale


@dataclass(frozen=True)
class _Joint:
    """A tensor between one convolution and others, with at most a homogeneous function on it."""

    tensor: str
    before: _Conv
    after: tuple[_Conv, ...]


@dataclass(frozen=True)
class _Channels:
    """reach: largest magnitude. power: mean square. float64[C] each."""

    reach: NDArray[np.float64]
    power: NDArray[np.float64]


def equalize_cross_layer(model: onnx.ModelProto, pixels: Pixels) -> onnx.ModelProto:
    """A copy that computes the same, easier to quantize; the graph itself where none would be.

    pixels: uint8[N,H,W,3] BGR; the first PICTURES show how far each channel reaches.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    joints = _find(changed)
    if not joints:
        return model
    channels = _observe(model, [joint.tensor for joint in joints], pixels[:PICTURES])
    scales = [_choose(joint, channels[joint.tensor]) for joint in joints]
    if all((scale == 1).all() for scale in scales):
        return model
    for joint, scale in zip(joints, scales, strict=True):
        joint.before.scale_outputs(1 / scale)
        for conv in joint.after:
            conv.scale_inputs(scale)
    convs = {id(conv): conv for joint in joints for conv in (joint.before, *joint.after)}
    for conv in convs.values():
        _store(changed.graph, conv)
    _drop_unused(changed.graph)
    return changed


def _find(model: onnx.ModelProto) -> list[_Joint]:
    weights = {i.name: i for i in model.graph.initializer}
    convs = {node.output[0]: conv for node in model.graph.node if (conv := _conv(node, weights))}
    by_input: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            by_input.setdefault(name, []).append(node)
    given = {output.name for output in model.graph.output}
    joints = []
    for made, before in convs.items():
        tensor, readers = made, by_input.get(made, [])
        if len(readers) == 1 and readers[0].op_type in HOMOGENEOUS and made not in given:
            tensor = readers[0].output[0]
            readers = by_input.get(tensor, [])
        after = [convs.get(node.output[0]) for node in readers if node.input[0] == tensor]
        if tensor in given or not readers or len(after) != len(readers) or None in after:
            continue
        joints.append(_Joint(tensor, before, tuple(conv for conv in after if conv)))
    return joints


def _conv(node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto]) -> _Conv | None:
    has_bias = len(node.input) > 2 and bool(node.input[2])
    if node.op_type != "Conv" or any(name not in weights for name in node.input[1:] if name):
        return None
    group = next((a.i for a in node.attribute if a.name == "group"), 1)
    weight = numpy_helper.to_array(weights[node.input[1]]).astype(np.float64)
    bias = numpy_helper.to_array(weights[node.input[2]]).astype(np.float64) if has_bias else None
    return _Conv(node, weight, bias, group)


def _observe(
    model: onnx.ModelProto, tensors: Sequence[str], pixels: Pixels
) -> dict[str, _Channels]:
    reach: dict[str, NDArray[np.float64]] = {}
    power: dict[str, NDArray[np.float64]] = {}
    for values in ActivationCollector(model, tensors).run(pixels):
        for name, found in values.items():
            axes = (0, *range(2, found.ndim))
            top = np.maximum(found.max(axes), -found.min(axes)).astype(np.float64)
            reach[name] = np.maximum(reach.get(name, 0.0), top)
            square = np.square(found).sum(axes, dtype=np.float64)
            power[name] = power.get(name, 0.0) + square / (found[0, 0].size * len(pixels))
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


def _store(graph: onnx.GraphProto, conv: _Conv) -> None:
    """Weights and bias under names of this convolution's own."""
    arrays = [(1, conv.weight)] + ([] if conv.bias is None else [(2, conv.bias)])
    for at, values in arrays:
        name = f"{conv.node.output[0]}.equalized.{'weight' if at == 1 else 'bias'}"
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
        conv.node.input[at] = name


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [initializer for initializer in graph.initializer if initializer.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
