"""What the stand-ins for the GPU offer, the real libraries offer too."""

import numpy as np
import pytest

from edgecnn_runtime.backends.nvidia.stream import CudaStream
from edgecnn_runtime.errors import BackendMissingError


def methods(*kinds):
    return {name for kind in kinds for name in vars(kind) if not name.startswith("_")}


def test_tensorrt_has_all_that_its_stand_in_has(tensorrt_rtx, host):
    ours = {"compute", "array"}
    for stand_in, real in (
        (host.Context, tensorrt_rtx.IExecutionContext),
        (host.Engine, tensorrt_rtx.ICudaEngine),
        (host.Config, tensorrt_rtx.IRuntimeConfig),
        (host.Cache, tensorrt_rtx.IRuntimeCache),
        (host.TensorRt, tensorrt_rtx),
        (host.TensorRtRtx, tensorrt_rtx),
    ):
        assert {n for n in methods(stand_in) - ours if not hasattr(real, n)} == set()
    assert hasattr(tensorrt_rtx.Runtime, "deserialize_cuda_engine")
    assert tensorrt_rtx.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    assert tensorrt_rtx.DynamicShapesKernelSpecializationStrategy.EAGER
    assert tensorrt_rtx.nptype(tensorrt_rtx.DataType.UINT8) is np.uint8


def test_cuda_has_all_that_its_stand_in_has(host):
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="pip install cuda-bindings")
    ours = {"give", "take"}
    assert {n for n in methods(host.Cuda) - ours if not hasattr(runtime, n)} == set()
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
        CudaStream()
