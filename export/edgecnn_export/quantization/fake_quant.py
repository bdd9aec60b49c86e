"""The float graph with a switch on every quantizer: any part of INT8 in one session.

Sensitivity, the choice of a method and bias correction all ask the same question of different
subsets: what does the output become if only these tensors and weights are rounded? Building a
graph for each answer takes longer than running it, so here each quantizer is an ``If`` whose
condition, scale and zero-point are inputs.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgecnn_export.quantization.layers import Quantizer, QuantizerMap
from edgecnn_runtime.backends.ort_session import open_session
from edgecnn_runtime.types import Floats, Pixels

BATCH = 2
"""With the arena, which keeps what every layer needed, larger ones cost memory and gain nothing."""


MEANS = "means/on"


@dataclass(frozen=True)
class ActivationMeans:
    """outputs: new arrays by name, the batch first. means: float64[C] by tapped tensor, if asked
    for."""

    outputs: Mapping[str, Floats]
    means: Mapping[str, NDArray[np.float64]]


class FakeQuantModel:
    """One ONNX Runtime session over all quantizers. Runs leave nothing behind in it.

    Attributes:
        tensors: The activations that have a quantizer.
        weights: The initializers that have one.
        biases: float32[C] by name of the convolution: what it adds in the float graph.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        quantizers: QuantizerMap,
        taps: Collection[str] = (),
        *,
        batch_axes: Mapping[str, int] | None = None,
    ) -> None:
        """Build the graph and its session.

        Args:
            model: The float graph, folded.
            quantizers: Where the switches are; their scales and zero-points are the default.
            taps: Tensors [N,C,H,W] whose means over all axes but C a run can give.
            batch_axes: The batch axis by output, where it is not the first.
        """
        self.tensors = tuple(quantizers.activations)
        self.weights = tuple(quantizers.weights)
        self._axes = [(batch_axes or {}).get(output.name, 0) for output in model.graph.output]
        self._taps = {tensor: f"{tensor}/mean" for tensor in taps}
        board = _Board(model, quantizers, self._taps)
        self._final = board.finals
        self.biases: Mapping[str, NDArray[np.float32]] = board.biases
        self._activations = quantizers.activations
        self._session = open_session(board.model.SerializeToString())
        self._pixels = model.graph.input[0].name
        fixed = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
        self._batch, self._fixed = fixed or BATCH, bool(fixed)

    def run(
        self,
        pixels: Pixels,
        *,
        tensors: Collection[str] = (),
        weights: Collection[str] = (),
        activations: Mapping[str, Quantizer] | None = None,
        biases: Mapping[str, NDArray[np.float32]] | None = None,
        means: bool = False,
    ) -> ActivationMeans:
        """Run with these switches on and all others off.

        Args:
            pixels: uint8[N,H,W,3] BGR.
            tensors: Activations that are rounded.
            weights: Initializers that are rounded.
            activations: Other scales and zero-points than the quantizers' own, for every tensor.
            biases: Other biases than the float graph's, by convolution.
            means: Whether the taps' means are wanted; they cost as much again.

        Returns:
            New arrays.
        """
        quantizers = self._activations if activations is None else activations
        feed: dict[str, NDArray[Any]] = {MEANS: np.array(means)}
        feed |= {f"{name}/scale": quantizers[name].scale for name in self.tensors}
        feed |= {f"{name}/zero": quantizers[name].zero for name in self.tensors}
        feed |= {f"{name}/on": np.array(name in tensors) for name in self.tensors}
        feed |= {f"{name}/on": np.array(name in weights) for name in self.weights}
        added = {**self.biases, **(biases or {})}
        feed |= {f"{name}/bias": value for name, value in added.items()}
        taps = self._taps if means else {}
        wanted = [*self._final.values(), *taps.values()]
        kinds = len(self._final)
        axes = [*self._axes, *(0 for _ in taps)]
        parts: list[list[NDArray[Any]]] = []
        for at in range(0, len(pixels), self._batch):
            chunk = pixels[at : at + self._batch]
            size = len(chunk)
            if self._fixed and size < self._batch:
                chunk = np.concatenate([chunk, chunk[:1].repeat(self._batch - size, 0)])
            values = self._session.run(wanted, {**feed, self._pixels: chunk})
            placed = [np.moveaxis(v, axis, 0) for v, axis in zip(values, axes, strict=True)]
            parts.append([value[:size] for value in placed])
        joined = [np.concatenate(values) for values in zip(*parts, strict=True)]
        averages = [values.mean(0, dtype=np.float64) for values in joined[kinds:]]
        return ActivationMeans(
            dict(zip(self._final, joined[:kinds], strict=True)),
            dict(zip(taps, averages, strict=True)),
        )


