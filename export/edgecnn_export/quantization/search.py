"""One target's search: choose ranges and biases, then give layers back to float as needed."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx

from edgecnn_export.config import Method
from edgecnn_export.progress import Progress
from edgecnn_export.quantization.accuracy_gate import AccuracyGate, GateMeasurement
from edgecnn_export.quantization.accuracy_restoration import (
    GateResult,
    Slowdown,
    restore_accuracy,
)
from edgecnn_export.quantization.bias_correction import (
    BiasCorrections,
    bias_tap_names,
    correct_biases,
    with_biases,
)
from edgecnn_export.quantization.calibrate import ActivationCollector, Calibration, evenly
from edgecnn_export.quantization.downstream import DownstreamModel, can_split
from edgecnn_export.quantization.fake_quant import ActivationMeans, FakeQuantModel
from edgecnn_export.quantization.ignored_scope import shared_quantizers
from edgecnn_export.quantization.insert_qdq import insert_qdq, quant_utils, round_weights
from edgecnn_export.quantization.latency import measure_slowdown
from edgecnn_export.quantization.layers import (
    Layer,
    QuantizerMap,
    find_layers,
    float_nodes,
    read_quantizers,
)
from edgecnn_export.quantization.range_estimation import METHODS
from edgecnn_export.quantization.report import LayerReport, TargetResult
from edgecnn_export.quantization.schemes import SCHEMES, QuantScheme
from edgecnn_export.quantization.sensitivity import LayerSensitivity, measure_sensitivity
from edgecnn_export.quantization.uint8_input import InputStem, attach_uint8_input, strip_stem
from edgecnn_runtime.backends import get_engine
from edgecnn_runtime.bundle.manifest import REDUCED_RANGE, Int8Target
from edgecnn_runtime.device.cache import read_entry, write_entry
from edgecnn_runtime.device.cpu import cpu_features, saturates
from edgecnn_runtime.types import Floats, Pixels

TUNING = 8
"""Images on which methods are compared and biases corrected."""
ALIKE = 1.02
"""Between methods whose errors differ by less, chance decides, or a layer that goes back to float
anyway: the one that cuts off least is taken, which METHODS names first."""
CLOSE = 2.0
"""How much more error another method may add and be tried where the first does not pass amply."""
SQNR_IMAGES = 4
"""Images for the SQNR of every layer."""
FIRST_IMAGES = 32
"""Images on which a graph of the search may fail by far."""


@dataclass(frozen=True, kw_only=True)
class MixedPrecisionSearch:
    """What one target's search works on.

    Attributes:
        model: The float graph, every node named.
        target: What the graph is for.
        stem: The first layers, where they can take the camera's bytes as they are.
        calibration: The histograms of the tensors.
        pixels: uint8[N,H,W,3] BGR that were calibrated on.
        gate: What a graph has to pass.
        engines: Backends to measure on.
        folder: Where an interrupted search is resumed from.
        progress: Shows every step.
        number: Which of the targets this is, in words: "2 of 4".
    """

    model: onnx.ModelProto
    target: Int8Target
    stem: InputStem | None
    calibration: Calibration
    pixels: Pixels
    gate: AccuracyGate
    engines: Sequence[str]
    folder: Path
    progress: Progress
    number: str = ""

    @property
    def label(self) -> str:
        """Names the target in the progress line."""
        return f"int8-{self.target}" + (f" ({self.number})" if self.number else "")

    @property
    def scheme(self) -> QuantScheme:
        """Where the target wants its quantizers."""
        return SCHEMES[self.target]

    def run(
        self, method: Method | None, other: Method | None = None
    ) -> tuple[TargetResult, onnx.ModelProto]:
        """Choose ranges and biases, then return layers to float until the gate holds.

        Args:
            method: How ranges are estimated; None compares all methods.
            other: What another target's search chose: beside the method with the least error, the
                only one that the gate is asked about.

        Returns:
            How the search ended, and the best graph, which is emitted only if it passed.
        """
        with self.progress.step(f"{self.label}: choose ranges"):
            methods: Iterable[Method] = [method] if method else METHODS
            simulation = _simulate(self, {name: self._quantizers(name) for name in methods})
            errors = {name: simulation.error(q) for name, q in simulation.quantizers.items()}
        trials, all_int8 = _choose_method(simulation, errors, other)
        restoration = restore_accuracy(
            simulation.layers, trials.sensitivity, trials.verdict, trials.slowdown_on_cpu
        )
        floats = restoration.best.floats
        graph, measurements = trials.measured_graph(floats)
        with self.progress.step(f"{self.label}: SQNR of every layer"):
            layers = _layer_reports(trials, floats, graph)
        verdict = self.gate.verdict(measurements)  # measured just now, not read from the cache
        return TargetResult(
            target=self.target,
            passed=verdict.passed,
            method=trials.method,
            methods=errors,
            all_int8=all_int8,
            bias_corrected=trials.bias_corrected,
            best=msgspec.structs.replace(restoration.best, verdict=verdict),
            attempts=restoration.attempts,
            measurements=measurements,
            layers=layers,
            float_operators=float_nodes(self.model, self.scheme, floats),
            constant=self.calibration.constant,
        ), graph

    @cached_property
    def weights(self) -> onnx.ModelProto:
        """A graph with every weight rounded."""
        return round_weights(self.model, self.scheme)

    @cached_property
    def weights_without_stem(self) -> onnx.ModelProto:
        """The same for the graph that takes the camera's bytes as they are."""
        assert self.stem is not None
        return round_weights(strip_stem(self.model, self.stem), self.scheme)

    def _quantizers(self, method: Method) -> QuantizerMap:
        """The quantizers of one method that hold values of their own and may be switched."""
        ranges = self.calibration.ranges(method)
        graph = insert_qdq(self.model, self.scheme, ranges, weights=self.weights)
        quantizers = read_quantizers(graph)
        activations = dict(quantizers.activations)
        for name, source in shared_quantizers(self.model, self.scheme).items():
            if source in quantizers.activations:
                activations.pop(name, None)
        if self.stem:
            activations.pop(self.stem.tensor, None)  # is exact
        return QuantizerMap(activations, quantizers.weights)


