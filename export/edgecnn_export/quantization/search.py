"""One target's search: choose ranges and biases, then give layers back to float as needed."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import msgspec
import numpy as np
import onnx

from edgecnn_export.config import Method, Target
from edgecnn_export.progress import Progress
from edgecnn_export.quantization.accuracy_gate import AccuracyGate, GateMeasurement
from edgecnn_export.quantization.accuracy_restoration import (
    LAST_TRIES,
    TRIES,
    GateResult,
    Trial,
    restore_accuracy,
)
from edgecnn_export.quantization.bias_correction import (
    BiasCorrections,
    bias_tap_names,
    correct_biases,
    with_biases,
)
from edgecnn_export.quantization.calibrate import ActivationCollector, Calibration
from edgecnn_export.quantization.fake_quant import ActivationMeans, FakeQuantModel
from edgecnn_export.quantization.ignored_scope import shared_quantizers
from edgecnn_export.quantization.insert_qdq import insert_qdq
from edgecnn_export.quantization.layers import (
    DEQUANTIZED,
    Layer,
    QuantizerMap,
    find_layers,
    float_nodes,
    read_quantizers,
)
from edgecnn_export.quantization.range_estimation import METHODS
from edgecnn_export.quantization.schemes import QuantScheme
from edgecnn_export.quantization.sensitivity import LayerSensitivity, measure_sensitivity
from edgecnn_export.quantization.uint8_input import InputStem, attach_uint8_input, strip_stem
from edgecnn_runtime.device.cache import read_entry, write_entry
from edgecnn_runtime.types import Pixels

Measurements: TypeAlias = tuple[GateMeasurement, ...]
"""One graph on each engine."""

TUNING = 16
"""Pictures on which methods are compared and biases corrected."""
ALIKE = 1.02
"""Methods whose errors differ by less are told apart by chance, or by a layer that goes back to
float anyway: the one that cuts off least is taken, which METHODS names first."""
CLOSE = 2.0
"""How much more error another method may add and be tried where the first does not pass amply."""
SQNR_IMAGES = 8
"""Pictures for the SQNR of every layer."""


class LayerReport(msgspec.Struct, frozen=True, kw_only=True):
    """One layer in the report; index: its place in the network.

    noise: error power at the output while only this layer is INT8, as a share of the signal's;
    None where nothing had to be repaired. before_db, after_db: SQNR of what it gives, with
    everything in INT8 and in the graph that was chosen. cost: share of the network's operations.
    """

    index: int
    name: str
    operator: str
    in_float: bool
    cost: float
    noise: float | None
    before_db: float
    after_db: float


@dataclass(frozen=True, kw_only=True)
class TargetResult:
    """One target's graph and how it was found.

    model: None where no graph passed the gate. measured: the best graph on every engine.
    methods: error power at the output by method, as a share of the signal's. tried: what the gate
    said of a method with everything in INT8, of those it was asked about. constant: tensors that
    were 0 in every calibration picture. float_operators: what stays in float, by how often.
    """

    target: Target
    model: onnx.ModelProto | None
    method: Method
    methods: Mapping[Method, float]
    tried: Mapping[Method, GateResult]
    bias_corrected: bool
    best: Trial
    attempts: tuple[Trial, ...]
    measured: tuple[GateMeasurement, ...]
    layers: tuple[LayerReport, ...]
    float_operators: Mapping[str, int]
    constant: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether there is a graph to emit."""
        return self.model is not None

    @property
    def returned(self) -> tuple[str, ...]:
        """Layers that went back to float, the worst first."""
        return self.best.floats


