"""What each scheme promises an engine, read off the graphs; and that TensorRT takes its own."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgecnn_export.progress import NullProgress
from edgecnn_export.quantization.calibrate import calibrate
from edgecnn_export.quantization.ignored_scope import find_ignored
from edgecnn_export.quantization.insert_qdq import insert_qdq, round_weights
from edgecnn_export.quantization.layers import find_layers, float_nodes, read_quantizers
from edgecnn_export.quantization.schemes import SCHEMES
from edgecnn_export.quantization.uint8_input import (
    InputStem,
    StemPadding,
    attach_uint8_input,
    find_stem,
    strip_stem,
)
from edgecnn_runtime.backends.nvidia.tensorrt_build import build_engine, make_logger
from edgecnn_runtime.bundle.manifest import REDUCED_RANGE, Int8Target
from edgecnn_runtime.device.cpu import cpu_features, saturates
from edgecnn_runtime.errors import UnsupportedModelError
from edgecnn_runtime.parity import snr_db
from edgecnn_runtime.types import Pixels

Build = Callable[..., onnx.ModelProto]
Run = Callable[..., np.ndarray]

LEVELS = {"cpu": 127, "openvino": 127, "cpu-rr": 64}
"""The largest integer a weight is rounded to."""


def quantized(
    model: onnx.ModelProto, target: Int8Target, pixels: Pixels, *floats: str
) -> onnx.ModelProto:
    scheme = SCHEMES[target]
    tensors = list(read_quantizers(insert_qdq(model, scheme)).activations)
    ranges = dict(calibrate(model, tensors, pixels, NullProgress()).ranges("minmax"))
    stem = find_stem(model) if scheme.quantize_outputs else None
    if stem is None or set(stem.convs) & set(floats):
        qdq = insert_qdq(model, scheme, ranges, floats)
    else:
        stripped = strip_stem(model, stem)
        qdq = insert_qdq(stripped, scheme, ranges | {stem.tensor: stem.range}, floats)
        attach_uint8_input(qdq, stem, model.graph.input[0])
    onnx.checker.check_model(qdq, full_check=True)
    return qdq


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}


def nodes(model: onnx.ModelProto, operator: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == operator]


@pytest.mark.parametrize("target", list(SCHEMES))
def test_a_quantized_graph_does_what_the_float_one_does(
    network: Build, pictures: Pixels, run: Run, target: Int8Target
) -> None:
    qdq = quantized(network(), target, pictures[:32])
    assert snr_db(run(network(), pictures[32:]), run(qdq, pictures[32:])) > 20
    assert {entry.domain for entry in qdq.opset_import} <= {"", "ai.onnx"}
    assert qdq.ir_version == 10


@pytest.mark.parametrize("target", list(SCHEMES))
def test_kernels_sum_exactly_what_is_for_this_processor(
    network: Build, pictures: Pixels, run: Run, target: Int8Target
) -> None:
    if target != REDUCED_RANGE and saturates(cpu_features()):
        pytest.skip("is for other processors")
    qdq = quantized(network(), target, pictures[:32])
    assert snr_db(run(qdq, pictures), run(qdq, pictures, kernels=True)) > 40


@pytest.mark.parametrize("target", ["cpu", "openvino", "cpu-rr"])
def test_cpu_activations_are_unsigned_and_weights_signed_per_channel(
    network: Build, pictures: Pixels, target: Int8Target
) -> None:
    qdq = quantized(network(), target, pictures)
    values = constants(qdq)
    for node in nodes(qdq, "QuantizeLinear"):
        assert values[node.input[2]].dtype == np.uint8
    weights = {n.input[0]: n for n in nodes(qdq, "DequantizeLinear") if n.input[0] in values}
    kernels = {name: n for name, n in weights.items() if values[name].dtype == np.int8}
    assert len(kernels) == 5
    for name, node in kernels.items():
        assert values[node.input[1]].shape == (values[name].shape[0],)
        assert not values[node.input[2]].any()
        assert np.abs(values[name].astype(int)).max() <= LEVELS[target]
        assert np.abs(values[name].astype(int)).max() >= LEVELS[target] - 1
    assert not nodes(qdq, "Relu"), "a ReLU is the end of an unsigned range"


@pytest.mark.parametrize("target", ["cpu", "openvino", "cpu-rr"])
def test_the_cameras_bytes_are_dequantized_with_one_scalar(
    network: Build, pictures: Pixels, target: Int8Target
) -> None:
    qdq = quantized(network(), target, pictures)
    assert not nodes(qdq, "Cast")
    assert not nodes(qdq, "Sub")
    reader = next(n for n in qdq.graph.node if n.name == "pixels_are_quantized")
    values = constants(qdq)
    assert reader.op_type == "DequantizeLinear"
    assert values[reader.input[1]] == 1.0
    assert values[reader.input[2]] == 114
    again = next(node for node in qdq.graph.node if reader.output[0] in node.input)
    assert again.op_type == "QuantizeLinear"  # what OpenVINO needs to take the layer as INT8
    assert list(again.input[1:]) == list(reader.input[1:])  # and rounds nothing
    assert qdq.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8


def test_without_a_zero_point_the_quantizer_still_is_one(
    network: Build, pictures: Pixels, run: Run
) -> None:
    """OpenVINO takes pairs of the same numbers away, and with them the layer's INT8."""
    model = network(mean=(0.0, 0.0, 0.0))
    qdq = quantized(model, "cpu", pictures[:32])
    values = constants(qdq)
    (exact,) = (node for node in qdq.graph.node if node.name == "pixels_are_quantized")
    (again,) = (node for node in qdq.graph.node if exact.output[0] in node.input)
    assert values[exact.input[1]] == 1.0
    assert values[exact.input[1]] < values[again.input[1]] < 1.000001
    assert snr_db(run(model, pictures[32:]), run(qdq, pictures[32:])) > 20


