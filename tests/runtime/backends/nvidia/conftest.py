"""CUDA and TensorRT without a GPU: memory of this process, and a plain ONNX Runtime session.

So copies, addresses, their order, recorded graphs and releases can be tested where there is no GPU;
test_stand_ins.py holds these against the real libraries.
"""

import ctypes
from enum import IntEnum
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest

from edgecnn_runtime.backends.nvidia.driver import CudaDevice


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
def host():
    """The stand-ins, by name."""
    kinds = (
        HostCuda, HostContext, HostEngine, HostCache, HostConfig, HostTensorRt, HostTensorRtRtx,
    )  # fmt: skip
    return SimpleNamespace(**{kind.__name__.removeprefix("Host"): kind for kind in kinds})


@pytest.fixture
def cuda():
    return HostCuda()


@pytest.fixture
def orin():
    return CudaDevice(name="Orin", capability=(8, 7), uuid="ab" * 16, cuda=(12, 6))


@pytest.fixture
def file(build, tmp_path):
    path = tmp_path / "model.fp32.onnx"
    onnx.save(build.classifier(), path)
    return path


@pytest.fixture
def tensorrt_rtx():
    return pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx-cu13")
