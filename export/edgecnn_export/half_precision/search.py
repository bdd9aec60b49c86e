"""The story of half precision: exclude what overflows → convert the rest → gate → repair."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecnn_export.half_precision.convert import FLOAT, MOVES, half_layers, to_half, typed
from edgecnn_export.half_precision.exclusions import find_exclusions
from edgecnn_export.half_precision.report import Float32Layer, HalfReport
from edgecnn_export.half_precision.rounding import with_explicit_rounding
from edgecnn_export.progress import Progress
from edgecnn_export.quantization.accuracy_gate import AccuracyGate
from edgecnn_export.quantization.accuracy_restoration import (
    GateResult,
    restore_accuracy,
)
from edgecnn_export.quantization.calibrate import ActivationCollector
from edgecnn_export.quantization.fake_quant import FakeQuantModel
from edgecnn_export.quantization.layers import Layer, QuantizerMap, layer_cost
from edgecnn_export.quantization.onnx_graph import constants
from edgecnn_export.quantization.quantize import with_node_names
from edgecnn_export.quantization.schemes import WEIGHTED
from edgecnn_export.quantization.sensitivity import LayerSensitivity, measure_sensitivity
from edgecnn_runtime.errors import UnsupportedModelError
from edgecnn_runtime.types import Pixels

ENGINE = "onnxruntime"
"""What computes the form with explicit rounding."""
LOSES = "loses too much accuracy in float16"


@dataclass(frozen=True)
class HalfGraph:
    """A graph in half precision.

    Attributes:
        model: The graph itself.
        rounding: What computes the same on a processor.
        report: How it was made.
    """

    model: onnx.ModelProto
    rounding: onnx.ModelProto
    report: HalfReport


def search_half(
    model: onnx.ModelProto,
    gate: AccuracyGate,
    pixels: Pixels,
    *,
    folder: Path,
    progress: Progress,
) -> HalfGraph:
    """Find the graph in half precision that passes a gate with the fewest layers in float32.

    Args:
        model: The float graph, folded and optimized; it is not changed.
        gate: What the graph has to pass.
        pixels: uint8[N,H,W,3] BGR on which values too large for float16 are searched for.
        folder: Where an interrupted measurement of the sensitivity is resumed from.
        progress: Shows every step.

    Raises:
        UnsupportedModelError: Nothing in the model can compute in half precision.
    """
    model = with_node_names(model)
    nodes = half_layers(typed(model))
    names = [node.name or "" for node in nodes]
    tensors = [v.name for node in nodes for v in node.outputs if v.name and v.dtype == FLOAT]
    with progress.step("fp16: find what overflows"):
        largest, sizes = _observe(model, tensors, pixels)
    excluded = find_exclusions(model, largest)
    layers = _layers(model, {*names} - {*excluded}, sizes)
    if not layers:
        raise UnsupportedModelError(
            "nothing in this model can compute in half precision: leave --fp16 out"
        )
    search = _Search(model, gate, layers, frozenset(excluded), folder, progress)
    restoration = restore_accuracy(layers, search.sensitivity, search.verdict)
    best = restoration.best
    graph = search.build(best.floats)
    reasons = {**excluded, **dict.fromkeys(best.floats, LOSES)}
    report = HalfReport(
        passed=best.verdict.passed,
        layers=len(names),
        float32=tuple(
            Float32Layer(node.name, node.op_type, reasons[node.name])
            for node in model.graph.node
            if node.name in reasons
        ),
        best=best,
        attempts=restoration.attempts,
        measured_on=len(gate.pixels),
    )
    rounding = with_explicit_rounding(graph)
    del graph.graph.value_info[:]  # a twentieth of a small network's file, and no engine needs it
    return HalfGraph(graph, rounding, report)


@dataclass(frozen=True)
class _Search:
    model: onnx.ModelProto
    gate: AccuracyGate
    layers: Sequence[Layer]
    excluded: frozenset[str]
    folder: Path
    progress: Progress

    def build(self, floats: Collection[str]) -> onnx.ModelProto:
        """The graph with these layers in float32, and those that are excluded."""
        return to_half(self.model, {*self.excluded, *floats})

    def verdict(self, floats: tuple[str, ...]) -> GateResult:
        """What the gate says about the graph with these layers in float32."""
        count = f", {len(floats)} of {len(self.layers)} layers in float32" if floats else ""
        with self.progress.step(f"fp16: measure{count}"):
            if floats:
                self.progress.update(len(floats), len(self.layers))
            graph = with_explicit_rounding(self.build(floats))
            return self.gate.verdict(self.gate.measure(graph, [ENGINE]))

    @property
    def _digest(self) -> str:
        digest = hashlib.sha256(self.model.SerializeToString(deterministic=True))
        digest.update(self.gate.pixels.tobytes())
        return digest.hexdigest()

    def sensitivity(self) -> LayerSensitivity:
        """What rounding each tensor and each weight to float16 adds to the error."""
        stored = constants(self.model.graph)
        weights = {
            name: _rounded(onnx.numpy_helper.to_array(stored[name]))
            for layer in self.layers
            for name in layer.weights
        }
        tensors = list(dict.fromkeys(name for layer in self.layers for name in layer.tensors))
        quantizers = QuantizerMap({}, weights)
        fake_quant = FakeQuantModel(
            self.model, quantizers, halves=tensors, batch_axes=self.gate.batch_axes
        )
        return measure_sensitivity(
            fake_quant,
            quantizers,
            self.gate.pixels,
            self.gate.compare,
            folder=self.folder,
            key=("fp16", self._digest, self.gate.key),
            progress=self.progress,
        )


def _observe(
    model: onnx.ModelProto, tensors: Sequence[str], pixels: Pixels
) -> tuple[dict[str, float], dict[str, float]]:
    """The largest absolute value of each of these tensors, and its size for one image."""
    largest, sizes = dict.fromkeys(tensors, 0.0), dict.fromkeys(tensors, 0.0)
    for activations in ActivationCollector(model, tensors).run(pixels):
        for name, values in activations.items():
            largest[name] = max(largest[name], float(np.abs(values).max(initial=0)))
            sizes[name] = sizes[name] or values.size / (values.shape or (1,))[0]
    return largest, sizes


def _layers(
    model: onnx.ModelProto, names: Collection[str], sizes: Mapping[str, float]
) -> tuple[Layer, ...]:
    """What may return to float32. A tensor is rounded as long as one layer on it is half."""
    stored, layers = constants(model.graph), []
    sources: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type in MOVES and node.input:
            sources |= dict.fromkeys(node.output, sources.get(node.input[0], node.input[0]))
        if node.name not in names:
            continue
        touched = (sources.get(name, name) for name in (*node.input, *node.output))
        tensors = tuple(dict.fromkeys(name for name in touched if name in sizes))
        weights = [name for name in node.input if name in stored and node.op_type in WEIGHTED][:1]
        cost = layer_cost(node, [stored[name] for name in weights], sizes[node.output[0]])
        layer = Layer(node.name, node.op_type, tensors, tuple(weights), node.output[0], cost)
        layers.append(layer)
    return tuple(layers)


def _rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values.astype(np.float16).astype(np.float32)
