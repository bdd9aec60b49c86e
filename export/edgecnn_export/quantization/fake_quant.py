"""The float graph with a switch on every quantizer: any part of INT8 in one session.

The choice of a method and bias correction ask the same question of different numbers: what do the
outputs become if these tensors and weights are rounded so? Building a graph for each answer takes
longer than running it, so here each quantizer is an ``If`` whose condition, scale and zero-point
are inputs. The sensitivity of a graph that ``downstream.can_split`` refuses is measured here too.
"""

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgecnn_export.quantization.calibrate import fill_batch
from edgecnn_export.quantization.layers import Quantizer, QuantizerMap
from edgecnn_export.quantization.onnx_graph import (
    add_constant,
    assign,
    constants,
    is_constant,
    read_bias,
    set_bias,
)
from edgecnn_runtime.backends.ort_session import open_session
from edgecnn_runtime.types import Floats, Pixels

BATCH = 2
"""With the arena, which keeps what every layer needed, larger ones cost memory and gain nothing."""
MEANS = "means/on"


@dataclass(frozen=True)
class ActivationMeans:
    """What a run gives.

    Attributes:
        outputs: New arrays by name, the batch first.
        means: float64[C] by tapped tensor; empty where they were not asked for.
    """

    outputs: Mapping[str, Floats]
    means: Mapping[str, NDArray[np.float64]]


