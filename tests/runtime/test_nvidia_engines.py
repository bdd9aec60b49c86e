"""Engines on a GPU: built for real without one, and run on a stand-in whose memory is the host's.

TensorRT-RTX's builder needs no GPU. What runs an engine does, so here CUDA is replaced by memory
of this process and the context by a plain ONNX Runtime session: copies, addresses, order, recorded
graphs and releases are then what is tested. That the stand-ins have nothing which the real
libraries lack is tested too.
"""

import ctypes
import gc
import tracemalloc
from enum import IntEnum
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecnn_runtime.backends import Options
from edgecnn_runtime.errors import BackendMissingError, EdgecnnError, UnsupportedModelError
from edgecnn_runtime.nvidia import tensorrt_engine
from edgecnn_runtime.nvidia.built import keep
from edgecnn_runtime.nvidia.driver import Gpu
from edgecnn_runtime.nvidia.session import GpuSession, open_session, read_signature
from edgecnn_runtime.nvidia.stream import Stream
from edgecnn_runtime.nvidia.tensorrt_build import build_engine, listener
from edgecnn_runtime.nvidia.tensorrt_engine import TensorRtEngine, engine_key, open_engine

pytestmark = pytest.mark.filterwarnings("ignore:Duplicate provider")
ORIN = Gpu(name="Orin", capability=(8, 7), uuid="ab" * 16, cuda=(12, 6))


class Error(IntEnum):
    FINE = 0
    MEMORY = 2


class HostCuda:
    """The part of ``cuda.bindings.runtime`` that Stream uses.

    Work waits for its synchronize, as it may on a GPU; eager work does not, for a session on the
    processor, which knows no stream.
    """

    cudaStreamNonBlocking = 1
    cudaHostAllocDefault = 0
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice="up", cudaMemcpyDeviceToHost="down")
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self, eager=False):
        self.eager = eager
        self.blocks, self.host, self.device = {}, set(), set()
        self.queue, self.recording, self.launches, self.live = [], None, 0, 0

    def give(self, work):
        if self.eager:
            work()
        else:
            (self.queue if self.recording is None else self.recording).append(work)

    def take(self, size, place):
        block = ctypes.create_string_buffer(b"\x5a" * size, size)
        address = ctypes.addressof(block)
        self.blocks[address] = block
        place.add(address)
        return Error.FINE, address

    def cudaSetDevice(self, device):
        return (Error.FINE,)

    def cudaStreamCreateWithFlags(self, flags):
        self.live += 1
        return Error.FINE, 7

    def cudaStreamDestroy(self, stream):
        self.live -= 1
        return (Error.FINE,)

    def cudaHostAlloc(self, size, flags):
        return self.take(size, self.host)

    def cudaMalloc(self, size):
        return (Error.MEMORY, None) if size > 1 << 26 else self.take(size, self.device)

    def cudaFreeHost(self, address):
        self.host.remove(address)
        del self.blocks[address]
        return (Error.FINE,)

    def cudaFree(self, address):
        self.device.remove(address)
        del self.blocks[address]
        return (Error.FINE,)

    def cudaMemcpyAsync(self, to, start, size, kind, stream):
        places = (self.device, self.host) if kind == "up" else (self.host, self.device)
        assert to in places[0], "the wrong side of the bus"
        assert start in places[1], "the wrong side of the bus"
        self.give(lambda: ctypes.memmove(to, start, size))
        return (Error.FINE,)

    def cudaStreamBeginCapture(self, stream, mode):
        self.recording = []
        return (Error.FINE,)

    def cudaStreamEndCapture(self, stream):
        recorded, self.recording = self.recording, None
        return Error.FINE, recorded

    def cudaGraphInstantiate(self, graph, flags):
        self.live += 1
        return Error.FINE, tuple(graph)

    def cudaGraphDestroy(self, graph):
        return (Error.FINE,)

    def cudaGraphExecDestroy(self, graph):
        self.live -= 1
        return (Error.FINE,)

    def cudaGraphLaunch(self, graph, stream):
        self.launches += 1
        self.queue.extend(graph)
        return (Error.FINE,)

    def cudaStreamSynchronize(self, stream):
        assert self.recording is None, "waiting while a graph is recorded"
        for work in self.queue:
            work()
        self.queue.clear()
        return (Error.FINE,)

    def cudaGetErrorString(self, error):
        return Error.FINE, b"out of memory"


