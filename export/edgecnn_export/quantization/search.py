"""One target's search: choose ranges and biases, then give layers back to float as needed."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

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
    Restoration,
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


@dataclass(kw_only=True)
class MixedPrecisionSearch:
    """Everything one target's search needs; ``run`` is the search."""

    model: onnx.ModelProto
    dialect: QuantScheme
    entry: InputStem | None
    calibration: Calibration
    pixels: Pixels
    judge: AccuracyGate
    engines: Sequence[str]
    folder: Path
    progress: Progress
    _quantizers: QuantizerMap = field(init=False)
    _board: FakeQuantModel = field(init=False)
    _layers: tuple[Layer, ...] = field(init=False)
    _method: Method = field(init=False)
    _correct: bool = field(init=False, default=False)
    _tries: int = field(init=False, default=0)
    _verdicts: dict[tuple[str, ...], GateResult] = field(init=False, default_factory=dict)
    _float: ActivationMeans | None = field(init=False, default=None)
    _kept: dict[tuple[str, ...], tuple[onnx.ModelProto, tuple[GateMeasurement, ...]]] = field(
        init=False, default_factory=dict
    )

    def run(self, method: Method | None) -> TargetResult:
        """Choose ranges and biases, then return layers to float until the gate holds."""
        target = self.dialect.target
        methods, tried = self._choose_method(method)
        noise: list[LayerSensitivity] = []

        def sensitivity() -> LayerSensitivity:
            noise.append(self._noise())
            return noise[0]

        outcome = restore_accuracy(self._layers, sensitivity, self._judge)
        with self.progress.step(f"{target}: SQNR of every layer"):
            layers = self._report(outcome, noise[0] if noise else None)
        best, measured = self._built(outcome.best.floats)
        verdict = self.judge.verdict(measured)  # what is emitted was measured now, not remembered
        return TargetResult(
            target=target,
            model=best if verdict.passed else None,
            method=self._method,
            methods=methods,
            tried=tried,
            bias_corrected=self._correct,
            best=replace(outcome.best, verdict=verdict),
            attempts=outcome.attempts,
            measured=measured,
            layers=layers,
            float_operators=float_nodes(self.model, self.dialect, outcome.best.floats),
            constant=self.calibration.constant,
        )

    def build_graph(self, floats: Collection[str]) -> onnx.ModelProto:
        """The graph with these layers in float."""
        tensors, weights = self._on(floats)
        biases: BiasCorrections = {}
        if self._correct:
            biases = self._biases(tensors, weights)
        model = with_biases(self.model, biases)
        entry = self.entry
        if entry is None or set(entry.convs) & set(floats):
            return insert_qdq(model, self.dialect, self.calibration.ranges(self._method), floats)
        opened = strip_stem(model, entry)
        ranges = {**self.calibration.ranges(self._method), entry.tensor: entry.range}
        made = insert_qdq(opened, self.dialect, ranges, floats)
        attach_uint8_input(made, entry, model.graph.input[0])
        return made

    def _choose_method(
        self, asked: Method | None
    ) -> tuple[dict[Method, float], dict[Method, GateResult]]:
        """Take the method of the best verdict; errors, and what the gate said where it was asked.

        It is not asked about others where the one with the least error passes amply.
        """
        with self.progress.step(f"{self.dialect.target}: choose ranges"):
            candidates: Iterable[Method] = [asked] if asked else METHODS
            quantizers = {name: self._quantizers_by(name) for name in candidates}
            errors = self._compare(quantizers)
            first, *others = order_methods(errors)
            self._take(first, quantizers[first])
        tried = {first: self._judge(())}
        if others and not tried[first].ample:
            for other in others:
                self._take(other, quantizers[other])
                tried[other] = self._judge(())
            best = max(tried, key=lambda name: tried[name].score)
            self._take(best, quantizers[best])
        return errors, tried

    def _compare(self, quantizers: Mapping[Method, QuantizerMap]) -> dict[Method, float]:
        """The error that each method adds with everything in INT8."""
        first = next(iter(quantizers.values()))
        self._layers = find_layers(self.model, self.dialect, first, self.pixels)
        taps = bias_tap_names(self.model, first)
        self._board = FakeQuantModel(self.model, first, taps, batch_axes=self.judge.batch_axes)
        pixels = self.judge.pixels[:TUNING]
        reference = self._board.run(pixels)
        errors: dict[Method, float] = {}
        for name, by_method in quantizers.items():
            self._board.enable(by_method.activations)
            found = self._board.run(
                pixels, tensors=self._board.tensors, weights=self._board.weights
            )
            errors[name] = self.judge.compare(reference.outputs, found.outputs)
        return errors

    def _take(self, method: Method, quantizers: QuantizerMap) -> None:
        """Go on with this method's ranges."""
        self._method, self._quantizers = method, quantizers
        self._board.enable(quantizers.activations)
        self._kept = {}
        self._choose_biases()

    def _choose_biases(self) -> None:
        """Keep the correction only where it helps on other pictures than it was made from."""
        tensors, weights = self._on(())
        pixels = self.judge.pixels[:TUNING]
        reference = self._board.run(pixels)
        plain = self._board.run(pixels, tensors=tensors, weights=weights)
        original = dict(self._board.biases)
        self._board.biases.update(self._biases(tensors, weights))
        corrected = self._board.run(pixels, tensors=tensors, weights=weights)
        self._board.biases = original
        error = self.judge.compare(reference.outputs, corrected.outputs)
        self._correct = error < self.judge.compare(reference.outputs, plain.outputs)

    def _biases(self, tensors: Collection[str], weights: Collection[str]) -> BiasCorrections:
        pixels = self.pixels[:: max(1, len(self.pixels) // TUNING)][:TUNING]
        if self._float is None:
            self._float = self._board.run(pixels, means=True)
        after = self._board.run(pixels, tensors=tensors, weights=weights, means=True)
        return correct_biases(
            self.model,
            self._quantizers,
            self._board,
            before=self._float,
            after=after,
            weights=weights,
        )

    def _judge(self, floats: tuple[str, ...]) -> GateResult:
        """Of the graph with these layers in float; once, also over interrupted exports."""
        key = (*self._key(), *floats)
        if key in self._verdicts:
            return self._verdicts[key]
        known = read_entry(self.folder, "verdict", key, GateResult)
        done = f", {len(floats)} of {len(self._layers)} layers in float" if floats else ""
        kept = ", known from before" if known else ""
        with self.progress.step(f"{self.dialect.target}: measure INT8, {self._method}{done}{kept}"):
            if floats:
                self._tries += 1
                self.progress.update(self._tries, TRIES + LAST_TRIES)
            verdict = known or self.judge.verdict(self._built(floats)[1])
            self._verdicts[key] = verdict
            if known is None:
                write_entry(self.folder, "verdict", key, verdict)
            return verdict

    def _built(
        self, floats: tuple[str, ...]
    ) -> tuple[onnx.ModelProto, tuple[GateMeasurement, ...]]:
        if floats not in self._kept:
            made = self.build_graph(floats)
            self._kept = {floats: (made, self.judge.measure(made, self.engines))}
        return self._kept[floats]

    def _noise(self) -> LayerSensitivity:
        return measure_sensitivity(
            self._board,
            self._quantizers,
            self.judge.pixels,
            self.judge.compare,
            folder=self.folder,
            key=self._key(),
            progress=self.progress,
        )

    def _report(
        self, outcome: Restoration, noise: LayerSensitivity | None
    ) -> tuple[LayerReport, ...]:
        total = sum(layer.cost for layer in self._layers) or 1.0
        before = self._sqnr(self.build_graph(()))
        floats = outcome.best.floats
        after = self._sqnr(self._built(floats)[0]) if floats else before
        return tuple(
            LayerReport(
                index=index,
                name=layer.name,
                operator=layer.operator,
                in_float=layer.name in floats,
                cost=layer.cost / total,
                noise=noise.sqnr_of(layer) if noise else None,
                before_db=before[layer.output],
                after_db=after[layer.output],
            )
            for index, layer in enumerate(self._layers)
        )

    def _sqnr(self, quantized: onnx.ModelProto) -> dict[str, float]:
        """10·log10 of signal over error power of what every layer gives, by tensor."""
        names = list(dict.fromkeys(layer.output for layer in self._layers))
        made = {output for node in quantized.graph.node for output in node.output}
        # where a ReLU became the end of a range, only what is dequantized has been through it
        ends = {name: name + DEQUANTIZED if name + DEQUANTIZED in made else name for name in names}
        power = dict.fromkeys(names, 0.0)
        error = dict.fromkeys(names, 0.0)
        pixels = self.judge.pixels[:SQNR_IMAGES]
        expected = ActivationCollector(self.model, names).run(pixels)
        found = ActivationCollector(quantized, list(ends.values())).run(pixels)
        for one, other in zip(expected, found, strict=True):
            for name, end in ends.items():
                difference = one[name] - other[end]
                power[name] += float(np.square(one[name], dtype=np.float64).sum())
                error[name] += float(np.square(difference, dtype=np.float64).sum())
        return {name: _decibel(power[name], error[name]) for name in names}

    def _on(self, floats: Collection[str]) -> tuple[set[str], set[str]]:
        """Tensors and weights that are quantized while these layers are in float."""
        active = [layer for layer in self._layers if layer.name not in floats]
        tensors = {name for layer in active for name in layer.tensors}
        weights = {name for layer in active for name in layer.weights}
        return tensors & set(self._board.tensors), weights & set(self._board.weights)

    def _quantizers_by(self, method: Method) -> QuantizerMap:
        made = insert_qdq(self.model, self.dialect, self.calibration.ranges(method))
        found = read_quantizers(made)
        exact = {self.entry.tensor} if self.entry else set()
        shared = {
            name
            for name, origin in shared_quantizers(self.model, self.dialect).items()
            if origin in found.activations
        }
        kept = {n: q for n, q in found.activations.items() if n not in exact | shared}
        return QuantizerMap(kept, found.weights)

    def _key(self) -> tuple[str, ...]:
        digest = hashlib.sha256(self.model.SerializeToString(deterministic=True))
        digest.update(self.judge.pixels.tobytes())
        digest.update(self.pixels.tobytes())
        digest.update(repr((self.engines, self.judge.key, self._correct)).encode())
        return digest.hexdigest(), self.dialect.target, self._quantizers.digest


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
