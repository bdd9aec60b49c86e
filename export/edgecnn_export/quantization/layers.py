"""Which layers and tensors an INT8 scheme touches, read off the quantizer's own work."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgecnn_export.quantization.calibrate import ActivationCollector
from edgecnn_export.quantization.ignored_scope import find_ignored, shared_quantizers
from edgecnn_export.quantization.insert_qdq import TAIL
from edgecnn_export.quantization.schemes import (
    ELEMENTWISE,
    FUSED,
    PASSTHROUGH_OPS,
    WEIGHTED,
    QuantScheme,
)
from edgecnn_runtime.types import Pixels

ELEMENT_COST = 32
"""Multiply-accumulates a CPU does in the time it moves one float: with those alone, large early
layers look cheap, and nine of CenterFace's in float made it 1.5 times as slow."""
DEQUANTIZED = "_DequantizeLinear_Output"
"""What it appends to the name of a tensor that has been through its quantizer."""


@dataclass(frozen=True)
class Quantizer:
    """scale: float32 scalar. zero: uint8 or int8 scalar."""

    scale: NDArray[np.float32]
    zero: NDArray[np.generic]


@dataclass(frozen=True)
class Layer:
    """One operator that may be INT8.

    tensors: the activations it makes be quantized. weights: initializers that are quantized
    with it. output: what it gives, after an activation fused to it. cost: of a picture in float,
    in multiply-accumulates: its own, and what moving its output takes.
    """

    name: str
    operator: str
    tensors: tuple[str, ...]
    weights: tuple[str, ...]
    output: str
    cost: float


@dataclass(frozen=True)
class QuantizerMap:
    """activations: by tensor of the float graph. weights: initializers after quantization."""

    activations: Mapping[str, Quantizer]
    weights: Mapping[str, NDArray[np.float32]]

    @cached_property
    def digest(self) -> str:
        """A hash of every number in it."""
        import hashlib

        digest = hashlib.sha256()
        for name in sorted(self.activations):
            one = self.activations[name]
            digest.update(name.encode() + one.scale.tobytes() + one.zero.tobytes())
        for name in sorted(self.weights):
            digest.update(name.encode() + self.weights[name].tobytes())
        return digest.hexdigest()


def read_quantizers(quantized: onnx.ModelProto) -> QuantizerMap:
    """What ``insert_qdq`` did: every tensor it put a quantizer on, every weight it rounded."""
    constants = {i.name: i for i in quantized.graph.initializer}

    def value(name: str) -> NDArray[Any]:
        return numpy_helper.to_array(constants[name])

    activations = {}
    weights: dict[str, NDArray[np.float32]] = {}
    for node in quantized.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] not in constants:
            tensor = node.input[0].removesuffix(TAIL)
            scale = value(node.input[1]).astype(np.float32)
            activations[tensor] = Quantizer(scale, value(node.input[2]))
        elif node.op_type == "DequantizeLinear" and node.input[0].endswith("_quantized"):
            stored = value(node.input[0])
            if stored.dtype not in (np.int8, np.uint8):
                continue  # a bias
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            scale, zero = value(node.input[1]), value(node.input[2])
            if scale.ndim:
                shape = [-1 if i == axis % stored.ndim else 1 for i in range(stored.ndim)]
                scale, zero = scale.reshape(shape), zero.reshape(shape)
            real = (stored.astype(np.float32) - zero.astype(np.float32)) * scale
            weights[node.input[0].removesuffix("_quantized")] = real.astype(np.float32)
    return QuantizerMap(activations, weights)


def find_layers(
    model: onnx.ModelProto, scheme: QuantScheme, quantizers: QuantizerMap, pixels: Pixels
) -> tuple[Layer, ...]:
    """Every operator that the scheme quantizes, in the order of the graph.

    pixels: one picture, run once to learn the shapes.
    """
    constants = {i.name: i for i in model.graph.initializer}
    origin = shared_quantizers(model, scheme)
    after = {n.input[0]: n.output[0] for n in model.graph.node if n.op_type in FUSED}
    spared = find_ignored(model, scheme).nodes
    candidates = [
        node
        for node in model.graph.node
        if node.op_type in scheme.operators
        and node.op_type in WEIGHTED + ELEMENTWISE
        and node.name not in spared
    ]
    shapes = next(
        iter(ActivationCollector(model, [node.output[0] for node in candidates]).run(pixels[:1]))
    )
    layers = []
    for node in candidates:
        read = [name for name in node.input if name and name not in constants]
        made = [after.get(node.output[0], node.output[0])] if scheme.quantize_outputs else []
        tensors = dict.fromkeys(origin.get(name, name) for name in [*read, *made])
        weights = tuple(name for name in node.input if name in quantizers.weights)
        output = after.get(node.output[0], node.output[0])
        elements = float(shapes[node.output[0]].size)
        cost = ELEMENT_COST * elements
        if node.op_type in WEIGHTED and weights:
            kernel = constants[weights[0]].dims
            inner = np.prod(kernel[1:]) if node.op_type == "Conv" else kernel[0]
            cost += elements * float(inner)
        known = tuple(name for name in tensors if name in quantizers.activations)
        if known or weights:
            layers.append(Layer(node.name, node.op_type, known, weights, output, cost))
    return tuple(layers)


def float_nodes(
    model: onnx.ModelProto, scheme: QuantScheme, floats: Collection[str] = ()
) -> dict[str, int]:
    """Operators that stay in float, by how often: not in the scheme, spared, or returned to it."""
    out = {*floats, *find_ignored(model, scheme).nodes}
    ignored = {"Cast", "Constant", "Identity", "Shape"}
    counted: dict[str, int] = {}
    known = (
        {*scheme.operators, *FUSED, *PASSTHROUGH_OPS}
        if scheme.quantize_outputs
        else scheme.operators
    )
    for node in model.graph.node:
        if node.op_type not in ignored and (node.op_type not in known or node.name in out):
            counted[node.op_type] = counted.get(node.op_type, 0) + 1
    return counted