class HostContext:
    """``IExecutionContext``, computed by ONNX Runtime on the processor."""

    def __init__(self, engine):
        self.engine, self.addresses = engine, {}

    def set_input_shape(self, name, shape):
        self.shape = shape
        return shape[0] <= 8

    def get_tensor_shape(self, name):
        shape = self.engine.tensors[name].shape
        return (self.shape[0], *shape[1:])

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return address in self.engine.cuda.device

    def execute_async_v3(self, stream_handle):
        self.engine.cuda.give(self.compute)
        return True

    def compute(self):
        pixels, scores = self.array("pixels", np.uint8), self.array("scores", np.float32)
        scores[...] = self.engine.session.run(None, {"pixels": pixels})[0]

    def array(self, name, dtype):
        shape = self.get_tensor_shape(name)
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        block = (ctypes.c_ubyte * size).from_address(self.addresses[name])
        return np.frombuffer(block, dtype).reshape(shape)


class HostEngine:
    """``ICudaEngine``; its plan is the ONNX file."""

    def __init__(self, cuda, plan):
        self.cuda = cuda
        self.session = onnxruntime.InferenceSession(plan, providers=["CPUExecutionProvider"])
        given, found = self.session.get_inputs(), self.session.get_outputs()
        self.inputs = {each.name for each in given}
        self.tensors = {each.name: each for each in [*found, *given]}
        self.num_io_tensors = len(self.tensors)
        self.config = None

    def get_tensor_name(self, index):
        return list(self.tensors)[index]

    def get_tensor_mode(self, name):
        return "input" if name in self.inputs else "output"

    def get_tensor_shape(self, name):
        return (-1, *self.tensors[name].shape[1:])

    def get_tensor_dtype(self, name):
        return self.tensors[name].type

    def create_execution_context(self, config=None):
        self.config = config
        return HostContext(self)

    def create_runtime_config(self):
        return HostConfig()


class HostCache:
    def __init__(self):
        self.content = b""

    def serialize(self):
        return self.content + b"+kernels"

    def deserialize(self, blob):
        self.content = bytes(blob)
        return True


class HostConfig:
    cuda_graph_strategy = dynamic_shapes_kernel_specialization_strategy = None

    def create_runtime_cache(self):
        return HostCache()

    def set_runtime_cache(self, cache):
        self.cache = cache
        return True


class HostTensorRt:
    """The part of ``tensorrt`` that runs an engine."""

    __version__ = "11.4.0"
    TensorIOMode = SimpleNamespace(INPUT="input", OUTPUT="output")

    class ILogger:
        WARNING = 2

    def __init__(self, cuda):
        self.cuda = cuda

    def __hash__(self):
        return 1

    def nptype(self, dtype):
        return {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}[dtype]

    def Runtime(self, logger):
        def deserialize(plan):
            self.engine = HostEngine(self.cuda, plan) if plan.startswith(b"\x08") else None
            return self.engine

        return SimpleNamespace(deserialize_cuda_engine=deserialize)


class HostTensorRtRtx(HostTensorRt):
    """The same with what TensorRT-RTX adds."""

    CudaGraphStrategy = SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole")
    DynamicShapesKernelSpecializationStrategy = SimpleNamespace(EAGER="eager")


@pytest.fixture
def cuda():
    return HostCuda()


@pytest.fixture(params=[HostTensorRt, HostTensorRtRtx])
def trt(request, cuda):
    return request.param(cuda)


@pytest.fixture
def file(build, tmp_path):
    path = tmp_path / "model.fp32.onnx"
    onnx.save(build.classifier(), path)
    return path


@pytest.fixture
def tensorrt_rtx():
    return pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx-cu13")


# --- running ----------------------------------------------------------------------------------


@pytest.fixture(params=["TensorRT", "TensorRT-RTX", "ONNX Runtime"])
def opened(request, cuda, file):
    """Each of them, at batch 2."""
    if request.param == "ONNX Runtime":
        cuda.eager = True
        asked = [("CPUExecutionProvider", {})]
        return GpuSession(
            onnxruntime, file, Options(batch=2), lambda _stream, _graph: asked, Stream(cuda),
            graph=True, install="", device="cpu",
        )  # fmt: skip
    trt = (HostTensorRt if request.param == "TensorRT" else HostTensorRtRtx)(cuda)
    return TensorRtEngine(trt, file.read_bytes(), b"", 2, Stream(cuda))