@dataclass(frozen=True, kw_only=True)
class MixedPrecisionSearch:
    """What one target's search is given.

    Attributes:
        model: The float graph, every node named.
        scheme: Where the target wants its quantizers.
        stem: The first layers, where they can take the camera's bytes as they are.
        calibration: The histograms of the tensors.
        pixels: uint8[N,H,W,3] BGR that were calibrated on.
        gate: What a graph has to pass.
        engines: Backends to measure on.
        folder: Where an interrupted search is resumed from.
        progress: Told of every step.
    """

    model: onnx.ModelProto
    scheme: QuantScheme
    stem: InputStem | None
    calibration: Calibration
    pixels: Pixels
    gate: AccuracyGate
    engines: Sequence[str]
    folder: Path
    progress: Progress

    def run(self, method: Method | None) -> TargetResult:
        """Choose ranges and biases, then return layers to float until the gate holds.

        Args:
            method: How ranges are estimated; None compares all methods.
        """
        target = self.scheme.target
        with self.progress.step(f"{target}: choose ranges"):
            methods: Iterable[Method] = [method] if method else METHODS
            simulation = _simulate(self, {name: self._quantizers(name) for name in methods})
            errors = simulation.errors()
        trials, tried = _choose_method(simulation, errors)
        outcome = restore_accuracy(simulation.layers, trials.sensitivity, trials.judge)
        floats = outcome.best.floats
        best, measured = trials.built(floats)
        with self.progress.step(f"{target}: SQNR of every layer"):
            layers = _layer_reports(trials, floats, best)
        verdict = self.gate.verdict(measured)  # of the graph that is emitted, measured just now
        return TargetResult(
            target=target,
            model=best if verdict.passed else None,
            method=trials.choice.method,
            methods=errors,
            tried=tried,
            bias_corrected=trials.choice.correct_biases,
            best=replace(outcome.best, verdict=verdict),
            attempts=outcome.attempts,
            measured=measured,
            layers=layers,
            float_operators=float_nodes(self.model, self.scheme, floats),
            constant=self.calibration.constant,
        )

    def _quantizers(self, method: Method) -> QuantizerMap:
        """The quantizers of one method that hold values of their own and may be switched."""
        ranges = self.calibration.ranges(method)
        quantizers = read_quantizers(insert_qdq(self.model, self.scheme, ranges))
        exact = {self.stem.tensor} if self.stem else set()
        shared = {
            name
            for name, origin in shared_quantizers(self.model, self.scheme).items()
            if origin in quantizers.activations
        }
        activations = {
            name: quantizer
            for name, quantizer in quantizers.activations.items()
            if name not in exact | shared
        }
        return QuantizerMap(activations, quantizers.weights)


@dataclass(frozen=True)
class RangeChoice:
    """How the graphs of a search are quantized, besides the layers that stay in float."""

    method: Method
    quantizers: QuantizerMap
    correct_biases: bool


@dataclass(frozen=True, kw_only=True)
class _Simulation:
    """The float graph with switches: what quantizing does, before a graph is built of it."""

    search: MixedPrecisionSearch
    quantizers: Mapping[Method, QuantizerMap]
    layers: tuple[Layer, ...]
    fake_quant: FakeQuantModel
    tuning: Pixels
    means: ActivationMeans
    """The channels' means in float, on calibration images."""

    def errors(self) -> dict[Method, float]:
        """The error that each method adds with everything in INT8."""
        reference = self.fake_quant.run(self.tuning).outputs
        return {
            name: self.search.gate.compare(reference, self._rounded(quantizers).outputs)
            for name, quantizers in self.quantizers.items()
        }

    def choose(self, method: Method) -> RangeChoice:
        """Correct biases only where it helps on other images than they were corrected on."""
        quantizers, compare = self.quantizers[method], self.search.gate.compare
        reference = self.fake_quant.run(self.tuning).outputs
        plain = self._rounded(quantizers).outputs
        corrected = self._rounded(quantizers, self.biases(quantizers, ())).outputs
        helps = compare(reference, corrected) < compare(reference, plain)
        return RangeChoice(method, quantizers, helps)

    def biases(self, quantizers: QuantizerMap, floats: Collection[str]) -> BiasCorrections:
        """Corrected biases for the graph with these layers in float."""
        tensors, weights = self._rounded_with(floats)
        after = self.fake_quant.run(
            _evenly(self.search.pixels, TUNING),
            tensors=tensors,
            weights=weights,
            activations=quantizers.activations,
            means=True,
        )
        return correct_biases(
            self.search.model,
            quantizers,
            self.fake_quant.biases,
            before=self.means,
            after=after,
            weights=weights,
        )

    def _rounded(
        self, quantizers: QuantizerMap, biases: BiasCorrections | None = None
    ) -> ActivationMeans:
        tensors, weights = self._rounded_with(())
        return self.fake_quant.run(
            self.tuning,
            tensors=tensors,
            weights=weights,
            activations=quantizers.activations,
            biases=biases,
        )

    def _rounded_with(self, floats: Collection[str]) -> tuple[set[str], set[str]]:
        """Tensors and weights that are quantized while these layers are in float."""
        active = [layer for layer in self.layers if layer.name not in floats]
        tensors = {name for layer in active for name in layer.tensors}
        weights = {name for layer in active for name in layer.weights}
        return tensors & set(self.fake_quant.tensors), weights & set(self.fake_quant.weights)


