"""What a graph in half precision is made of, and that TensorRT's builder takes it."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from edgecnn_export.half_precision.convert import to_half
from edgecnn_export.half_precision.rounding import with_explicit_rounding
from edgecnn_export.verification.synthetic import synthetic_pictures
from edgecnn_runtime.backends.nvidia.tensorrt_build import build_engine, make_logger
from edgecnn_runtime.backends.ort_session import open_session

Build = Callable[..., onnx.ModelProto]
Node = tuple[str, list[str], list[str]]
CAPABILITIES = ("SM80", "SM89", "SM120")
OPERATORS: dict[str, tuple[list[Node], dict[str, object]]] = {
    "Relu": ([("Relu", ["first"], ["middle"])], {}),
    "Softmax": ([("Softmax", ["first"], ["middle"])], {}),
    "LayerNormalization": (
        [("LayerNormalization", ["first", "scale"], ["middle"])], {"scale": np.ones(24, np.float32)}
    ),
    "ReduceMean": (
        [("ReduceMean", ["first", "axes"], ["m"]), ("Sub", ["first", "m"], ["middle"])],
        {"axes": np.array([2, 3])},
    ),
    "Resize": (
        [("Resize", ["first", "", "scales"], ["middle"])],
        {"scales": np.float32([1, 1, 2, 2])},
    ),
    "TopK": ([("TopK", ["first", "k"], ["middle", "places"])], {"k": np.array([4])}),
    "CumSum": ([("CumSum", ["first", "axis"], ["middle"])], {"axis": np.array(3)}),
    "Clip": (
        [("Clip", ["first", "low", "high"], ["middle"])],
        {"low": np.float32(0), "high": np.float32(3e38)},
    ),
    "ReduceL2": (
        [("ReduceL2", ["first", "axis"], ["norm"]), ("Div", ["first", "norm"], ["middle"])],
        {"axis": np.array([1])},
    ),
    "ConvTranspose": (
        [("ConvTranspose", ["first", "kernel"], ["middle"])],
        {"kernel": np.full((8, 8, 2, 2), 0.1, np.float32)},
    ),
    "InstanceNormalization": (
        [("InstanceNormalization", ["first", "one", "zero"], ["middle"])],
        {"one": np.ones(8, np.float32), "zero": np.zeros(8, np.float32)},
    ),
    "ScatterND": (
        [("ScatterND", ["first", "place", "value"], ["middle"])],
        {"place": np.array([[0, 0, 0, 0]]), "value": np.zeros(1, np.float32)},
    ),
    "Pow": ([("Pow", ["first", "two"], ["middle"])], {"two": np.float32(2)}),
    "Where": (
        [("Greater", ["first", "two"], ["g"]), ("Where", ["g", "first", "two"], ["middle"])],
        {"two": np.float32(2)},
    ),
}  # fmt: skip


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    """The type of every tensor by name."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in inferred.initializer}


def test_weights_and_activations_are_half_and_what_goes_in_and_out_is_not(network: Build) -> None:
    model = network()
    half = to_half(model, {"cast", "center", "mean"})
    onnx.checker.check_model(half, full_check=True)
    assert (half.ir_version, half.opset_import[0].version) == (10, 20)
    assert half.graph.input == model.graph.input
    assert half.graph.output == model.graph.output
    types = kinds(half)
    for name in ("first", "last"):
        assert {types[tensor] for tensor in node(half, name).input} == {TensorProto.FLOAT16}
        assert types[node(half, name).output[0]] == TensorProto.FLOAT16
    for name in ("center", "mean"):
        assert types[node(half, name).output[0]] == TensorProto.FLOAT
    assert types["pixels.mean"] == TensorProto.FLOAT


def test_a_tensor_that_several_layers_read_is_cast_once(network: Build) -> None:
    middle = [
        ("Relu", ["first"], ["a"]),
        ("Sigmoid", ["first"], ["b"]),
        ("Mul", ["a", "b"], ["middle"]),
    ]
    half = to_half(network(middle), {"cast", "center", "a", "b"})
    casts = [n for n in half.graph.node if n.op_type == "Cast" and n.input[0] == "first"]
    assert len(casts) == 1