@dataclass(frozen=True, kw_only=True)
class _Simulation:
    """The float graph with switches: what quantizing does, before a graph is built of it."""

    search: MixedPrecisionSearch
    quantizers: Mapping[Method, QuantizerMap]
    layers: tuple[Layer, ...]
    fake_quant: FakeQuantModel
    means: ActivationMeans
    """The channels' means in float, on calibration images."""
    reference: Mapping[str, Floats]
    """The outputs in float, on other images."""

    def error(self, quantizers: QuantizerMap, *, corrected: bool = False) -> float:
        """The error at the outputs with everything in INT8, with corrected biases or without."""
        biases = self.biases(quantizers) if corrected else {}
        pixels = self.search.gate.pixels[:TUNING]
        rounded = self._run(pixels, quantizers, biases=biases)
        return self.search.gate.compare(self.reference, rounded.outputs)

    def biases(self, quantizers: QuantizerMap) -> BiasCorrections:
        """Corrected biases for the graph with everything in INT8."""
        pixels = evenly(self.search.pixels, TUNING)
        return correct_biases(
            self.search.model,
            quantizers,
            self.fake_quant.biases,
            before=self.means,
            after=self._run(pixels, quantizers, means=True),
        )

    def _run(self, pixels: Pixels, quantizers: QuantizerMap, **options: Any) -> ActivationMeans:
        rounded = {name for layer in self.layers for name in layer.quantizers}
        return self.fake_quant.run(pixels, rounded, activations=quantizers.activations, **options)


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
        means=fake_quant.run(evenly(search.pixels, TUNING), means=True),
        reference=fake_quant.run(search.gate.pixels[:TUNING]).outputs,
    )