def _simulate(
    search: MixedPrecisionSearch, quantizers: Mapping[Method, QuantizerMap]
) -> _Simulation:
    first = next(iter(quantizers.values()))
    taps = bias_tap_names(search.model, first)
    fake_quant = FakeQuantModel(search.model, first, taps, batch_axes=search.gate.batch_axes)
    return _Simulation(
        search=search,
        quantizers=quantizers,
        layers=find_layers(search.model, search.scheme, first, search.pixels),
        fake_quant=fake_quant,
        tuning=search.gate.pixels[:TUNING],
        means=fake_quant.run(_evenly(search.pixels, TUNING), means=True),
    )


class _Trials:
    """What the gate says of graphs with one choice of ranges: asked once, also over interruptions.

    Only the latest graph is held in memory.
    """

    def __init__(self, simulation: _Simulation, choice: RangeChoice) -> None:
        self.simulation, self.choice = simulation, choice
        self._key = _key(simulation.search, choice)
        self._results: dict[tuple[str, ...], GateResult] = {}
        self._latest: dict[tuple[str, ...], tuple[onnx.ModelProto, Measurements]] = {}
        self.noise: LayerSensitivity | None = None

    def judge(self, floats: tuple[str, ...]) -> GateResult:
        """What the gate says of the graph with these layers in float."""
        if floats in self._results:
            return self._results[floats]
        search, key = self.simulation.search, (*self._key, *floats)
        stored = read_entry(search.folder, "verdict", key, GateResult)
        count = (
            f", {len(floats)} of {len(self.simulation.layers)} layers in float" if floats else ""
        )
        known = ", known from before" if stored else ""
        label = f"{search.scheme.target}: measure INT8, {self.choice.method}{count}{known}"
        with search.progress.step(label):
            if floats:
                done = sum(map(bool, self._results)) + 1
                search.progress.update(done, TRIES + LAST_TRIES)
            result = stored or search.gate.verdict(self.built(floats)[1])
            if stored is None:
                write_entry(search.folder, "verdict", key, result)
        self._results[floats] = result
        return result

    def built(self, floats: tuple[str, ...]) -> tuple[onnx.ModelProto, Measurements]:
        """The graph with these layers in float, and what it does on every engine."""
        if floats not in self._latest:
            search = self.simulation.search
            graph = self.build_graph(floats)
            self._latest = {floats: (graph, search.gate.measure(graph, search.engines))}
        return self._latest[floats]

    def build_graph(self, floats: Collection[str]) -> onnx.ModelProto:
        """The graph with these layers in float."""
        search, choice = self.simulation.search, self.choice
        biases: BiasCorrections = {}
        if choice.correct_biases:
            biases = self.simulation.biases(choice.quantizers, floats)
        model = with_biases(search.model, biases)
        ranges, stem = search.calibration.ranges(choice.method), search.stem
        if stem is None or set(stem.convs) & set(floats):
            return insert_qdq(model, search.scheme, ranges, floats)
        graph = insert_qdq(
            strip_stem(model, stem), search.scheme, {**ranges, stem.tensor: stem.range}, floats
        )
        attach_uint8_input(graph, stem, model.graph.input[0])
        return graph

    def sensitivity(self) -> LayerSensitivity:
        """What each quantizer adds to the error; measured when it is first asked for."""
        if self.noise is None:
            search = self.simulation.search
            self.noise = measure_sensitivity(
                self.simulation.fake_quant,
                self.choice.quantizers,
                search.gate.pixels,
                search.gate.compare,
                folder=search.folder,
                key=self._key,
                progress=search.progress,
            )
        return self.noise