@pytest.mark.parametrize("operator", OPERATORS)
def test_tensorrt_takes_every_operator_in_half_precision(
    network: Build, operator: str, tmp_path: Path
) -> None:
    rtx: ModuleType = pytest.importorskip("tensorrt_rtx", reason="pip install -e '.[dev]'")
    middle, constants = OPERATORS[operator]
    half = to_half(network(middle, **constants), {"cast", "center"})
    onnx.checker.check_model(half, full_check=True)
    onnx.save(half, tmp_path / "half.onnx")
    for capability in CAPABILITIES:
        path = tmp_path / "half.onnx"
        assert build_engine(rtx, path, batch=1, precision="f32", capability=capability)
        assert not make_logger(rtx).complaints


def test_the_form_with_explicit_rounding_computes_what_the_reference_evaluator_does(
    network: Build,
) -> None:
    """ONNX Runtime given the half precision graph itself leaves most roundings out."""
    middle = [("Add", ["first", "far"], ["a"]), ("Sub", ["a", "far"], ["middle"])]
    half = to_half(network(middle, far=np.float32(2048)), {"cast", "center"})
    pixels = synthetic_pictures(2, 24, 24)
    expected = np.asarray(ReferenceEvaluator(half).run(None, {"pixels": pixels})[0])
    outputs = {
        name: open_session(model.SerializeToString()).run(None, {"pixels": pixels})[0]
        for name, model in (("rounded", with_explicit_rounding(half)), ("plain", half))
    }
    assert outputs["rounded"] == pytest.approx(expected, rel=2e-3, abs=2e-3)
    assert not np.allclose(outputs["plain"], expected, rtol=1e-2, atol=1e-2)


def test_a_result_that_other_layers_read_too_is_float_outside_and_half_inside(
    network: Build,
) -> None:
    model = network([("Relu", ["first"], ["middle"])])
    middle = helper.make_tensor_value_info("middle", TensorProto.FLOAT, ["N", 8, 24, 24])
    model.graph.output.append(middle)
    half = to_half(model, {"cast", "center"})
    onnx.checker.check_model(half, full_check=True)
    assert [output.name for output in half.graph.output] == ["logits", "middle"]
    assert kinds(half)[node(half, "last").input[0]] == TensorProto.FLOAT16
    pixels = synthetic_pictures(2, 24, 24)
    outputs = [open_session(m.SerializeToString()).run(["middle"], {"pixels": pixels})[0]
               for m in (model, half)]  # fmt: skip
    assert outputs[1].dtype == np.float32
    assert outputs[1] == pytest.approx(outputs[0], rel=1e-2, abs=1e-2)


def test_what_onnx_does_not_define_in_half_precision_stays_in_float(network: Build) -> None:
    middle = [
        ("Range", ["zero", "many", "one"], ["r"]),
        ("Add", ["first", "r"], ["middle"]),
    ]
    numbers = {"zero": np.float32(0), "one": np.float32(1), "many": np.float32(24)}
    half = to_half(network(middle, **numbers), {"cast", "center"})
    onnx.checker.check_model(half, full_check=True)
    assert kinds(half)["r"] == TensorProto.FLOAT
    assert kinds(half)["middle"] == TensorProto.FLOAT16


def test_both_branches_of_an_if_read_float(network: Build) -> None:
    def branch(operator: str) -> onnx.GraphProto:
        value = helper.make_tensor_value_info(operator, TensorProto.FLOAT, None)
        return helper.make_graph(
            [helper.make_node(operator, ["a"], [operator])], operator, [], [value]
        )

    model = network([("Relu", ["first"], ["a"]), ("Identity", ["a"], ["middle"])])
    choice = helper.make_node(
        "If", ["on"], ["middle"], "choice", then_branch=branch("Neg"), else_branch=branch("Abs")
    )
    place = next(i for i, n in enumerate(model.graph.node) if n.output[0] == "middle")
    model.graph.node[place].CopyFrom(choice)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "on"))
    half = to_half(model, {"cast", "center"})
    onnx.checker.check_model(half, full_check=True)
    pixels = synthetic_pictures(2, 24, 24)
    outputs = [open_session(m.SerializeToString()).run(None, {"pixels": pixels})[0]
               for m in (model, half)]  # fmt: skip
    assert outputs[1] == pytest.approx(outputs[0], rel=1e-2, abs=1e-2)
