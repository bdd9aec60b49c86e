"""Sensitivity, repair and all of quantize: accurate or not emitted, and never worked twice."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import cv2
import msgspec
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from edgecnn_export.progress import NullProgress
from edgecnn_export.quantization.accuracy_gate import AccuracyGate, GateMeasurement, make_gate
from edgecnn_export.quantization.accuracy_restoration import (
    MARGIN_TRIES,
    TRIES,
    GateResult,
    rank_layers,
    restore_accuracy,
)
from edgecnn_export.quantization.calibrate import calibrate
from edgecnn_export.quantization.cross_layer_equalization import equalize_cross_layer
from edgecnn_export.quantization.downstream import DownstreamModel
from edgecnn_export.quantization.fake_quant import FakeQuantModel
from edgecnn_export.quantization.insert_qdq import insert_qdq
from edgecnn_export.quantization.layers import Layer, read_quantizers
from edgecnn_export.quantization.quantize import quantize
from edgecnn_export.quantization.range_estimation import METHODS
from edgecnn_export.quantization.schemes import SCHEMES
from edgecnn_export.quantization.search import order_methods
from edgecnn_export.quantization.sensitivity import LayerSensitivity, measure_sensitivity
from edgecnn_runtime.bundle.manifest import Int8Target, ModelSpec
from edgecnn_runtime.errors import UnsupportedModelError
from edgecnn_runtime.evaluation.dataset import LabeledImage, LabeledSet, SourceLocation
from edgecnn_runtime.parity import percent_text, snr_db
from edgecnn_runtime.types import Pixels

Build = Callable[..., onnx.ModelProto]
Run = Callable[[onnx.ModelProto, Pixels], np.ndarray]


def layer(name: str, *tensors: str, cost: float = 1.0) -> Layer:
    return Layer(name, "Conv", tensors, (f"{name}.w",), name, cost)


def chain(count: int) -> list[Layer]:
    """conv0 → t1 → conv1 → t2 …"""
    return [layer(f"conv{i}", f"t{i}", f"t{i + 1}") for i in range(count)]


def test_the_board_does_what_the_quantized_graph_does(
    network: Build, pictures: Pixels, run: Run
) -> None:
    model = network()
    ranges = calibrate(model, _tensors(model)[1:], pictures, NullProgress()).ranges("minmax")
    quantized = insert_qdq(model, SCHEMES["cpu"], ranges)
    quantizers = read_quantizers(quantized)
    fake_quant = FakeQuantModel(model, quantizers)
    on = fake_quant.run(pictures, fake_quant.switches).outputs["logits"]
    off = fake_quant.run(pictures).outputs["logits"]
    assert snr_db(run(model, pictures), off) > 90
    assert snr_db(run(quantized, pictures), on) > snr_db(off, on) + 10, "it is the same error"


def test_noise_is_each_quantizers_own_and_adds_up(
    network: Build, gate: AccuracyGate, work: Path
) -> None:
    model, scheme = network(), SCHEMES["cpu"]
    ranges = calibrate(model, _tensors(model)[1:], gate.pixels, NullProgress()).ranges("minmax")
    quantizers = read_quantizers(insert_qdq(model, scheme, ranges))
    fake_quant = FakeQuantModel(model, quantizers)
    options: dict[str, Any] = {"folder": work, "key": ("k",), "progress": NullProgress()}
    noise = measure_sensitivity(fake_quant, quantizers, gate.pixels, gate.compare, **options)
    assert set(noise.errors) == {*quantizers.activations, *quantizers.weights}
    everything = fake_quant.run(gate.pixels[:8], fake_quant.switches)
    total = gate.compare(fake_quant.run(gate.pixels[:8]).outputs, everything.outputs)
    alone = sum(noise.errors.values())
    assert 0.3 * total < alone < 3 * total

    class Broken:
        switches = fake_quant.switches

        def run(self, *_: object, **__: object) -> None:
            raise AssertionError("measured a second time")

    broken: Any = Broken()
    again = measure_sensitivity(broken, quantizers, gate.pixels, gate.compare, **options)
    assert again == noise


@pytest.mark.parametrize("batch", ["N", 4])
@pytest.mark.parametrize("target", ["cpu", "trt"])
def test_what_depends_on_a_quantizer_computes_as_the_whole_graph_does(
    network: Build, pictures: Pixels, target: Int8Target, batch: str | int
) -> None:
    model = network(silu=True, batch=batch)
    ranges = calibrate(model, _tensors(model)[1:], pictures, NullProgress()).ranges("minmax")
    quantizers = read_quantizers(insert_qdq(model, SCHEMES[target], ranges))
    whole, part = FakeQuantModel(model, quantizers), DownstreamModel(model, quantizers)
    assert part.switches == whole.switches
    truth = whole.run(pictures[:6]).outputs["logits"]
    assert snr_db(truth, part.run(pictures[:6]).outputs["logits"]) > 90
    for name in whole.switches:
        expected = whole.run(pictures[:6], [name]).outputs["logits"]
        found = part.run(pictures[:6], [name]).outputs["logits"]
        if snr_db(truth, expected) < 90:  # it does something
            assert snr_db(expected, found) > snr_db(truth, expected) + 10, name


def test_the_noisiest_layer_goes_first_and_neighbors_go_together() -> None:
    layers = chain(5)
    noise = LayerSensitivity({"t3": 1.0, "conv0.w": 0.1})
    steps = rank_layers(layers, noise)
    assert set(steps[0]) == {"conv2", "conv3"}, "t3 stays quantized while either of them is INT8"
    assert steps[1] == ("conv0",)


def test_of_equally_noisy_layers_the_cheap_one_goes_first() -> None:
    layers = [layer("dear", cost=100.0), layer("cheap", cost=1.0)]
    assert rank_layers(layers, LayerSensitivity({"dear.w": 1.0, "cheap.w": 1.0}))[0] == ("cheap",)


@given(st.integers(1, 60), st.data())
def test_repair_finds_the_fewest_layers_that_pass(count: int, data: st.DataObject) -> None:
    layers = [layer(f"conv{i}") for i in range(count)]
    noise = LayerSensitivity({f"conv{i}.w": 1.0 / (i + 1) for i in range(count)})
    needed = data.draw(st.integers(0, count - 1))
    asked: list[tuple[str, ...]] = []

    def gate(floats: tuple[str, ...]) -> GateResult:
        asked.append(floats)
        passed = len(floats) >= needed
        return GateResult(passed, passed, len(floats) - needed, "")

    restoration = restore_accuracy(layers, lambda: noise, gate)
    assert restoration.best.floats == tuple(f"conv{i}" for i in range(needed))
    assert len(asked) == len(set(asked)) <= TRIES


def test_what_cannot_be_met_ends_with_the_nearest(work: Path) -> None:
    layers = chain(20)
    noise = LayerSensitivity({f"conv{i}.w": float(i) for i in range(20)})
    tried: list[float] = []

    def gate(floats: tuple[str, ...]) -> GateResult:
        tried.append(-abs(len(floats) - 7.0) - 1)
        return GateResult(False, False, tried[-1], "")

    restoration = restore_accuracy(layers, lambda: noise, gate)
    assert not restoration.best.verdict.passed
    assert restoration.best.verdict.score == max(tried)
    assert len(tried) <= TRIES + 4


def _passes_with(passing: int, ample: int) -> Callable[[tuple[str, ...]], GateResult]:
    """A gate that so many layers in float pass, and so many pass with a margin."""

    def gate(floats: tuple[str, ...]) -> GateResult:
        count = len(floats)
        return GateResult(count >= passing, count >= ample, count - passing, "")

    return gate


def test_a_repair_goes_on_to_a_margin_that_costs_no_time() -> None:
    noise = LayerSensitivity({f"conv{i}.w": 1.0 for i in range(8)})
    layers = [layer(f"conv{i}") for i in range(8)]

    def best(ample: int, slowdown: Callable[..., float]) -> int:
        gate = _passes_with(2, ample)
        return len(restore_accuracy(layers, lambda: noise, gate, slowdown).best.floats)

    assert best(5, lambda floats, others: 1.0) == 5
    assert best(99, lambda floats, others: 1.0) == 7, "the most accurate, where none is ample"
    assert best(5, lambda floats, others: 2.0) == 2, "a margin at that price is not bought"
    assert best(5, lambda floats, others: 1 + 0.01 * (len(floats) - len(others))) == 5
    assert best(6, lambda floats, others: 1 + 0.01 * (len(floats) - len(others))) == 5


@given(st.integers(2, 60), st.data())
def test_no_margin_costs_more_than_three_percent(count: int, data: st.DataObject) -> None:
    layers = [layer(f"conv{i}") for i in range(count)]
    noise = LayerSensitivity({f"conv{i}.w": 1.0 / (i + 1) for i in range(count)})
    passing = data.draw(st.integers(0, count - 1))
    ample = data.draw(st.integers(passing, count + 3))
    price = data.draw(st.floats(0, 0.1))

    def slowdown(floats: tuple[str, ...], others: tuple[str, ...]) -> float:
        return (1 + price * len(floats)) / (1 + price * len(others))

    restoration = restore_accuracy(layers, lambda: noise, _passes_with(passing, ample), slowdown)
    best = restoration.best
    assert best.verdict.passed
    assert (1 + price * len(best.floats)) / (1 + price * passing) <= 1.03 + 1e-9
    assert len(restoration.attempts) <= TRIES + MARGIN_TRIES


def test_without_a_clock_a_margin_is_priced_by_operations() -> None:
    """Four small layers come first in the order, then a large one, then four small ones."""
    small = [layer(f"conv{i}") for i in range(8)]
    errors = {f"conv{i}.w": 1.0 if i < 4 else 0.1 for i in range(8)}

    def floats(cost: float) -> tuple[str, ...]:
        layers = [*small, layer("large", cost=cost)]
        noise = LayerSensitivity({**errors, "large.w": 0.15 * cost})
        return restore_accuracy(layers, lambda: noise, _passes_with(1, 6)).best.floats

    assert len(floats(cost=1e6)) == 4, "the large one would make the graph twice as slow"


def test_a_layer_that_saves_most_work_returns_where_nothing_else_passes() -> None:
    noise = LayerSensitivity({"large.w": 1.0, **{f"conv{i}.w": 0.01 for i in range(8)}})
    layers = [*(layer(f"conv{i}") for i in range(8)), layer("large", cost=1e6)]

    def gate(floats: tuple[str, ...]) -> GateResult:
        passed = "large" in floats
        return GateResult(passed=passed, ample=passed, score=0.0 if passed else -1.0, text="")

    best = restore_accuracy(layers, lambda: noise, gate).best
    assert best.verdict.passed
    assert best.floats == ("large",)


def test_a_cosine_is_ample_a_little_above_the_gate(gate: AccuracyGate) -> None:
    def verdict(cosine: float, agreement: float = 1.0) -> tuple[bool, bool]:
        found = gate.verdict([GateMeasurement("onnxruntime", cosine, agreement, agreement, 20.0)])
        return found.passed, found.ample

    assert verdict(0.989) == (False, False)
    assert verdict(0.992) == (True, False)
    assert verdict(0.995) == (True, True)
    assert verdict(0.995, 0.992) == (True, False)
    assert verdict(0.995, 0.995) == (True, True)


def test_decisions_that_hang_by_little_are_foreseen_to_change(
    gate: AccuracyGate, network: Build, pictures: Pixels, run: Run
) -> None:
    """All stay, and half of what keeps the first one from changing is gone."""
    logits = run(network(), pictures[32:])
    gaps = logits.max(1, keepdims=True) - logits
    margins = np.where(gaps == 0, np.inf, gaps).min(0)
    rising = int(np.argmax(np.where(np.isinf(margins), 0, margins)))

    def measured(share: float) -> GateMeasurement:
        graph = network()
        (bias,) = (one for one in graph.graph.initializer if one.name == "head.b")
        values = numpy_helper.to_array(bias).copy()
        values[rising] += share * margins[rising]
        bias.CopyFrom(numpy_helper.from_array(values, "head.b"))
        (one,) = gate.measure(graph)
        return one

    far, near = measured(0.2), measured(0.5)
    assert far.agreement == far.foreseen == near.agreement == 1.0
    changed = round(len(logits) * 4 * (1 - near.foreseen))
    shifted = logits.copy()
    shifted[:, rising] += 2 * margins[rising]
    assert changed == (shifted.argmax(1) != logits.argmax(1)).sum() > 0
    verdict = gate.verdict([near])
    assert not verdict.passed
    assert f"of other pictures {percent_text(near.foreseen, 1)} are expected to be" in verdict.text


def test_a_graph_that_fails_by_far_is_not_run_on_every_picture(
    gate: AccuracyGate, network: Build
) -> None:
    """One that is right is compared on all of them, as without a limit."""

    class Counted(NullProgress):
        def __init__(self) -> None:
            self.most = 0

        def update(self, done: int, total: int) -> None:
            self.most = max(self.most, done)

    def measured(graph: onnx.ModelProto, first: int) -> tuple[int, GateMeasurement]:
        progress = Counted()
        (one,) = replace(gate, progress=progress).measure(graph, ["onnxruntime"], first)
        return progress.most, one

    wrong = network()
    (head,) = (one for one in wrong.graph.initializer if one.name == "head.w")
    head.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(head), "head.w"))
    assert measured(wrong, 6)[0] < len(gate.pixels) == measured(wrong, 0)[0]
    assert not gate.verdict([measured(wrong, 6)[1]]).passed
    right = network()
    assert measured(right, 6) == measured(right, 0) == (len(gate.pixels), measured(right, 0)[1])
    assert gate.verdict([measured(right, 6)[1]]).ample


def test_a_quantizer_that_rounds_alike_for_two_targets_is_measured_once(
    network: Build, gate: AccuracyGate, work: Path
) -> None:
    """The reduced range has weights of its own; activations are rounded as in the full range."""
    model = network()
    ranges = calibrate(model, _tensors(model)[1:], gate.pixels, NullProgress()).ranges("minmax")
    rounded: list[str] = []
    errors = {}
    for target in ("cpu", "cpu-rr"):
        quantizers = read_quantizers(insert_qdq(model, SCHEMES[target], ranges))

        class Listening(FakeQuantModel):
            def run(self, pixels: Pixels, names: Sequence[str] = (), **options: Any) -> Any:
                rounded.extend(names)
                return super().run(pixels, names, **options)

        errors[target] = measure_sensitivity(
            Listening(model, quantizers),
            quantizers,
            gate.pixels,
            gate.compare,
            folder=work,
            key=("k",),
            progress=NullProgress(),
        ).errors
        if target == "cpu":
            assert {*rounded} == {*quantizers.activations, *quantizers.weights}
            rounded.clear()
    assert {*rounded} <= {*quantizers.weights}
    assert errors["cpu"].keys() == errors["cpu-rr"].keys()


def test_sensitivity_is_not_measured_where_the_gate_holds_at_once() -> None:
    def never() -> LayerSensitivity:
        raise AssertionError("measured for nothing")

    restoration = restore_accuracy(chain(3), never, lambda _: GateResult(True, True, 1.0, ""))
    assert restoration.best.floats == ()
    assert len(restoration.attempts) == 1


def test_equalizing_computes_the_same_and_loses_less(
    network: Build, pictures: Pixels, run: Run
) -> None:
    model = network(outlier=12.0)
    other = equalize_cross_layer(model, pictures)
    assert other is not model
    assert snr_db(run(model, pictures), run(other, pictures)) > 90


def test_equalizing_leaves_an_even_network_alone(network: Build, pictures: Pixels) -> None:
    model = network()
    one = next(n for n in model.graph.node if n.name == "depth")
    one.op_type = "MaxPool"
    del one.input[1:], one.attribute[:]
    assert equalize_cross_layer(model, pictures) is model, (
        "no convolution is read by convolutions alone"
    )


@pytest.mark.parametrize("method", [None, "minmax"])
def test_quantize_emits_what_passed(
    network: Build, pictures: Pixels, gate: AccuracyGate, work: Path, run: Run, method: Any
) -> None:
    before = network().SerializeToString()
    model = network()
    quantized = quantize(
        model,
        pictures[:32],
        gate,
        targets=("cpu", "cpu-rr", "trt"),
        method=method,
        folder=work,
        progress=NullProgress(),
    )
    assert model.SerializeToString() == before
    results = quantized.results
    assert [result.target for result in results] == ["cpu", "cpu-rr", "trt"]
    for result in results:
        assert result.passed, result.best.verdict
        graph = quantized.graphs[result.target]
        assert snr_db(run(model, pictures[32:]), run(graph, pictures[32:])) > 15
        assert set(result.methods) == (
            {method} if method else {"minmax", "percentile", "entropy", "mse"}
        )
        assert result.method == order_methods(result.methods)[0], "it passed amply at once"
        assert {layer.name for layer in result.layers} >= {"first", "depth", "second", "third"}
        assert sum(layer.cost for layer in result.layers) == pytest.approx(1)


def test_openvinos_form_is_made_where_it_is_another(
    network: Build, pictures: Pixels, gate: AccuracyGate, work: Path
) -> None:
    asked: dict[str, Any] = {"method": "minmax", "folder": work, "progress": NullProgress()}
    both = quantize(network(), pictures[:32], gate, targets=("cpu", "openvino"), **asked)
    assert [result.target for result in both.results] == ["cpu"], "every activation is a ReLU"
    alone = quantize(network(), pictures[:32], gate, targets=("openvino",), **asked)
    assert [result.target for result in alone.results] == ["openvino"]
    model = network(silu=True)
    both = quantize(model, pictures[:32], gate, targets=("cpu", "openvino"), **asked)
    assert [result.target for result in both.results] == ["cpu", "openvino"]


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=4))
def test_methods_are_tried_by_the_error_they_add(errors: list[float]) -> None:
    found = order_methods(dict(zip(METHODS, errors, strict=False)))
    added = dict(zip(METHODS, errors, strict=False))
    assert added[found[0]] <= 1.02 * min(errors)
    assert all(added[name] <= 2 * min(errors) for name in found)
    rest = [name for name in found if added[name] > 1.02 * min(errors)]
    assert found[len(found) - len(rest) :] == sorted(rest, key=added.__getitem__)


def test_the_gate_chooses_between_methods_that_are_close(
    network: Build, classifier: ModelSpec, pictures: Pixels, work: Path
) -> None:
    """The least error on few pictures is not the best verdict on all of them."""

    class Partial(AccuracyGate):
        """Lets one method's graph through."""

        seen: ClassVar[list[Sequence[GateMeasurement]]] = []

        def verdict(self, measured: Sequence[GateMeasurement]) -> GateResult:
            if measured not in self.seen:
                self.seen.append(measured)
            good = self.seen.index(measured) == 1
            return GateResult(good, good, 1.0 if good else -1.0, "as it is told")

    gate = Partial(**vars(make_gate(classifier, network(), pictures[32:], ["onnxruntime"])))
    (result,) = quantize(
        network(), pictures[:32], gate, folder=work, progress=NullProgress()
    ).results
    second = order_methods(result.methods)[1]
    assert result.passed
    assert result.method == second
    assert set(result.all_int8) == set(order_methods(result.methods))
    assert not result.best.floats


