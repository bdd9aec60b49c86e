"""Half precision from a float graph: what stays in float32, and that it is enough."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgecnn_export.half_precision.exclusions import CONSTANT, OVERFLOW, PIXELS, RESULTS
from edgecnn_export.half_precision.search import LOSES, HalfGraph, search_half
from edgecnn_export.progress import NullProgress
from edgecnn_export.quantization.accuracy_gate import make_gate
from edgecnn_export.verification.gate import Gate
from edgecnn_export.verification.synthetic import synthetic_pictures
from edgecnn_runtime.bundle.manifest import ModelSpec

Build = Callable[..., onnx.ModelProto]
Search = Callable[..., HalfGraph]
PICTURES = synthetic_pictures(8, 24, 24)


@pytest.fixture
def search(tmp_path: Path, classifier: ModelSpec) -> Search:
    """Search with the gate of half precision, on eight pictures."""

    def run(model: onnx.ModelProto, cosine: float = 0.999) -> HalfGraph:
        gate = make_gate(classifier, model, PICTURES, ["onnxruntime"])
        gate = replace(gate, required=Gate(cosine, 0.0), ample=Gate(max(cosine, 0.9995), 0.0))
        return search_half(model, gate, PICTURES, folder=tmp_path, progress=NullProgress())

    return run


def reasons(graph: HalfGraph) -> dict[str, str]:
    return {layer.name: layer.reason for layer in graph.report.float32}


def test_only_normalization_and_results_stay_in_float(network: Build, search: Search) -> None:
    graph = search(network())
    assert graph.report.passed
    assert graph.report.best.floats == ()
    assert reasons(graph) == {"center": PIXELS, "mean": RESULTS}
    assert graph.report.layers == 5, "the subtraction, two convolutions, Relu and pooling"


def test_what_overflows_stays_in_float_with_whatever_reads_it(
    network: Build, search: Search
) -> None:
    """The square of a few hundred is more than float16 holds; its root is not."""
    middle = [
        ("Mul", ["first", "many"], ["large"]),
        ("Mul", ["large", "large"], ["square"]),
        ("Sqrt", ["square"], ["root"]),
        ("Div", ["root", "many"], ["middle"]),
    ]
    graph = search(network(middle, many=np.float32(200)))
    assert graph.report.passed
    assert {"square": OVERFLOW, "root": OVERFLOW}.items() <= reasons(graph).items()
    assert "middle" not in reasons(graph)


@pytest.mark.parametrize("constant", [1e-12, 1e-9, 1e6])
def test_a_constant_outside_the_range_of_half_precision_stays_in_float(
    network: Build, search: Search, constant: float
) -> None:
    """An epsilon that became 0 would divide by 0 where a channel is dead."""
    middle = [
        ("Relu", ["first"], ["active"]),
        ("Add", ["active", "epsilon"], ["shifted"]),
        ("Div", ["active", "shifted"], ["middle"]),
    ]
    graph = search(network(middle, epsilon=np.float32(constant)))
    assert reasons(graph)["shifted"] == CONSTANT


def test_infinity_may_mask_and_the_largest_float_may_clip(network: Build, search: Search) -> None:
    middle = [
        ("Greater", ["first", "zero"], ["on"]),
        ("Where", ["on", "first", "minus"], ["masked"]),
        ("Clip", ["masked", "zero", "large"], ["middle"]),
    ]
    numbers = {"zero": np.float32(0), "minus": np.float32(-np.inf), "large": np.float32(3.4e38)}
    graph = search(network(middle, **numbers))
    assert graph.report.passed


def test_scalars_and_further_outputs_are_layers_as_any(network: Build, search: Search) -> None:
    middle = [
        ("Exp", ["one"], ["factor"]),
        ("Mul", ["first", "factor"], ["large"]),
        ("TopK", ["large", "count"], ["middle", "places"]),
    ]
    report = search(network(middle, one=np.float32(1), count=np.array([24]))).report
    assert report.passed
    assert report.layers == 7


def test_a_layer_that_loses_too_much_is_found_by_measuring(network: Build, search: Search) -> None:
    """Beside 3000 float16 has no digits left for what is after the point."""
    middle = [
        ("Relu", ["first"], ["active"]),
        ("Add", ["active", "far"], ["shifted"]),
        ("Sub", ["shifted", "far"], ["middle"]),
    ]
    graph = search(network(middle, far=np.float32(3000)))
    assert graph.report.passed
    assert not graph.report.attempts[0].verdict.passed
    assert reasons(graph)["shifted"] == reasons(graph)["middle"] == LOSES
    assert "first" not in reasons(graph)


def test_a_gate_that_no_half_precision_passes_is_not_met(network: Build, search: Search) -> None:
    report = search(network(), cosine=1.5).report
    assert not report.passed
    assert len(report.attempts) > 1, "layers were tried in float32"
