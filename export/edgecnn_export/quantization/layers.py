"""Which layers and tensors an INT8 scheme touches, read off the quantizer's own work."""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgecnn_export.quantization.calibrate import ActivationCollector
from edgecnn_export.quantization.ignored_scope import find_ignored, shared_quantizers
from edgecnn_export.quantization.insert_qdq import quant_utils
from edgecnn_export.quantization.onnx_graph import attribute, constants
from edgecnn_export.quantization.schemes import ELEMENTWISE, FUSED, WEIGHTED, QuantScheme
from edgecnn_runtime.types import Pixels

ELEMENT_COST = 32
"""Multiply-accumulates a CPU does in the time it moves one float: with those alone, large early
layers look cheap, and nine of CenterFace's in float made it 1.5 times as slow."""
UNCOUNTED = ("Cast", "Constant", "Identity", "Shape")
"""Operators that are not worth a word in float."""


@dataclass(frozen=True)
class Quantizer:
    """How a tensor is rounded.

    Attributes:
        scale: float32 scalar.
        zero: The zero-point, uint8 or int8 scalar.
    """

    scale: NDArray[np.float32]
    zero: NDArray[np.generic]


@dataclass(frozen=True)
class Layer:
    """One operator that may be INT8.

    Attributes:
        name: Its node's name.
        operator: Its ONNX operator.
        tensors: The activations that are quantized because of it.
        weights: The initializers that are quantized with it.
        output: The tensor it computes, after an activation fused to it.
        cost: Of one image in float, in multiply-accumulates: its own, and what moving its output
            takes.
    """

    name: str
    operator: str
    tensors: tuple[str, ...]
    weights: tuple[str, ...]
    output: str
    cost: float

    @property
    def quantizers(self) -> tuple[str, ...]:
        """The names of all that is quantized because of it."""
        return self.tensors + self.weights


@dataclass(frozen=True)
class QuantizerMap:
    """The quantizers of a graph.

    Attributes:
        activations: By tensor of the float graph.
        weights: Initializers by name, after quantization.
    """

    activations: Mapping[str, Quantizer]
    weights: Mapping[str, NDArray[np.float32]]

    @cached_property
    def digest(self) -> str:
        """A hash of every number in it."""
        names = sorted((*self.activations, *self.weights))
        numbers = "".join(f"{name} {self.digest_of(name)}\n" for name in names)
        return hashlib.sha256(numbers.encode()).hexdigest()

    def digest_of(self, name: str) -> str:
        """A hash of one quantizer's numbers; of no numbers for a tensor that has no quantizer."""
        if quantizer := self.activations.get(name):
            zero = quantizer.zero
            numbers = quantizer.scale.tobytes() + zero.dtype.str.encode() + zero.tobytes()
        else:
            numbers = self.weights[name].tobytes() if name in self.weights else b""
        return hashlib.sha256(numbers).hexdigest()


def read_quantizers(quantized: onnx.ModelProto) -> QuantizerMap:
    """The tensors that ``insert_qdq`` put a quantizer on, and the weights it rounded."""
    names = quant_utils()
    stored = constants(quantized.graph)
    activations: dict[str, Quantizer] = {}
    weights: dict[str, NDArray[np.float32]] = {}
    for node in quantized.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] not in stored:
            scale, zero = (numpy_helper.to_array(stored[name]) for name in node.input[1:])
            tensor = node.input[0].removesuffix(names.QUANT_INPUT_SUFFIX)
            activations[tensor] = Quantizer(scale.astype(np.float32), zero)
        elif node.op_type == "DequantizeLinear" and node.input[0] in stored:
            integers, scale, zero = (numpy_helper.to_array(stored[name]) for name in node.input)
            if integers.dtype not in (np.int8, np.uint8):
                continue  # a bias
            if scale.ndim:
                axis = attribute(node, "axis", 1) % integers.ndim
                others = [other for other in range(integers.ndim) if other != axis]
                scale, zero = np.expand_dims(scale, others), np.expand_dims(zero, others)
            name = node.input[0].removesuffix(names.TENSOR_NAME_QUANT_SUFFIX)
            weights[name] = (integers.astype(np.float32) - zero.astype(np.float32)) * scale
    return QuantizerMap(activations, weights)


def find_layers(
    model: onnx.ModelProto, scheme: QuantScheme, quantizers: QuantizerMap, pixels: Pixels
) -> tuple[Layer, ...]:
    """Every operator that a scheme quantizes, in the order of the graph.

    Args:
        model: The float graph, every node named.
        scheme: What is quantized.
        quantizers: Those of the scheme's graph.
        pixels: uint8[N,H,W,3] BGR; one image is run to learn the shapes.
    """
    graph = model.graph
    stored = constants(graph)
    origins = shared_quantizers(model, scheme)
    fused = {node.input[0]: node.output[0] for node in graph.node if node.op_type in FUSED}
    ignored = find_ignored(model, scheme).nodes
    operators = {*WEIGHTED, *ELEMENTWISE}.intersection(scheme.operators)
    nodes = [n for n in graph.node if n.op_type in operators and n.name not in ignored]
    collector = ActivationCollector(model, [node.output[0] for node in nodes])
    activations = next(collector.run(pixels[:1]))
    layers = []
    for node in nodes:
        output = fused.get(node.output[0], node.output[0])
        touched = [name for name in node.input if name and name not in stored]
        touched += [output] if scheme.quantize_outputs else []
        sources = dict.fromkeys(origins.get(name, name) for name in touched)
        tensors = tuple(name for name in sources if name in quantizers.activations)
        weights = tuple(name for name in node.input if name in quantizers.weights)
        if tensors or weights:
            size = activations[node.output[0]].size
            cost = layer_cost(node, [stored[name] for name in weights], size)
            layers.append(Layer(node.name, node.op_type, tensors, weights, output, cost))
    return tuple(layers)


def layer_cost(node: onnx.NodeProto, weights: Sequence[onnx.TensorProto], size: float) -> float:
    """What a layer costs in float, in multiply-accumulates; see ``Layer.cost``.

    Args:
        node: Its node.
        weights: Its constant weights, if it has any.
        size: The number of values it computes.
    """
    work = float(ELEMENT_COST)
    if node.op_type in WEIGHTED and weights:
        kernel = weights[0].dims
        work += float(np.prod(kernel[1:]) if node.op_type == "Conv" else kernel[0])
    return work * size


def float_nodes(
    model: onnx.ModelProto, scheme: QuantScheme, floats: Collection[str] = ()
) -> dict[str, int]:
    """Operators that stay in float, by how often.

    Args:
        model: The float graph, every node named.
        scheme: What is quantized.
        floats: The names of layers that went back to float.
    """
    excluded = {*floats, *find_ignored(model, scheme).nodes}
    return Counter(
        node.op_type
        for node in model.graph.node
        if node.op_type not in UNCOUNTED
        and (node.op_type not in scheme.operators or node.name in excluded)
    )