class FakeQuantModel:
    """One ONNX Runtime session over all quantizers. Runs leave nothing behind in it.

    Attributes:
        switches: The activations and initializers that have a quantizer.
        biases: float32[C] by name of the convolution: what it adds in the float graph.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        quantizers: QuantizerMap,
        taps: Collection[str] = (),
        *,
        halves: Collection[str] = (),
        batch_axes: Mapping[str, int] | None = None,
    ) -> None:
        """Build the graph and its session.

        Args:
            model: The float graph, folded.
            quantizers: Where the switches are; their scales and zero-points are the default.
            taps: Tensors [N,C,H,W] whose means over all axes but C a run can give.
            halves: Tensors with a switch that rounds them to float16.
            batch_axes: The batch axis by output, where it is not the first.
        """
        self.switches = (*quantizers.activations, *halves, *quantizers.weights)
        self._axes = [(batch_axes or {}).get(output.name, 0) for output in model.graph.output]
        self._taps = {tensor: f"{tensor}/mean" for tensor in taps}
        switched = _SwitchedGraph(model, quantizers, self._taps, halves)
        self._outputs, self.biases = switched.outputs, switched.biases
        self._activations = quantizers.activations
        self._session = open_session(switched.model.SerializeToString())
        self._pixels = model.graph.input[0].name
        self._fixed = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value

    def run(
        self,
        pixels: Pixels,
        rounded: Collection[str] = (),
        *,
        activations: Mapping[str, Quantizer] | None = None,
        biases: Mapping[str, NDArray[np.float32]] | None = None,
        means: bool = False,
    ) -> ActivationMeans:
        """Run with these switches on and all others off.

        Args:
            pixels: uint8[N,H,W,3] BGR.
            rounded: The activations and initializers that are rounded.
            activations: Other scales and zero-points than the quantizers' own, for every tensor.
            biases: Other biases than the float graph's, by convolution.
            means: Whether to compute the taps' means; they cost as much again.

        Returns:
            New arrays.
        """
        feed: dict[str, NDArray[Any]] = {MEANS: np.array(means)}
        feed |= {f"{name}/on": np.array(name in rounded) for name in self.switches}
        for name in self._activations:
            quantizer = (activations or self._activations)[name]
            feed |= {f"{name}/scale": quantizer.scale, f"{name}/zero": quantizer.zero}
        for name, bias in self.biases.items():
            feed[f"{name}/bias"] = (biases or {}).get(name, bias)
        taps = self._taps if means else {}
        names = [*self._outputs.values(), *taps.values()]
        axes = [*self._axes, *(0 for _ in taps)]
        parts: list[list[NDArray[Any]]] = []
        batch = self._fixed or BATCH
        for start in range(0, len(pixels), batch):
            chunk = pixels[start : start + batch]
            feed[self._pixels] = fill_batch(chunk, self._fixed)
            values = zip(self._session.run(names, feed), axes, strict=True)
            parts.append([np.moveaxis(value, axis, 0)[: len(chunk)] for value, axis in values])
        joined = [np.concatenate(values) for values in zip(*parts, strict=True)]
        averages = (values.mean(0, dtype=np.float64) for values in joined[len(self._outputs) :])
        return ActivationMeans(
            dict(zip(self._outputs, joined, strict=False)), dict(zip(taps, averages, strict=True))
        )


class _SwitchedGraph:
    """Builds the graph.

    Attributes:
        model: The float graph with switches.
        outputs: The names of its own outputs by the original ones.
        biases: float32[C] by convolution: what it adds in the float graph.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        quantizers: QuantizerMap,
        taps: Mapping[str, str],
        halves: Collection[str],
    ) -> None:
        self.model = copy.deepcopy(model)
        self.biases: dict[str, NDArray[np.float32]] = {}
        self._graph = self.model.graph
        weights = constants(self._graph)
        nodes = [self._weight(name, values) for name, values in quantizers.weights.items()]
        renamed = {name: f"{name}/now" for name in quantizers.weights}
        inputs = [value.name for value in model.graph.input]
        self._add_input(MEANS, TensorProto.BOOL)

        def switch(tensors: Sequence[str]) -> None:
            for tensor in tensors:
                if tensor in taps:
                    nodes.append(self._mean(tensor, taps[tensor]))
                if tensor in quantizers.activations:
                    nodes.append(self._activation(tensor, quantizers.activations[tensor]))
                    renamed[tensor] = f"{tensor}/now"
                elif tensor in halves:
                    nodes.append(self._half(tensor))
                    renamed[tensor] = f"{tensor}/now"

        switch(inputs)
        for node in self._graph.node:
            if is_constant(node, weights):
                self.biases[node.name] = read_bias(node, weights).astype(np.float32)
                count = len(self.biases[node.name])
                set_bias(node, self._add_input(f"{node.name}/bias", TensorProto.FLOAT, [count]))
            assign(node.input, [renamed.get(name, name) for name in node.input])
            nodes.append(node)
            switch(node.output)
        names = [output.name for output in self._graph.output]
        self.outputs = {name: renamed.get(name, name) for name in names}
        added = [name for name in self.outputs.values() if name not in names]
        self._graph.output.extend(onnx.ValueInfoProto(name=n) for n in (*added, *taps.values()))
        assign(self._graph.node, nodes)

    def _add_input(self, name: str, kind: int, shape: Sequence[int] = ()) -> str:
        self._graph.input.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def _weight(self, name: str, values: NDArray[np.float32]) -> onnx.NodeProto:
        constant = numpy_helper.from_array(values, f"{name}/rounded")
        use = helper.make_node("Identity", [constant.name], [f"{name}/then"])
        return self._switch(name, [use], [constant])

    def _activation(self, name: str, quantizer: Quantizer) -> onnx.NodeProto:
        kind = helper.np_dtype_to_tensor_dtype(quantizer.zero.dtype)
        scale = self._add_input(f"{name}/scale", TensorProto.FLOAT)
        zero = self._add_input(f"{name}/zero", kind)
        there = helper.make_node("QuantizeLinear", [name, scale, zero], [f"{name}/q"])
        back = helper.make_node("DequantizeLinear", [f"{name}/q", scale, zero], [f"{name}/then"])
        return self._switch(name, [there, back])

    def _half(self, name: str) -> onnx.NodeProto:
        there = helper.make_node("Cast", [name], [f"{name}/half"], to=TensorProto.FLOAT16)
        back = helper.make_node("Cast", [f"{name}/half"], [f"{name}/then"], to=TensorProto.FLOAT)
        return self._switch(name, [there, back])

    def _switch(
        self, name: str, then: list[onnx.NodeProto], initializers: Sequence[TensorProto] = ()
    ) -> onnx.NodeProto:
        """A tensor as it is, or through ``then`` where it is switched on; its name is name/now."""
        copied = helper.make_node("Identity", [name], [f"{name}/else"])
        on = self._add_input(f"{name}/on", TensorProto.BOOL)
        return _if(on, f"{name}/now", _branch(then, initializers), _branch([copied]))

    def _mean(self, tensor: str, name: str) -> onnx.NodeProto:
        """The mean over height and width, or nothing where means are not asked for."""
        axes = add_constant(self._graph, f"{tensor}/axes", np.array([2, 3]))
        average = helper.make_node("ReduceMean", [tensor, axes], [f"{tensor}/average"], keepdims=0)
        empty = numpy_helper.from_array(np.empty((0, 0), np.float32))
        nothing = helper.make_node("Constant", [], [f"{tensor}/no average"], value=empty)
        return _if(MEANS, name, _branch([average]), _branch([nothing]))


def _if(
    condition: str, output: str, then: onnx.GraphProto, otherwise: onnx.GraphProto
) -> onnx.NodeProto:
    return helper.make_node("If", [condition], [output], then_branch=then, else_branch=otherwise)


def _branch(
    nodes: list[onnx.NodeProto], initializers: Sequence[TensorProto] = ()
) -> onnx.GraphProto:
    """A graph that gives the last node's output."""
    value = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)
    return helper.make_graph(nodes, "branch", [], [value], initializers)
