"""Running engines and sessions: the Backend contract, on a stand-in for the GPU."""

import gc
import tracemalloc

import numpy as np
import onnx
import pytest

from edgecnn_runtime.backends import Options
from edgecnn_runtime.backends.nvidia.session import GpuSession
from edgecnn_runtime.backends.nvidia.stream import CudaStream
from edgecnn_runtime.backends.nvidia.tensorrt_engine import TensorRtEngine
from edgecnn_runtime.errors import EdgecnnError

pytestmark = pytest.mark.filterwarnings("ignore:Duplicate provider")


@pytest.fixture(params=["TensorRT", "TensorRT-RTX", "ONNX Runtime"])
def opened(request, cuda, file, host):
    """Each of them, at batch 2."""
    if request.param == "ONNX Runtime":
        cuda.eager = True
        asked = [("CPUExecutionProvider", {})]
        return GpuSession(
            file, Options(batch=2), lambda _stream, _graph: asked, CudaStream(cuda),
            graph=True, device="cpu",
        )  # fmt: skip
    trt = (host.TensorRt if request.param == "TensorRT" else host.TensorRtRtx)(cuda)
    return TensorRtEngine(trt, file.read_bytes(), b"", 2, CudaStream(cuda))


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


def test_a_run_allocates_no_picture(cuda, build, tmp_path, host):
    onnx.save(build.classifier(width=640, height=384), tmp_path / "big.onnx")
    plan = (tmp_path / "big.onnx").read_bytes()
    backend = TensorRtEngine(host.TensorRt(cuda), plan, b"", 1, CudaStream(cuda))
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
    stream = CudaStream(cuda)
    view = stream.pinned_buffer((2, 3), np.float32).array[1]
    assert view.tolist() == [0, 0, 0]
    assert cuda.host
    del view
    assert not cuda.host


def test_tensorrt_replays_one_graph_and_rtx_records_its_own(cuda, file, host):
    engine = TensorRtEngine(host.TensorRt(cuda), file.read_bytes(), b"", 1, CudaStream(cuda))
    before = cuda.launches
    engine.run()
    assert cuda.launches == before + 1
    rtx = host.TensorRtRtx(other := host.Cuda())
    TensorRtEngine(rtx, file.read_bytes(), b"", 1, CudaStream(other)).run()
    assert other.launches == 0
    assert rtx.engine.config.cuda_graph_strategy == "whole"


def test_an_engine_that_cannot_be_recorded_runs_all_the_same(cuda, file, build, monkeypatch, host):
    monkeypatch.setattr(
        host.Context, "execute_async_v3",
        lambda self, _stream: cuda.recording is None and not cuda.give(self.compute),
    )  # fmt: skip
    engine = TensorRtEngine(host.TensorRt(cuda), file.read_bytes(), b"", 1, CudaStream(cuda))
    engine.pixels[:] = 77
    expected = build.run_onnx(build.classifier(), engine.pixels)["scores"]
    assert engine.run()["scores"] == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert not cuda.launches


def test_what_the_gpu_refuses_is_an_error_and_leaks_nothing(cuda, build, tmp_path, host):
    onnx.save(build.classifier(width=4096, height=4096), tmp_path / "huge.onnx")
    plan = (tmp_path / "huge.onnx").read_bytes()
    with pytest.raises(EdgecnnError, match=r"cudaMalloc: out of memory \(CUDA error 2\)"):
        TensorRtEngine(host.TensorRt(cuda), plan, b"", 2, CudaStream(cuda))
    assert not cuda.device
    assert not cuda.live


def test_a_batch_the_engine_was_not_built_for_is_refused(cuda, file, host):
    with pytest.raises(EdgecnnError, match=r"does not take \[9, 24, 32, 3\]"):
        TensorRtEngine(host.TensorRt(cuda), file.read_bytes(), b"", 9, CudaStream(cuda))
    assert not cuda.device