def _choose_method(
    simulation: _Simulation, errors: Mapping[Method, float]
) -> tuple[_Trials, dict[Method, GateResult]]:
    """The method of the best verdict, and what the gate said of those it was asked about.

    It is not asked about others where the one with the least error passes amply.
    """
    tried: dict[Method, tuple[_Trials, GateResult]] = {}
    for name in order_methods(errors):
        trials = _Trials(simulation, simulation.choose(name))
        tried[name] = trials, trials.judge(())
        if len(tried) == 1 and tried[name][1].ample:
            break
    best = max(tried, key=lambda name: tried[name][1].score)
    return tried[best][0], {name: result for name, (_, result) in tried.items()}


def _layer_reports(
    trials: _Trials, floats: tuple[str, ...], best: onnx.ModelProto
) -> tuple[LayerReport, ...]:
    layers = trials.simulation.layers
    total = sum(layer.cost for layer in layers) or 1.0
    before = _sqnr(trials, trials.build_graph(()) if floats else best)
    after = _sqnr(trials, best) if floats else before
    return tuple(
        LayerReport(
            index=index,
            name=layer.name,
            operator=layer.operator,
            in_float=layer.name in floats,
            cost=layer.cost / total,
            noise=trials.noise.sqnr_of(layer) if trials.noise else None,
            before_db=before[layer.output],
            after_db=after[layer.output],
        )
        for index, layer in enumerate(layers)
    )


def _sqnr(trials: _Trials, quantized: onnx.ModelProto) -> dict[str, float]:
    """10·log10 of signal over error power of each layer's output, by tensor."""
    search = trials.simulation.search
    names = list(dict.fromkeys(layer.output for layer in trials.simulation.layers))
    outputs = {output for node in quantized.graph.node for output in node.output}
    # where a ReLU became the end of a range, only what is dequantized has been through it
    ends = {name: name + DEQUANTIZED if name + DEQUANTIZED in outputs else name for name in names}
    power = dict.fromkeys(names, 0.0)
    error = dict.fromkeys(names, 0.0)
    pixels = search.gate.pixels[:SQNR_IMAGES]
    expected = ActivationCollector(search.model, names).run(pixels)
    rounded = ActivationCollector(quantized, list(ends.values())).run(pixels)
    for reference, values in zip(expected, rounded, strict=True):
        for name, end in ends.items():
            difference = reference[name] - values[end]
            power[name] += float(np.square(reference[name], dtype=np.float64).sum())
            error[name] += float(np.square(difference, dtype=np.float64).sum())
    return {name: _decibel(power[name], error[name]) for name in names}


def _key(search: MixedPrecisionSearch, choice: RangeChoice) -> tuple[str, ...]:
    """What a verdict depends on besides the layers in float."""
    digest = hashlib.sha256(search.model.SerializeToString(deterministic=True))
    digest.update(search.gate.pixels.tobytes())
    digest.update(search.pixels.tobytes())
    digest.update(repr((search.engines, search.gate.key, choice.correct_biases)).encode())
    return digest.hexdigest(), search.scheme.target, choice.quantizers.digest


def _evenly(pixels: Pixels, count: int) -> Pixels:
    return pixels[:: max(1, len(pixels) // count)][:count]


def order_methods(errors: Mapping[Method, float]) -> list[Method]:
    """The methods worth trying, by the error they add: who is close to the least, the best first.

    Those that are alike come first, in the order of ``errors``.
    """
    least = min(errors.values())
    close = [name for name, error in errors.items() if error <= CLOSE * least]
    return sorted(close, key=lambda name: max(errors[name], ALIKE * least))


def _decibel(power: float, error: float) -> float:
    if error == 0:
        return 200.0
    return float(np.clip(10 * np.log10(max(power, 1e-30) / error), -200, 200))
