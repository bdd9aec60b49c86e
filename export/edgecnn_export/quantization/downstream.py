"""What one quantizer alone does to the outputs, computing only what depends on it.

Sensitivity rounds one tensor after the other. Whatever does not lie behind that tensor stays as it
is in float, so it is computed once; what does is a graph of its own, which begins with the rounded
tensor and has no switches. Most quantizers lie deep in a network, where little work is left.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, helper, numpy_helper

from edgecnn_export.quantization.calibrate import ActivationCollector, fill_batch
from edgecnn_export.quantization.fake_quant import ActivationMeans
from edgecnn_export.quantization.layers import Quantizer, QuantizerMap
from edgecnn_export.quantization.onnx_graph import constants
from edgecnn_runtime.backends.ort_session import open_session
from edgecnn_runtime.types import Pixels

GRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
Values = dict[str, NDArray[Any]]


class DownstreamModel:
    """Runs a float graph with one quantizer on. The tensors of the latest images are in memory.

    Attributes:
        switches: The activations and initializers that have a quantizer.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        quantizers: QuantizerMap,
        *,
        batch_axes: Mapping[str, int] | None = None,
    ) -> None:
        """Find out what lies behind each quantizer.

        Args:
            model: The float graph, folded; ``can_split`` holds for it.
            quantizers: The scales, zero-points and rounded weights.
            batch_axes: The batch axis by output, where it is not the first.
        """
        self.switches = (*quantizers.activations, *quantizers.weights)
        self._model, self._quantizers = model, quantizers
        self._stored = constants(model.graph)
        self._outputs = [output.name for output in model.graph.output]
        self._axes = {name: (batch_axes or {}).get(name, 0) for name in self._outputs}
        self._nodes = {name: self._behind(name) for name in self.switches}
        self._fixed = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
        read = {name for nodes in self._nodes.values() for name in self._inputs(nodes)}
        given = {value.name for value in model.graph.input}
        tensors = [*dict.fromkeys([*self._outputs, *sorted(read - given)])]
        self._collector = ActivationCollector(model, tensors)
        self._seen: tuple[Pixels, list[Values]] | None = None

    def run(
        self,
        pixels: Pixels,
        rounded: Collection[str] = (),
        *,
        activations: Mapping[str, Quantizer] | None = None,
    ) -> ActivationMeans:
        """The outputs with at most one tensor rounded.

        Args:
            pixels: uint8[N,H,W,3] BGR.
            rounded: The name of an activation or an initializer, or nothing.
            activations: Other scales and zero-points than the quantizers' own.

        Returns:
            Arrays that must not be changed.
        """
        batches = self._observe(pixels)
        parts = batches
        for name in rounded:
            parts = self._run(name, batches, (activations or self._quantizers.activations))
        outputs = {}
        for name, axis in self._axes.items():
            values = np.concatenate([np.moveaxis(part[name], axis, 0) for part in parts])
            outputs[name] = values[: len(pixels)]
        return ActivationMeans(outputs, {})

    def _observe(self, pixels: Pixels) -> list[Values]:
        """The float graph's tensors, as few images at a time as it takes."""
        if self._seen is None or not np.array_equal(self._seen[0], pixels):
            size = self._fixed or 1
            batches = []
            for start in range(0, len(pixels), size):
                chunk = fill_batch(pixels[start : start + size], size)
                values = dict(next(self._collector.run(chunk)))
                values[self._model.graph.input[0].name] = chunk
                batches.append(values)
            self._seen = pixels, batches
        return self._seen[1]

    def _run(
        self, name: str, batches: Sequence[Values], activations: Mapping[str, Quantizer]
    ) -> list[Values]:
        nodes = self._nodes[name]
        inputs = self._inputs(nodes)
        session = self._session(nodes, inputs, batches[0], name)
        made = {output for node in nodes for output in node.output}
        outputs = [output for output in self._outputs if output in made]
        parts = []
        for values in batches:
            feed = {tensor: values[tensor] for tensor in inputs}
            part = dict(values)
            if name in activations:
                part[name] = _rounded(values[name], activations[name])
                feed |= {name: part[name]} if name in feed else {}
            part |= dict(zip(outputs, session.run(outputs, feed), strict=True) if outputs else {})
            parts.append(part)
        return parts

    def _session(
        self, nodes: Sequence[onnx.NodeProto], inputs: Sequence[str], values: Values, name: str
    ) -> Any:
        made = {output for node in nodes for output in node.output}
        read = {tensor for node in nodes for tensor in node.input}
        weights = [self._stored[tensor] for tensor in sorted(read & self._stored.keys() - {name})]
        if name in self._quantizers.weights:
            weights.append(numpy_helper.from_array(self._quantizers.weights[name], name))
        graph = helper.make_graph(
            nodes,
            "downstream",
            [
                helper.make_tensor_value_info(
                    tensor, helper.np_dtype_to_tensor_dtype(values[tensor].dtype), None
                )
                for tensor in inputs
            ],
            [onnx.ValueInfoProto(name=tensor) for tensor in self._outputs if tensor in made],
            weights,
        )
        model = helper.make_model(graph, opset_imports=self._model.opset_import)
        model.ir_version = self._model.ir_version
        return open_session(model.SerializeToString())

    def _behind(self, name: str) -> list[onnx.NodeProto]:
        """The nodes whose results change with a tensor, in the order of the graph."""
        changed, nodes = {name}, []
        for node in self._model.graph.node:
            if changed.intersection(node.input):
                nodes.append(node)
                changed.update(node.output)
        return nodes

    def _inputs(self, nodes: Sequence[onnx.NodeProto]) -> list[str]:
        """What these nodes read and do not make themselves."""
        made = {output for node in nodes for output in node.output} | self._stored.keys()
        read = dict.fromkeys(name for node in nodes for name in node.input if name)
        return [name for name in read if name not in made]


def can_split(model: onnx.ModelProto) -> bool:
    """Whether every node says what it reads: one with a graph inside may read more."""
    return not any(a.type in GRAPHS for node in model.graph.node for a in node.attribute)


def _rounded(values: NDArray[Any], quantizer: Quantizer) -> NDArray[np.float32]:
    """Through QuantizeLinear and DequantizeLinear, halves to even."""
    limits = np.iinfo(quantizer.zero.dtype.name)
    zero = np.float32(quantizer.zero)
    steps = np.rint(values / quantizer.scale) + zero
    np.clip(steps, limits.min, limits.max, out=steps)
    return np.asarray((steps - zero) * quantizer.scale, np.float32)
