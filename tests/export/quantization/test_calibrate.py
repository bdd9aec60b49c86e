"""Calibration: exact ranges, any batch, bounded memory, and layers named when they are broken."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgecnn_export.progress import NullProgress
from edgecnn_export.quantization import calibrate as module
from edgecnn_export.quantization.calibrate import ActivationCollector, _count, calibrate
from edgecnn_runtime.errors import UnsupportedModelError
from edgecnn_runtime.types import Pixels

Build = Callable[..., onnx.ModelProto]
TENSORS = ["centered", "r1", "sum", "logits"]


def activations(model: onnx.ModelProto, pixels: Pixels) -> dict[str, np.ndarray]:
    parts = list(ActivationCollector(model, TENSORS).run(pixels))
    return {name: np.concatenate([part[name] for part in parts]) for name in TENSORS}


def changed(model: onnx.ModelProto, name: str, values: np.ndarray) -> onnx.ModelProto:
    target = next(i for i in model.graph.initializer if i.name == name)
    target.CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
    return model


def test_ranges_and_counts_are_those_of_all_pictures(network: Build, pictures: Pixels) -> None:
    calibration = calibrate(network(), TENSORS, pictures, NullProgress())
    truth = activations(network(), pictures)
    for name in TENSORS:
        histogram = calibration.histograms[name]
        assert histogram.low == pytest.approx(min(truth[name].min(), 0))
        assert histogram.high == pytest.approx(truth[name].max())
        assert histogram.counts.sum() == truth[name].size
        below = (truth[name] < 0).sum()
        assert abs(histogram.counts[histogram.centers < 0].sum() - below) < 0.03 * truth[name].size


def test_a_fixed_batch_gives_the_same(network: Build, pictures: Pixels) -> None:
    dynamic = calibrate(network(), TENSORS, pictures[:30], NullProgress())
    fixed = calibrate(network(batch=4), TENSORS, pictures[:30], NullProgress())
    for name in TENSORS:
        assert fixed.histograms[name].high == pytest.approx(dynamic.histograms[name].high, rel=1e-5)


def test_never_more_pictures_at_once_than_memory_and_the_limit_allow(
    network: Build, pictures: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [len(part["r1"]) for part in ActivationCollector(network(), TENSORS).run(pictures)]
    assert max(sizes) == module.BATCH
    assert sum(sizes) == len(pictures)
    each = sum(values[:1].nbytes for values in activations(network(), pictures[:1]).values())
    monkeypatch.setattr(module, "MEMORY", 3 * each)
    assert (
        max(len(part["r1"]) for part in ActivationCollector(network(), TENSORS).run(pictures)) == 3
    )


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_a_broken_weight_is_named_with_its_layer(
    network: Build, pictures: Pixels, value: float, word: str
) -> None:
    model = network()
    weights = numpy_helper.to_array(model.graph.initializer[4]).copy()
    weights[0, 0, 0, 0] = value
    changed(model, "second.w", weights)
    with pytest.raises(UnsupportedModelError, match=f"second.w.*'second'.*{word}"):
        calibrate(model, TENSORS, pictures, NullProgress())


def test_a_constant_that_is_no_weight_may_be_infinite(network: Build, pictures: Pixels) -> None:
    model = network()
    (add,) = (node for node in model.graph.node if node.name == "add")
    at = list(model.graph.node).index(add)
    floor = helper.make_node("Max", [add.input[0], "floor"], ["floored"], "keep")
    add.input[0] = "floored"
    model.graph.node.insert(at, floor)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(-np.inf), "floor"))
    assert calibrate(model, [*TENSORS, "floored"], pictures[:4], NullProgress()).histograms[
        "floored"
    ]
    changed(model, "floor", np.array(np.nan))
    with pytest.raises(UnsupportedModelError, match=r"floor.*'keep'.*NaN"):
        calibrate(model, TENSORS, pictures[:4], NullProgress())


def test_activations_that_overflow_are_named_with_their_layer(
    network: Build, pictures: Pixels
) -> None:
    model = changed(network(), "second.w", np.full((8, 8, 1, 1), 1e38))
    with pytest.raises(UnsupportedModelError, match=r"layer 'add'.*infinity"):
        calibrate(model, TENSORS, pictures, NullProgress())


@pytest.mark.filterwarnings("error")
def test_the_smallest_ranges_are_counted_like_others() -> None:
    values = np.linspace(0, 1e-38, 1001, dtype=np.float32)
    counts = _count(values, 0.0, float(values[-1]))
    assert counts.sum() == values.size
    assert counts.max() < 3


def test_a_layer_that_gives_only_zeros_is_noted(network: Build, pictures: Pixels) -> None:
    model = changed(network(), "first.w", np.zeros((8, 3, 3, 3)))
    changed(model, "first.b", np.full(8, -1.0))
    assert "r1" in calibrate(model, TENSORS, pictures, NullProgress()).constant