def framed(pixels: Pixels, stem: InputStem) -> np.ndarray:
    """float32[N,3,H,W] as ``strip_stem``'s graph takes them."""
    top, left, bottom, right = stem.frame
    around = ((0, 0), (top, bottom), (left, right))
    planes = [
        np.pad(pixels[..., channel], around, constant_values=stem.color[channel])
        for channel in range(3)
    ]
    return np.stack(planes, 1).astype(np.float32) - stem.zero


def test_padding_at_the_border_stays_exact(network: Build, pictures: Pixels, run: Run) -> None:
    """Without the frame the border would be off by the mean's distance from the zero-point."""
    model = network()
    stem = find_stem(model)
    assert stem is not None
    assert stem.frame == (1, 1, 1, 1)
    stripped = strip_stem(model, stem)
    expected = run(model, pictures[:4])
    output = run(stripped, framed(pictures[:4], stem))
    assert snr_db(expected, output) > 45, "only the frame's rounding to bytes remains"
    plain = dataclasses.replace(stem, mean=np.full(3, stem.zero, np.float32))
    assert snr_db(expected, run(stripped, framed(pictures[:4], plain))) < 35


@pytest.mark.parametrize("batch", ["N", 2])
def test_the_frame_is_put_around_every_picture_of_a_batch(
    network: Build, pictures: Pixels, run: Run, batch: str | int
) -> None:
    qdq = quantized(network(batch=batch), "cpu", pictures[:32])
    alone = quantized(network(batch=1), "cpu", pictures[:32])
    each = np.concatenate([run(alone, pictures[at : at + 1]) for at in (0, 1)])
    np.testing.assert_allclose(run(qdq, pictures[:2]), each, rtol=1e-5, atol=1e-5)