def test_outputs_equal_a_plain_session(opened, build):
    rng = np.random.default_rng(1)
    assert opened.pixels.shape == (2, 24, 32, 3)
    for _ in range(3):
        pixels = rng.integers(0, 256, opened.pixels.shape).astype(np.uint8)
        opened.pixels[:] = pixels
        expected = build.run_onnx(build.classifier(), pixels)["scores"]
        assert opened.run()["scores"] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_buffers_stay_the_same_objects(opened):
    pixels, outputs, scores = opened.pixels, opened.outputs, opened.outputs["scores"]
    first = scores.copy()
    opened.pixels[:] = 255
    again = opened.run()
    assert again is outputs
    assert again["scores"] is scores
    assert opened.pixels is pixels
    assert not np.array_equal(first, scores)


def test_a_run_allocates_no_picture(cuda, build, tmp_path):
    onnx.save(build.classifier(width=640, height=384), tmp_path / "big.onnx")
    plan = (tmp_path / "big.onnx").read_bytes()
    backend = TensorRtEngine(HostTensorRt(cuda), plan, b"", 1, Stream(cuda))
    tracemalloc.start()
    backend.run()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000


def test_closing_releases_the_gpu_and_arrays_outlive_it(opened, cuda):
    scores = opened.outputs["scores"]
    opened.close()
    opened.close()
    assert not cuda.device
    assert not cuda.live
    assert np.isfinite(scores).all(), "host memory lives as long as an array shows it"
    with pytest.raises(EdgecnnError, match="closed"):
        opened.run()
    del scores, opened
    gc.collect()


def test_host_memory_goes_with_the_last_array(cuda):
    stream = Stream(cuda)
    view = stream.twin((2, 3), np.float32).array[1]
    assert view.tolist() == [0, 0, 0]
    assert cuda.host
    del view
    assert not cuda.host


def test_tensorrt_replays_one_graph_and_rtx_records_its_own(cuda, file):
    engine = TensorRtEngine(HostTensorRt(cuda), file.read_bytes(), b"", 1, Stream(cuda))
    before = cuda.launches
    engine.run()
    assert cuda.launches == before + 1
    rtx = HostTensorRtRtx(other := HostCuda())
    TensorRtEngine(rtx, file.read_bytes(), b"", 1, Stream(other)).run()
    assert other.launches == 0
    assert rtx.engine.config.cuda_graph_strategy == "whole"


def test_an_engine_that_cannot_be_recorded_runs_all_the_same(cuda, file, build, monkeypatch):
    monkeypatch.setattr(
        HostContext, "execute_async_v3",
        lambda self, _stream: cuda.recording is None and not cuda.give(self.compute),
    )  # fmt: skip
    engine = TensorRtEngine(HostTensorRt(cuda), file.read_bytes(), b"", 1, Stream(cuda))
    engine.pixels[:] = 77
    expected = build.run_onnx(build.classifier(), engine.pixels)["scores"]
    assert engine.run()["scores"] == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert not cuda.launches


def test_what_the_gpu_refuses_is_an_error_and_leaks_nothing(cuda, build, tmp_path):
    onnx.save(build.classifier(width=4096, height=4096), tmp_path / "huge.onnx")
    plan = (tmp_path / "huge.onnx").read_bytes()
    with pytest.raises(EdgecnnError, match=r"cudaMalloc: out of memory \(CUDA error 2\)"):
        TensorRtEngine(HostTensorRt(cuda), plan, b"", 2, Stream(cuda))
    assert not cuda.device
    assert not cuda.live


def test_a_batch_the_engine_was_not_built_for_is_refused(cuda, file):
    with pytest.raises(EdgecnnError, match=r"does not take \[9, 24, 32, 3\]"):
        TensorRtEngine(HostTensorRt(cuda), file.read_bytes(), b"", 9, Stream(cuda))
    assert not cuda.device


# --- building once ----------------------------------------------------------------------------


@pytest.fixture
def builds(monkeypatch, cuda):
    """Which files were built; a build gives the file itself."""
    found = []

    def build(_trt, path, *, batch, precision, capability=""):
        found.append((path.name, batch, precision))
        return path.read_bytes()

    monkeypatch.setattr(tensorrt_engine, "build_engine", build)
    monkeypatch.setattr(tensorrt_engine, "Stream", lambda: Stream(cuda))
    return found


def test_an_engine_is_built_once_and_said(trt, file, builds, tmp_path, caplog):
    options = Options(cache_dir=tmp_path / "cache")
    for _ in range(2):
        open_engine(trt, "TensorRT", file, options, ORIN).close()
    assert builds == [("model.fp32.onnx", 1, "f32")]
    assert caplog.text.count("for Orin with TensorRT: takes minutes, once; kept in") == 1