def test_a_sensitive_layer_returns_to_float_and_an_interrupted_search_goes_on(
    network: Build,
    classifier: ModelSpec,
    pictures: Pixels,
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = network(outlier=20.0)
    strict = make_gate(classifier, model, pictures[32:], ["onnxruntime"])
    measured: list[int] = []
    original = AccuracyGate.measure

    def counted(self: AccuracyGate, *args: Any) -> object:
        measured.append(1)
        if len(measured) == 3:
            raise KeyboardInterrupt
        return original(self, *args)

    monkeypatch.setattr(AccuracyGate, "measure", counted)
    monkeypatch.setattr("edgecnn_export.quantization.accuracy_gate.GATE", _gate(0.9995))
    with pytest.raises(KeyboardInterrupt):
        quantize(model, pictures[:32], strict, folder=work, progress=NullProgress())
    quantized = quantize(model, pictures[:32], strict, folder=work, progress=NullProgress())
    (result,) = quantized.results
    assert result.passed
    assert result.best.floats
    assert any(layer.noise for layer in result.layers)
    assert not result.attempts[0].verdict.passed
    assert {layer.name for layer in result.layers if layer.in_float} == set(result.best.floats)


def test_what_is_emitted_was_measured_now_whatever_is_remembered(
    network: Build,
    gate: AccuracyGate,
    pictures: Pixels,
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: dict[str, Any] = {"method": "minmax", "folder": work, "progress": NullProgress()}
    model = network()
    (passed,) = quantize(model, pictures[:32], gate, targets=("cpu",), **asked).results
    assert passed.passed
    measured = AccuracyGate.measure

    def worse(self: AccuracyGate, *args: Any) -> Any:
        return tuple(msgspec.structs.replace(one, cosine=0.5) for one in measured(self, *args))

    monkeypatch.setattr(AccuracyGate, "measure", worse)
    again = quantize(model, pictures[:32], gate, targets=("cpu",), **asked)
    assert not again.results[0].passed
    assert not again.graphs
    monkeypatch.setattr(
        "edgecnn_export.quantization.accuracy_gate.numerics_key", lambda: ("another processor",)
    )
    (there,) = quantize(model, pictures[:32], gate, targets=("cpu",), **asked).results
    assert not there.attempts[0].verdict.passed, "a verdict is this processor's own"


def test_other_labeled_pictures_under_the_same_names_are_judged_anew(
    network: Build, classifier: ModelSpec, pictures: Pixels, work: Path, tmp_path: Path, run: Run
) -> None:
    model = network()
    answers = run(model, pictures[32:]).argmax(1)
    names = [tmp_path / f"{index}.png" for index in range(len(answers))]
    labeled = tuple(
        LabeledImage(name, label=classifier.labels[answer])
        for name, answer in zip(names, answers, strict=True)
    )

    def verdict(shown: Pixels) -> str:
        for name, picture in zip(names, shown, strict=True):
            cv2.imwrite(str(name), picture)
        gate = make_gate(
            classifier,
            model,
            pictures[32:],
            ["onnxruntime"],
            evaluation=LabeledSet(SourceLocation(Path("set")), labeled),
            max_drop=100.0,
        )
        (result,) = quantize(
            model, pictures[:32], gate, method="minmax", folder=work, progress=NullProgress()
        ).results
        return result.best.verdict.text

    first = verdict(pictures[32:])
    assert "instead of 100.00 %" in first
    assert "16 pictures leave it open between" in first
    assert "instead of 100.00 %" not in verdict(255 - pictures[32:])


def test_labels_that_prove_little_leave_the_other_gate_standing(
    network: Build, classifier: ModelSpec, pictures: Pixels, tmp_path: Path
) -> None:
    """A float model that is wrong anyway loses nothing, whatever becomes of it."""
    samples = []
    for index, picture in enumerate(pictures[32:]):
        file = tmp_path / f"{index}.png"
        cv2.imwrite(str(file), picture)
        samples.append(LabeledImage(file, label="never"))
    wrong = LabeledSet(SourceLocation(Path("wrong")), tuple(samples))
    labels = msgspec.structs.replace(classifier, labels=(*classifier.labels[:-1], "never"))

    def verdict(max_drop: float, agreement: float) -> GateResult:
        gate = make_gate(
            labels, network(), pictures[32:], ["onnxruntime"], evaluation=wrong, max_drop=max_drop
        )
        assert gate.reference is not None
        assert gate.reference.value < 0.2
        assert "labeled 'never'" in gate.example
        measured = GateMeasurement("onnxruntime", 0.5, agreement, agreement, 3.0, gate.reference)
        return gate.verdict([measured])

    assert not verdict(0.5, 0.5).passed
    assert "50.0% of results equal" in verdict(0.5, 0.5).text
    assert verdict(100.0, 0.5).passed, "the gate was set aside"


def test_a_model_without_anything_to_quantize_is_told_so(
    network: Build, classifier: ModelSpec, pictures: Pixels, work: Path
) -> None:
    model = network()
    graph = model.graph
    kept = [node for node in graph.node if node.name in {"cast", "planes", "center"}]
    nodes = [
        onnx.helper.make_node("GlobalAveragePool", ["centered"], ["mean"], "mean"),
        onnx.helper.make_node("Flatten", ["mean"], ["flat"], "flat"),
        onnx.helper.make_node("Concat", ["flat", "flat"], ["logits"], "twice", axis=1),
    ]
    del graph.node[:]
    graph.node.extend([*kept, *nodes])
    gate = make_gate(classifier, model, pictures[32:], ["onnxruntime"])
    with pytest.raises(UnsupportedModelError, match="nothing in this model can be quantized"):
        quantize(model, pictures[:32], gate, targets=("trt",), folder=work, progress=NullProgress())


def test_a_gate_that_cannot_be_met_emits_nothing_and_says_how_far_off(
    network: Build,
    gate: AccuracyGate,
    pictures: Pixels,
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgecnn_export.quantization.accuracy_gate.GATE", _gate(1.1))
    quantized = quantize(network(), pictures[:32], gate, folder=work, progress=NullProgress())
    (result,) = quantized.results
    assert not result.passed
    assert not quantized.graphs
    assert "centered cosine" in result.best.verdict.text
    assert result.best.verdict.score < 0
    assert result.layers


def _gate(cosine: float) -> object:
    from edgecnn_export.verification.gate import Gate

    return Gate(cosine=cosine, agreement=0.0)


def _tensors(model: onnx.ModelProto) -> list[str]:
    return [name for node in model.graph.node for name in node.output]