@given(
    pads=st.tuples(*[st.integers(0, 3)] * 4),
    mean=st.tuples(*[st.floats(0, 255, width=32)] * 3),
)
def test_any_padding_and_mean_enter_as_bytes(
    network: Build, pictures: Pixels, run: Run, pads: StemPadding, mean: tuple[float, float, float]
) -> None:
    model = network(mean=mean, pads=pads)
    stem = find_stem(model)
    assert stem is not None
    output = run(strip_stem(model, stem), framed(pictures[:4], stem))
    assert snr_db(run(model, pictures[:4]), output) > 30


def test_a_color_that_is_no_byte_keeps_the_float_entry(network: Build) -> None:
    assert find_stem(network(mean=(-40.0, 10.0, 300.0))) is None
    assert find_stem(network(mean=(-40.0, 10.0, 300.0), pads=(0, 0, 0, 0))) is not None


def test_an_unpadded_first_layer_needs_no_frame(network: Build, pictures: Pixels) -> None:
    model = network(pads=(0, 0, 0, 0))
    # the residual needs equal sizes, so the picture's border is cut from nowhere else
    stem = find_stem(model)
    assert stem is not None
    assert not any(stem.frame)
    qdq = quantized(model, "cpu", pictures)
    assert not any(node.op_type == "Concat" for node in qdq.graph.node)


def test_results_are_not_rounded(network: Build, pictures: Pixels) -> None:
    qdq = quantized(network(), "cpu", pictures)
    (output,) = qdq.graph.output
    maker = next(node for node in qdq.graph.node if output.name in node.output)
    assert maker.op_type == "Gemm"
    read = {name for node in qdq.graph.node for name in node.input}
    assert set(constants(qdq)) <= read, "nothing is left over"


def test_layers_given_back_are_float_and_the_rest_is_not(
    network: Build, pictures: Pixels, run: Run
) -> None:
    qdq = quantized(network(), "cpu", pictures, "first", "depth")
    values = constants(qdq)
    assert {"first.w", "depth.w"} <= set(values)
    assert not {"second.w", "third.w", "head.w"} & set(values)
    assert len(nodes(qdq, "Cast")) == 1, "the exact stem comes back with the first layer"
    assert snr_db(run(network(), pictures[32:]), run(qdq, pictures[32:])) > 20


def test_all_float_is_the_float_graph(network: Build, pictures: Pixels, run: Run) -> None:
    model = network()
    scheme = SCHEMES["cpu"]
    everything = find_layers(model, scheme, read_quantizers(insert_qdq(model, scheme)), pictures)
    qdq = quantized(model, "cpu", pictures, *(layer.name for layer in everything))
    assert not nodes(qdq, "QuantizeLinear")
    np.testing.assert_allclose(run(qdq, pictures[:4]), run(model, pictures[:4]), rtol=1e-5)


def test_trt_is_signed_and_symmetric_on_inputs_only(network: Build, pictures: Pixels) -> None:
    qdq = quantized(network(), "trt", pictures)
    values = constants(qdq)
    for node in [*nodes(qdq, "QuantizeLinear"), *nodes(qdq, "DequantizeLinear")]:
        assert values[node.input[2]].dtype == np.int8
        assert not values[node.input[2]].any()
    for node in nodes(qdq, "QuantizeLinear"):
        assert values[node.input[1]].shape == (), "activations are per tensor"
    assert values["first.b"].dtype == np.float32
    assert [node.op_type for node in qdq.graph.node if "pixels" in node.input] == ["Cast"]
    makers = {name: node.op_type for node in qdq.graph.node for name in node.output}
    readers = {
        n.op_type
        for n in qdq.graph.node
        if any(makers.get(i) == "DequantizeLinear" for i in n.input)
    }
    assert readers == {"Conv", "Gemm", "Add"}


def test_what_stays_in_float_is_listed(network: Build) -> None:
    model = network()
    model.graph.node[4].op_type = "HardSwish"
    ignored = {"Add": 1}  # it reads what the HardSwish gives
    operators = float_nodes(model, SCHEMES["cpu"], ["third"])
    assert operators == {"Sub": 1, "HardSwish": 1, "Conv": 1, **ignored}