def test_compiled_kernels_come_back(cuda, file, builds, tmp_path):
    rtx, options = HostTensorRtRtx(cuda), Options(cache_dir=tmp_path / "cache")
    open_engine(rtx, "TensorRT-RTX", file, options, ORIN).close()
    again = open_engine(rtx, "TensorRT-RTX", file, options, ORIN)
    assert rtx.engine.config.cache.content == b"+kernels"
    again.close()


def test_everything_an_engine_depends_on_builds_another(cuda, file, builds, tmp_path):
    trt, cache = HostTensorRt(cuda), tmp_path / "cache"
    other_gpu = Gpu(name="Orin", capability=(8, 7), uuid="cd" * 16, cuda=(12, 6))
    for options, gpu in (
        (Options(cache_dir=cache), ORIN),
        (Options(cache_dir=cache, batch=2), ORIN),
        (Options(cache_dir=cache, precision="tf32"), ORIN),
        (Options(cache_dir=cache), other_gpu),
    ):
        open_engine(trt, "TensorRT", file, options, gpu).close()
    assert len(builds) == 4
    changed = engine_key(file, Options(), "TensorRT 11", ORIN)
    file.write_bytes(file.read_bytes() + b"\x0a\x00")
    assert engine_key(file, Options(), "TensorRT 11", ORIN) != changed


def test_an_engine_that_does_not_start_is_built_again(cuda, file, builds, tmp_path, caplog):
    trt, options = HostTensorRt(cuda), Options(cache_dir=tmp_path / "cache")
    key = engine_key(file, options, f"TensorRT {trt.__version__}", ORIN)
    keep(tmp_path / "cache", key, {"plan": b"no engine", "kernels": b""})
    open_engine(trt, "TensorRT", file, options, ORIN).close()
    open_engine(trt, "TensorRT", file, options, ORIN).close()
    assert len(builds) == 1
    assert "does not start, and is built again" in caplog.text


def test_nothing_is_kept_without_a_cache(trt, file, builds, tmp_path, caplog):
    for _ in range(2):
        open_engine(trt, "TensorRT", file, Options(), ORIN).close()
    assert len(builds) == 2
    assert "takes minutes, and it is not kept" in caplog.text


def test_missing_bindings_are_missed_before_minutes_are_spent(
    cuda, file, builds, tmp_path, monkeypatch
):
    def missing():
        raise BackendMissingError("GPU memory needs cuda-bindings")

    monkeypatch.setattr(tensorrt_engine, "Stream", missing)
    with pytest.raises(BackendMissingError):
        open_engine(HostTensorRt(cuda), "TensorRT", file, Options(), ORIN)
    assert not builds


# --- ONNX Runtime's sessions ------------------------------------------------------------------


def test_a_signature_has_every_size(file):
    found = read_signature(onnxruntime, file, 3)
    assert found.given == "pixels"
    assert found.shape == (3, 24, 32, 3)
    assert found.outputs == {"scores": ((3, 4), np.float32)}
    assert found.free == {"N": 3}


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_session_that_would_fall_back_to_the_processor_is_refused(file, cuda, monkeypatch):
    """ONNX Runtime only logs it, and goes on with what is left."""

    class Silent(onnxruntime.InferenceSession):
        def get_providers(self):
            return ["CPUExecutionProvider"]

    ort = SimpleNamespace(**{n: getattr(onnxruntime, n) for n in dir(onnxruntime) if n[0] != "_"})
    ort.__file__, ort.InferenceSession = onnxruntime.__file__, Silent
    asked = [("CUDAExecutionProvider", {"device_id": "0"})]
    with pytest.raises(BackendMissingError, match=r"CUDAExecutionProvider cannot be loaded.*fix"):
        GpuSession(
            ort, file, Options(), lambda _stream, _graph: asked, Stream(cuda),
            graph=True, install="the fix",
        )  # fmt: skip
    assert not cuda.live


@pytest.mark.parametrize("content", [b"not a model", b""])
def test_a_file_that_is_no_model_is_named(content, file, monkeypatch, cuda):
    from edgecnn_runtime.nvidia import session

    monkeypatch.setattr(session, "Stream", lambda: Stream(cuda))
    file.write_bytes(content)
    with pytest.raises(UnsupportedModelError, match=r"model\.fp32\.onnx.*does not take it"):
        open_session(onnxruntime, file, Options(), lambda _stream, _graph: [], "the fix")
    assert not cuda.live


# --- building, for real -----------------------------------------------------------------------