class _Trials:
    """What the gate decides about graphs with one choice of ranges.

    Each graph is measured once, even if the search was interrupted. Only the latest one is in
    memory.
    """

    def __init__(self, simulation: _Simulation, method: Method, *, bias_corrected: bool) -> None:
        self.simulation, self.search = simulation, simulation.search
        self.method, self.bias_corrected = method, bias_corrected
        self.quantizers = simulation.quantizers[method]
        search = self.search
        digest = hashlib.sha256(search.model.SerializeToString(deterministic=True))
        digest.update(search.gate.pixels.tobytes())
        digest.update(search.gate.key.encode())
        self._sensitivity_key = (digest.hexdigest(),)
        digest.update(search.pixels.tobytes())
        digest.update(repr((search.engines, bias_corrected)).encode())
        self._key = digest.hexdigest(), search.target, self.quantizers.digest
        self._results: dict[tuple[str, ...], GateResult] = {}
        self._latest: dict[
            tuple[str, ...], tuple[onnx.ModelProto, tuple[GateMeasurement, ...]]
        ] = {}
        self.noise: LayerSensitivity | None = None

    def verdict(self, floats: tuple[str, ...]) -> GateResult:
        """What the gate says about the graph with these layers in float."""
        if floats in self._results:
            return self._results[floats]
        search, key = self.search, (*self._key, *floats)
        result = read_entry(search.folder, "verdict", key, GateResult)
        layers = len(self.simulation.layers)
        number = sum(map(bool, self._results)) + 1
        count = f", try {number}: {len(floats)} of {layers} layers in float" if floats else ""
        before = ", known from before" if result else ""
        label = f"{search.label}: measure {self.method}{count}{before}"
        with search.progress.step(label):
            if result is None:
                result = search.gate.verdict(self._measure(floats)[1])
                write_entry(search.folder, "verdict", key, result)
        self._results[floats] = result
        return result

    @property
    def slowdown_on_cpu(self) -> Slowdown | None:
        """Compares graphs on the first CPU engine that runs them; None where none does.

        Nor does a processor with dot products of bytes tell about the reduced range, which is for
        those that lack them: there float costs more beside it.
        """
        target = self.search.target
        engines = [name for name in self.search.gate.engines if is_timed(name, target)]
        if not engines or (target == REDUCED_RANGE and not saturates(cpu_features())):
            return None
        return lambda floats, others: self._slowdown(floats, others, engines[0])

    def _slowdown(self, floats: tuple[str, ...], others: tuple[str, ...], engine: str) -> float:
        search, key = self.search, (*self._key, *floats, "over", *others)
        ratio = read_entry(search.folder, "slowdown", key, float)
        if ratio is None:
            count = f"{len(floats)} of {len(self.simulation.layers)} layers in float"
            with search.progress.step(f"{search.label}: time {count}"):
                graphs = self.build_graph(floats), self.build_graph(others)
                gate = search.gate
                ratio = measure_slowdown(*graphs, gate.spec, gate.pixels, engine)
            write_entry(search.folder, "slowdown", key, ratio)
        return ratio

    def measured_graph(
        self, floats: tuple[str, ...]
    ) -> tuple[onnx.ModelProto, tuple[GateMeasurement, ...]]:
        """The graph with these layers in float, and how it compares on every engine."""
        graph, measurements = self._measure(floats)
        if not self.search.gate.verdict(measurements).passed:  # which was clear before all were run
            measurements = self.search.gate.measure(graph, self.search.engines)
        return graph, measurements

    def _measure(
        self, floats: tuple[str, ...]
    ) -> tuple[onnx.ModelProto, tuple[GateMeasurement, ...]]:
        """The same as far as it takes to tell that it fails."""
        if floats not in self._latest:
            gate, graph = self.search.gate, self.build_graph(floats)
            measurements: tuple[GateMeasurement, ...] = ()
            for engine in self.search.engines:
                measurements += gate.measure(graph, [engine], FIRST_IMAGES)
                if not gate.verdict(measurements).passed:
                    break
            self._latest = {floats: (graph, measurements)}
        return self._latest[floats]

    def build_graph(self, floats: Collection[str]) -> onnx.ModelProto:
        """The graph with these layers in float."""
        search, stem = self.search, self.search.stem
        if stem and set(stem.convs) & set(floats):
            stem = None
        biases: BiasCorrections = {}
        if self.bias_corrected:
            biases = {name: bias for name, bias in self._all_biases.items() if name not in floats}
        model = with_biases(search.model, biases)
        ranges = search.calibration.ranges(self.method)
        if stem is None:
            return insert_qdq(model, search.scheme, ranges, floats, weights=search.weights)
        ranges = {**ranges, stem.tensor: stem.range}
        stripped = strip_stem(model, stem)
        graph = insert_qdq(
            stripped, search.scheme, ranges, floats, weights=search.weights_without_stem
        )
        attach_uint8_input(graph, stem, model.graph.input[0])
        return graph

    @cached_property
    def _all_biases(self) -> BiasCorrections:
        """Of every layer, each for what it adds itself, so that they hold beside float layers."""
        return self.simulation.biases(self.quantizers)

    def sensitivity(self) -> LayerSensitivity:
        """What each quantizer adds to the error; measured when it is first asked for."""
        if self.noise is None:
            search = self.search
            fake_quant: FakeQuantModel | DownstreamModel = self.simulation.fake_quant
            if can_split(search.model):
                axes = search.gate.batch_axes
                fake_quant = DownstreamModel(search.model, self.quantizers, batch_axes=axes)
            self.noise = measure_sensitivity(
                fake_quant,
                self.quantizers,
                search.gate.pixels,
                search.gate.compare,
                folder=search.folder,
                key=self._sensitivity_key,
                progress=search.progress,
            )
        return self.noise