def test_islands_in_float_are_not_cut_up(pictures: Pixels, run: Run) -> None:
    """A GELU's products, and what is scaled between a MatMul and a Tanh: only their ends count."""
    model = onnx.parser.parse_model(
        """
        <ir_version: 10, opset_import: ["": 20]>
        network (uint8[N,24,24,3] pixels) => (float[N,6] logits)
        <float root = {1.4142135}, float one = {1}, float half = {0.5}, float scale = {0.3}>
        {
            float = Cast<to = 1>(pixels)
            planes = Transpose<perm = [0, 3, 1, 2]>(float)
            first = Conv<strides = [2, 2]>(planes, w1)
            divided = Div(first, root)
            erf = Erf(divided)
            raised = Add(erf, one)
            product = Mul(first, raised)
            gelu = Mul(product, half)
            second = Conv<pads = [1, 1, 1, 1]>(gelu, w2)
            sum = Add(second, first)
            third = Conv(sum, w3)
            mean = GlobalAveragePool(third)
            flat = Flatten(mean)
            scores = MatMul(flat, w4)
            scaled = Mul(scores, scale)
            bent = Tanh(scaled)
            last = MatMul(bent, w5)
            logits = Mul(last, scale)
        }
        """
    )
    random = np.random.default_rng(5)
    shapes = {
        "w1": (8, 3, 3, 3),
        "w2": (8, 8, 3, 3),
        "w3": (8, 8, 1, 1),
        "w4": (8, 8),
        "w5": (8, 6),
    }
    for name, shape in shapes.items():
        values = random.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)
        values *= 0.02 if name == "w1" else 1
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    for node in model.graph.node:
        node.name = node.output[0]
    ignored = find_ignored(model, SCHEMES["cpu"])
    assert ignored.nodes >= {"raised", "product", "gelu", "scaled", "logits"}
    assert not ignored.nodes & {"first", "second", "sum", "third", "mean", "flat", "scores", "last"}
    qdq = insert_qdq(model, SCHEMES["cpu"])
    quantized_tensors = set(read_quantizers(qdq).activations)
    assert quantized_tensors == {
        "planes", "first", "gelu", "second", "sum", "third", "mean", "flat", "bent"
    }  # fmt: skip
    ranges = calibrate(model, list(quantized_tensors), pictures[:32], NullProgress()).ranges(
        "minmax"
    )
    qdq = insert_qdq(model, SCHEMES["cpu"], ranges)
    onnx.checker.check_model(qdq, full_check=True)
    assert snr_db(run(model, pictures[32:]), run(qdq, pictures[32:])) > 20


def test_openvinos_form_leaves_an_activation_with_its_layer(
    network: Build, pictures: Pixels, run: Run
) -> None:
    model = network(silu=True)
    cpu = set(read_quantizers(insert_qdq(model, SCHEMES["cpu"])).activations)
    assert {"c2", "s2", "r2"} <= cpu
    own = set(read_quantizers(insert_qdq(model, SCHEMES["openvino"])).activations)
    shared = {"half", "flat"}
    assert own == cpu - {"c2", "s2"} - shared, "what the next layer reads is rounded once"
    qdq = quantized(model, "openvino", pictures[:32])
    assert snr_db(run(model, pictures[32:]), run(qdq, pictures[32:])) > 20


def test_a_relu_stays_where_nothing_behind_it_is_rounded(
    network: Build, pictures: Pixels, run: Run
) -> None:
    """A quantizer takes a ReLU's place; a tensor that only a float operator reads has none."""
    model = network()
    (mean,) = (node for node in model.graph.node if node.name == "mean")
    mean.op_type = "ReduceMean"  # in no scheme
    mean.input.append("axes")
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
    qdq = quantized(model, "openvino", pictures[:32])
    (relu,) = nodes(qdq, "Relu")
    assert relu.name == "relu4"
    assert snr_db(run(model, pictures[32:]), run(qdq, pictures[32:])) > 20