@pytest.mark.parametrize("capability", ["SM80", "SM89", "SM120"])
def test_a_graph_becomes_an_engine_without_a_gpu(tensorrt_rtx, file, capability):
    plan = build_engine(tensorrt_rtx, file, batch=2, precision="f32", capability=capability)
    assert len(plan) > 1000
    assert not listener(tensorrt_rtx).complaints


def unsigned(zero, dtype):
    """Pixels through a quantiser: [N,8,8,3] → the same."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("QuantizeLinear", ["floats", "scale", "zero"], ["bytes"]),
        helper.make_node("DequantizeLinear", ["bytes", "scale", "zero"], ["out"]),
    ]
    shape = ["N", 8, 8, 3]
    graph = helper.make_graph(
        nodes,
        "quantised",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(np.float32(2), "scale"),
            numpy_helper.from_array(np.array(zero, dtype), "zero"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_signed_quantisers_are_taken(tensorrt_rtx, tmp_path):
    onnx.save(unsigned(0, np.int8), tmp_path / "q.onnx")
    assert build_engine(
        tensorrt_rtx, tmp_path / "q.onnx", batch=1, precision="f32", capability="SM89"
    )


@pytest.mark.parametrize("zero", [0, 3])
def test_unsigned_quantisers_are_refused(tensorrt_rtx, tmp_path, zero):
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
    tensorrt_rtx, tmp_path, monkeypatch, cuda
):
    monkeypatch.setattr(tensorrt_engine, "Stream", lambda: Stream(cuda))
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(UnsupportedModelError, match=r"model\.onnx: TensorRT-RTX .* does not take"):
        open_engine(tensorrt_rtx, "TensorRT-RTX", tmp_path / "model.onnx", Options(), ORIN)


# --- the stand-ins against the real libraries -------------------------------------------------


def methods(*kinds):
    return {name for kind in kinds for name in vars(kind) if not name.startswith("_")}


def test_tensorrt_has_all_that_its_stand_in_has(tensorrt_rtx):
    ours = {"compute", "array"}
    for stand_in, real in (
        (HostContext, tensorrt_rtx.IExecutionContext),
        (HostEngine, tensorrt_rtx.ICudaEngine),
        (HostConfig, tensorrt_rtx.IRuntimeConfig),
        (HostCache, tensorrt_rtx.IRuntimeCache),
        (HostTensorRt, tensorrt_rtx),
        (HostTensorRtRtx, tensorrt_rtx),
    ):
        assert {n for n in methods(stand_in) - ours if not hasattr(real, n)} == set()
    assert hasattr(tensorrt_rtx.Runtime, "deserialize_cuda_engine")
    assert tensorrt_rtx.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    assert tensorrt_rtx.DynamicShapesKernelSpecializationStrategy.EAGER
    assert tensorrt_rtx.nptype(tensorrt_rtx.DataType.UINT8) is np.uint8


def test_cuda_has_all_that_its_stand_in_has():
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="pip install cuda-bindings")
    ours = {"give", "take"}
    assert {n for n in methods(HostCuda) - ours if not hasattr(runtime, n)} == set()
    status, _ = runtime.cudaStreamCreateWithFlags(runtime.cudaStreamNonBlocking)
    if int(status) == 0:
        pytest.skip("the rest is about a machine without a driver")
    up, mode = runtime.cudaMemcpyKind, runtime.cudaStreamCaptureMode
    stream = runtime.cudaStream_t(0)
    for found in (  # each takes what Stream gives it, and has as many values as Stream unpacks
        runtime.cudaMemcpyAsync(4096, 8192, 16, up.cudaMemcpyHostToDevice, stream),
        runtime.cudaMemcpyAsync(4096, 8192, 16, up.cudaMemcpyDeviceToHost, stream),
        runtime.cudaStreamBeginCapture(stream, mode.cudaStreamCaptureModeThreadLocal),
        runtime.cudaGraphLaunch(runtime.cudaGraphExec_t(0), stream),
        runtime.cudaStreamSynchronize(stream),
    ):
        assert [int(value) for value in found] == [int(status)]
    for found in (
        runtime.cudaHostAlloc(16, runtime.cudaHostAllocDefault),
        runtime.cudaMalloc(16),
        runtime.cudaStreamEndCapture(stream),
        runtime.cudaGraphInstantiate(runtime.cudaGraph_t(0), 0),
    ):
        assert int(found[0]) == int(status)
        assert len(found) == 2
    with pytest.raises(BackendMissingError, match=r"newer driver.*pip install 'cuda-bindings<13'"):
        Stream()