def _choose_method(
    simulation: _Simulation, errors: Mapping[Method, float], other: Method | None
) -> tuple[_Trials, dict[Method, GateResult]]:
    """The method of the best verdict, and what the gate said about those that were tried.

    No others are tried where the one with the least error passes amply. Biases are corrected only
    where it helps on other images than they were corrected on.
    """
    trials: dict[Method, _Trials] = {}
    all_int8: dict[Method, GateResult] = {}
    names = order_methods(errors)
    if other in names:
        names = list(dict.fromkeys((names[0], other)))
    for name in names:
        helps = simulation.error(simulation.quantizers[name], corrected=True) < errors[name]
        trials[name] = _Trials(simulation, name, bias_corrected=helps)
        all_int8[name] = trials[name].verdict(())
        if len(all_int8) == 1 and all_int8[name].ample:
            break
    best = max(all_int8, key=lambda name: all_int8[name].score)
    return trials[best], all_int8


def _layer_reports(
    trials: _Trials, floats: tuple[str, ...], best: onnx.ModelProto
) -> tuple[LayerReport, ...]:
    layers, noise = trials.simulation.layers, trials.noise
    total = sum(layer.cost for layer in layers) or 1.0
    before = _sqnr(trials, trials.build_graph(()) if floats else best)
    after = _sqnr(trials, best) if floats else before
    reports = (
        LayerReport(
            index=index,
            name=layer.name,
            operator=layer.operator,
            in_float=layer.name in floats,
            cost=layer.cost / total,
            noise=noise.error_of(layer) if noise else None,
            before_db=before[layer.output],
            after_db=after[layer.output],
        )
        for index, layer in enumerate(layers)
    )
    return tuple(sorted(reports, key=lambda report: report.rank))


def _sqnr(trials: _Trials, quantized: onnx.ModelProto) -> dict[str, float]:
    """10·log10 of signal over error power of each layer's output, by tensor."""
    search, suffix = trials.search, quant_utils().DEQUANT_OUTPUT_SUFFIX
    outputs = {output for node in quantized.graph.node for output in node.output}
    # where a ReLU became the end of a range, only what is dequantized has been through it
    names = {
        layer.output: name if (name := layer.output + suffix) in outputs else layer.output
        for layer in trials.simulation.layers
    }
    power, error = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    pixels = search.gate.pixels[:SQNR_IMAGES]
    expected = ActivationCollector(search.model, list(names)).run(pixels)
    rounded = ActivationCollector(quantized, list(names.values())).run(pixels)
    for reference, values in zip(expected, rounded, strict=True):
        for name, other in names.items():
            difference = reference[name] - values[other]
            power[name] += float(np.square(reference[name], dtype=np.float64).sum())
            error[name] += float(np.square(difference, dtype=np.float64).sum())
    return {name: _decibel(power[name], error[name]) for name in names}


def is_timed(engine: str, target: Int8Target) -> bool:
    """Whether an engine runs this form on the processor, in INT8 whether exact or not."""
    return get_engine(engine).takes(target) and get_engine(engine).device == "cpu"


def order_methods(errors: Mapping[Method, float]) -> list[Method]:
    """The methods worth trying, the best first: those whose error is close to the least.

    Those that are alike come first, in the order of ``errors``.
    """
    least = min(errors.values())
    close = [name for name, error in errors.items() if error <= CLOSE * least]
    return sorted(close, key=lambda name: max(errors[name], ALIKE * least))


def _decibel(power: float, error: float) -> float:
    if error == 0:
        return 200.0
    return float(np.clip(10 * np.log10(max(power, 1e-30) / error), -200, 200))