@pytest.fixture(scope="session")
def rtx() -> ModuleType:
    module: ModuleType = pytest.importorskip("tensorrt_rtx", reason="pip install -e '.[dev]'")
    return module


def test_tensorrt_takes_the_trt_form_without_a_complaint(
    rtx: ModuleType, network: Build, pictures: Pixels, tmp_path: Path
) -> None:
    onnx.save(quantized(network(), "trt", pictures), tmp_path / "trt.onnx")
    assert build_engine(rtx, tmp_path / "trt.onnx", batch=1, precision="f32", capability="SM89")
    assert not make_logger(rtx).complaints


def test_tensorrt_would_misread_the_cpu_form(
    rtx: ModuleType, network: Build, pictures: Pixels, tmp_path: Path
) -> None:
    """Unsigned zero-points are read as signed ones with no more than a warning: it must count."""
    onnx.save(quantized(network(), "cpu", pictures), tmp_path / "cpu.onnx")
    with pytest.raises(UnsupportedModelError):
        build_engine(rtx, tmp_path / "cpu.onnx", batch=1, precision="f32", capability="SM89")


@pytest.mark.parametrize(("beta", "shared"), [(1.0, ()), (0.5, ()), (1.0, ("depth", "second"))])
@pytest.mark.parametrize("target", SCHEMES)
def test_weights_that_were_rounded_before_give_the_same_graph(
    network: Build, pictures: Pixels, target: Int8Target, beta: float, shared: tuple[str, ...]
) -> None:
    """Rounding them again, channel by channel, would take most of a search's time.

    Layers may share a bias: equal constants of a graph are one.
    """
    model, scheme = network(silu=True), SCHEMES[target]
    model.graph.node[-1].attribute.append(helper.make_attribute("beta", beta))
    for node in model.graph.node:
        if node.name in shared:
            node.input.append("first.b")
    tensors = list(read_quantizers(insert_qdq(model, scheme)).activations)
    ranges = calibrate(model, tensors, pictures[:32], NullProgress()).ranges("minmax")
    weights = round_weights(model, scheme)
    layers = [node.name for node in model.graph.node if node.op_type in {"Conv", "Gemm", "Add"}]
    random = np.random.default_rng(3)
    for _ in range(12):
        floats = [name for name in layers if random.random() < 0.4]
        fresh = insert_qdq(model, scheme, ranges, floats)
        assert insert_qdq(model, scheme, ranges, floats, weights=weights) == fresh


@pytest.mark.parametrize("target", SCHEMES)
def test_a_bias_that_another_operation_reads_is_rounded_for_its_layer_alone(
    target: Int8Target,
) -> None:
    """Of a ConvNeXt the first convolution and the normalization after it have equal biases."""
    random = np.random.default_rng(1)
    weight = random.normal(size=(4, 4, 3, 3)).astype(np.float32)
    bias = random.normal(size=4).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv", pads=[1, 1, 1, 1]),
            helper.make_node("LayerNormalization", ["y", "s", "b"], ["z"], "norm"),
        ],
        "shared",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 8, 4])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 4, 8, 4])],
        [
            numpy_helper.from_array(weight, "w"),
            numpy_helper.from_array(bias, "b"),
            numpy_helper.from_array(np.ones(4, np.float32), "s"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    scheme = SCHEMES[target]
    ranges = dict.fromkeys(("x", "y", "z"), (-4.0, 4.0))
    fresh = insert_qdq(model, scheme, ranges)
    assert insert_qdq(model, scheme, ranges, weights=round_weights(model, scheme)) == fresh
    assert next(n for n in fresh.graph.node if n.name == "norm").input[2] == "b"