class _Board:
    """Builds the graph: ``finals`` maps the original outputs to its own."""

    def __init__(
        self,
        model: onnx.ModelProto,
        quantizers: QuantizerMap,
        taps: Mapping[str, str],
    ) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self._graph = self.model.graph
        self._constants = {i.name: i for i in self._graph.initializer}
        self.biases: dict[str, NDArray[np.float32]] = {}
        renamed: dict[str, str] = {}
        nodes: list[onnx.NodeProto] = []
        for name, rounded in quantizers.weights.items():
            nodes.append(self._weight(name, rounded))
            renamed[name] = f"{name}/now"
        self._graph.input.append(helper.make_tensor_value_info(MEANS, TensorProto.BOOL, []))
        original = list(self._graph.node)
        for tensor in [value.name for value in self._graph.input]:
            if tensor in quantizers.activations:
                nodes += [self._activation(tensor, quantizers.activations[tensor])]
                renamed[tensor] = f"{tensor}/now"
        for node in original:
            self._free_bias(node)
            for index, name in enumerate(node.input):
                node.input[index] = renamed.get(name, name)
            nodes.append(node)
            for tensor in node.output:
                if tensor in taps:
                    nodes.append(self._mean(tensor, taps[tensor]))
                if tensor in quantizers.activations:
                    nodes.append(self._activation(tensor, quantizers.activations[tensor]))
                    renamed[tensor] = f"{tensor}/now"
        names = [output.name for output in self._graph.output]
        self.finals = {name: renamed.get(name, name) for name in names}
        for name, final in self.finals.items():
            if final != name:
                self._graph.output.append(onnx.ValueInfoProto(name=final))
        self._graph.output.extend(onnx.ValueInfoProto(name=name) for name in taps.values())
        del self._graph.node[:]
        self._graph.node.extend(nodes)

    def _weight(self, name: str, rounded: NDArray[np.float32]) -> onnx.NodeProto:
        on = f"{name}/on"
        self._graph.input.append(helper.make_tensor_value_info(on, TensorProto.BOOL, []))
        constant = numpy_helper.from_array(rounded, f"{name}/rounded")
        use = helper.make_node("Identity", [constant.name], [f"{name}/then"])
        return _switch(on, [use], f"{name}/then", name, [constant])

    def _activation(self, name: str, quantizer: Quantizer) -> onnx.NodeProto:
        on, scale, zero = f"{name}/on", f"{name}/scale", f"{name}/zero"
        kind = helper.np_dtype_to_tensor_dtype(quantizer.zero.dtype)
        self._graph.input.extend(
            [
                helper.make_tensor_value_info(on, TensorProto.BOOL, []),
                helper.make_tensor_value_info(scale, TensorProto.FLOAT, []),
                helper.make_tensor_value_info(zero, kind, []),
            ]
        )
        there = helper.make_node("QuantizeLinear", [name, scale, zero], [f"{name}/q"])
        back = helper.make_node("DequantizeLinear", [f"{name}/q", scale, zero], [f"{name}/dq"])
        return _switch(on, [there, back], f"{name}/dq", name)

    def _free_bias(self, node: onnx.NodeProto) -> None:
        if node.op_type != "Conv" or node.input[1] not in self._constants:
            return
        count = self._constants[node.input[1]].dims[0]
        value = np.zeros(count, np.float32)
        if len(node.input) > 2 and node.input[2]:
            if node.input[2] not in self._constants:
                return
            value = numpy_helper.to_array(self._constants[node.input[2]]).astype(np.float32)
        name = f"{node.name}/bias"
        self._graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [count]))
        del node.input[2:]
        node.input.append(name)
        self.biases[node.name] = value

    def _mean(self, tensor: str, name: str) -> onnx.NodeProto:
        axes, mean, nothing = f"{tensor}/axes", f"{tensor}/average", f"{tensor}/no average"
        self._graph.initializer.append(numpy_helper.from_array(np.array([2, 3]), axes))
        average = helper.make_node("ReduceMean", [tensor, axes], [mean], keepdims=0)
        empty = numpy_helper.from_array(np.empty((0, 0), np.float32))
        return helper.make_node(
            "If",
            [MEANS],
            [name],
            then_branch=_branch("then", [average], mean),
            else_branch=_branch(
                "else", [helper.make_node("Constant", [], [nothing], value=empty)], nothing
            ),
        )


def _switch(
    on: str,
    then: list[onnx.NodeProto],
    result: str,
    otherwise: str,
    constants: Collection[TensorProto] = (),
) -> onnx.NodeProto:
    """``otherwise`` as it is, or through ``then`` where ``on``; named otherwise/now."""
    kept = f"{otherwise}/kept"
    copy = helper.make_node("Identity", [otherwise], [kept])
    return helper.make_node(
        "If",
        [on],
        [f"{otherwise}/now"],
        then_branch=_branch("then", then, result, constants),
        else_branch=_branch("else", [copy], kept),
    )


def _branch(
    name: str, nodes: list[onnx.NodeProto], result: str, constants: Collection[TensorProto] = ()
) -> onnx.GraphProto:
    value = onnx.ValueInfoProto(name=result)
    value.type.tensor_type.elem_type = TensorProto.FLOAT
    return helper.make_graph(nodes, name, [], [value], list(constants))
