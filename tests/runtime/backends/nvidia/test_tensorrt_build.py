"""ONNX files become engines for real: TensorRT-RTX's builder needs no GPU."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecnn_runtime.backends import Options, open_backend
from edgecnn_runtime.backends.nvidia import driver, tensorrt_engine
from edgecnn_runtime.backends.nvidia.stream import CudaStream
from edgecnn_runtime.backends.nvidia.tensorrt_build import build_engine, make_logger
from edgecnn_runtime.errors import UnsupportedModelError


@pytest.mark.parametrize("capability", ["SM80", "SM89", "SM120"])
def test_a_graph_becomes_an_engine_without_a_gpu(tensorrt_rtx, file, capability):
    plan = build_engine(tensorrt_rtx, file, batch=2, precision="f32", capability=capability)
    assert len(plan) > 1000
    assert not make_logger(tensorrt_rtx).complaints


def unsigned(zero, dtype):
    """Pixels through a quantizer: [N,8,8,3] → the same."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("QuantizeLinear", ["floats", "scale", "zero"], ["bytes"]),
        helper.make_node("DequantizeLinear", ["bytes", "scale", "zero"], ["out"]),
    ]
    shape = ["N", 8, 8, 3]
    graph = helper.make_graph(
        nodes,
        "quantized",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(np.float32(2), "scale"),
            numpy_helper.from_array(np.array(zero, dtype), "zero"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_signed_quantizers_are_taken(tensorrt_rtx, tmp_path):
    onnx.save(unsigned(0, np.int8), tmp_path / "q.onnx")
    assert build_engine(
        tensorrt_rtx, tmp_path / "q.onnx", batch=1, precision="f32", capability="SM89"
    )


@pytest.mark.parametrize("zero", [0, 3])
def test_unsigned_quantizers_are_refused(tensorrt_rtx, tmp_path, zero):
    """With zero-point 0 TensorRT only warns, and reads them as signed ones."""
    onnx.save(unsigned(zero, np.uint8), tmp_path / "q.onnx")
    with pytest.raises(UnsupportedModelError):
        build_engine(tensorrt_rtx, tmp_path / "q.onnx", batch=1, precision="f32", capability="SM89")


def test_a_graph_of_floats_or_another_batch_is_refused(tensorrt_rtx, tmp_path, build):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "floats",
        [value("x", TensorProto.FLOAT, ["N", 8, 8, 3])],
        [value("y", TensorProto.FLOAT, ["N", 8, 8, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "floats.onnx")
    with pytest.raises(UnsupportedModelError, match="not uint8"):
        build_engine(tensorrt_rtx, tmp_path / "floats.onnx", batch=1, precision="f32")
    fixed = build.classifier()
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(fixed, tmp_path / "fixed.onnx")
    with pytest.raises(UnsupportedModelError, match=r"it takes \[1, 24, 32, 3\]"):
        build_engine(tensorrt_rtx, tmp_path / "fixed.onnx", batch=2, precision="f32")


def test_what_tensorrt_does_not_take_is_said_with_its_name_and_reason(
    tensorrt_rtx, tmp_path, monkeypatch, cuda, orin
):
    monkeypatch.setattr(driver, "find_gpu", lambda _library: orin)
    monkeypatch.setattr(tensorrt_engine, "CudaStream", lambda: CudaStream(cuda))
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(UnsupportedModelError, match=r"model\.onnx: TensorRT-RTX .* does not take"):
        open_backend("tensorrt-rtx", tmp_path / "model.onnx", Options())
