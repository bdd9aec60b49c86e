"""Correct the biases for what rounding adds to the mean of every channel.

Rounded weights times an input that is not zero on average, values cut off at the end of a range:
both shift a layer's output by a constant, and a constant is what a bias can take back. Nagel et
al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (ICCV 2019), section
4.2, with means observed instead of assumed.
"""

import copy
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecnn_export.quantization.fake_quant import ActivationMeans
from edgecnn_export.quantization.layers import QuantizerMap
from edgecnn_export.quantization.onnx_graph import add_constant, set_bias

BiasCorrections: TypeAlias = Mapping[str, NDArray[np.float32]]
"""By name of the convolution."""


def bias_tap_names(model: onnx.ModelProto, quantizers: QuantizerMap) -> tuple[str, ...]:
    """The tensors whose channel means ``correct_biases`` needs."""
    convs = _convs(model, quantizers)
    return tuple(dict.fromkeys(name for node in convs for name in (node.input[0], node.output[0])))


def correct_biases(
    model: onnx.ModelProto,
    quantizers: QuantizerMap,
    biases: Mapping[str, NDArray[np.float32]],
    *,
    before: ActivationMeans,
    after: ActivationMeans,
) -> BiasCorrections:
    """Biases for a graph with every layer in INT8; each holds where other layers are in float.

    A layer takes back what it adds itself: the shift of its output less what the shift of its
    input explains, so that no layer corrects another one's error again.

    Args:
        model: The float graph.
        quantizers: Its quantizers, with the rounded weights.
        biases: float32[C] by convolution: what it adds in the float graph.
        before: A run in float, with the means of ``bias_tap_names``.
        after: The same with everything rounded that the graph will round.
    """
    corrections = {}
    for node in _convs(model, quantizers):
        if node.name not in biases:
            continue
        incoming, outgoing = (
            after.means[name] - before.means[name] for name in (node.input[0], node.output[0])
        )
        own = outgoing - _through(quantizers.weights[node.input[1]], incoming)
        corrections[node.name] = (biases[node.name] - own).astype(np.float32)
    return corrections


def with_biases(model: onnx.ModelProto, biases: BiasCorrections) -> onnx.ModelProto:
    """A copy of the graph with other biases."""
    model = copy.deepcopy(model)
    for node in model.graph.node:
        if node.name in biases:
            name = f"{node.name}_bias_corrected"
            set_bias(node, add_constant(model.graph, name, biases[node.name]))
    return model


def _convs(model: onnx.ModelProto, quantizers: QuantizerMap) -> list[onnx.NodeProto]:
    return [
        node
        for node in model.graph.node
        if node.op_type == "Conv" and node.input[1] in quantizers.weights
    ]


def _through(kernel: NDArray[np.float32], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a constant shift of every input channel becomes at the output, away from borders."""
    taps = kernel.sum(tuple(range(2, kernel.ndim)), dtype=np.float64)
    groups = len(shift) // taps.shape[1]
    per_group = shift.reshape(groups, -1).repeat(len(taps) // groups, 0)
    return np.asarray((taps * per_group).sum(1))
