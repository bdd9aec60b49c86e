"""An engine is built once, and again when anything it depends on is another."""

import pytest

from edgecnn_runtime.backends import Options
from edgecnn_runtime.backends.nvidia import tensorrt_engine
from edgecnn_runtime.backends.nvidia.driver import CudaDevice
from edgecnn_runtime.backends.nvidia.engine_cache import store_engine
from edgecnn_runtime.backends.nvidia.stream import CudaStream
from edgecnn_runtime.backends.nvidia.tensorrt_engine import engine_key, open_engine
from edgecnn_runtime.errors import BackendMissingError


@pytest.fixture(params=["TensorRt", "TensorRtRtx"])
def trt(request, host, cuda):
    return getattr(host, request.param)(cuda)


@pytest.fixture
def builds(monkeypatch, cuda):
    """Which files were built; a build gives the file itself."""
    found = []

    def build(_trt, path, *, batch, precision, capability=""):
        found.append((path.name, batch, precision))
        return path.read_bytes()

    monkeypatch.setattr(tensorrt_engine, "build_engine", build)
    monkeypatch.setattr(tensorrt_engine, "CudaStream", lambda: CudaStream(cuda))
    return found


def test_an_engine_is_built_once_and_said(trt, file, builds, tmp_path, caplog, orin):
    options = Options(cache_dir=tmp_path / "cache")
    for _ in range(2):
        open_engine(trt, "TensorRT", file, options, orin).close()
    assert builds == [("model.fp32.onnx", 1, "f32")]
    assert caplog.text.count("for Orin with TensorRT: takes minutes, once; stored in") == 1


def test_compiled_kernels_come_back(cuda, file, builds, tmp_path, host, orin):
    rtx, options = host.TensorRtRtx(cuda), Options(cache_dir=tmp_path / "cache")
    open_engine(rtx, "TensorRT-RTX", file, options, orin).close()
    again = open_engine(rtx, "TensorRT-RTX", file, options, orin)
    assert rtx.engine.config.cache.content == b"+kernels"
    again.close()


def test_everything_an_engine_depends_on_builds_another(cuda, file, builds, tmp_path, host, orin):
    trt, cache = host.TensorRt(cuda), tmp_path / "cache"
    other_gpu = CudaDevice(name="Orin", capability=(8, 7), uuid="cd" * 16, cuda=(12, 6))
    for options, gpu in (
        (Options(cache_dir=cache), orin),
        (Options(cache_dir=cache, batch=2), orin),
        (Options(cache_dir=cache, precision="tf32"), orin),
        (Options(cache_dir=cache), other_gpu),
    ):
        open_engine(trt, "TensorRT", file, options, gpu).close()
    assert len(builds) == 4
    changed = engine_key(file, Options(), "TensorRT 11", orin)
    file.write_bytes(file.read_bytes() + b"\x0a\x00")
    assert engine_key(file, Options(), "TensorRT 11", orin) != changed


def test_an_engine_that_does_not_start_is_built_again(
    cuda, file, builds, tmp_path, caplog, host, orin
):
    trt, options = host.TensorRt(cuda), Options(cache_dir=tmp_path / "cache")
    key = engine_key(file, options, f"TensorRT {trt.__version__}", orin)
    store_engine(tmp_path / "cache", key, {"plan": b"no engine", "kernels": b""})
    open_engine(trt, "TensorRT", file, options, orin).close()
    open_engine(trt, "TensorRT", file, options, orin).close()
    assert len(builds) == 1
    assert "does not start, and is built again" in caplog.text


def test_nothing_is_kept_without_a_cache(trt, file, builds, tmp_path, caplog, orin):
    for _ in range(2):
        open_engine(trt, "TensorRT", file, Options(), orin).close()
    assert len(builds) == 2
    assert "takes minutes, and is not stored" in caplog.text


def test_missing_bindings_are_missed_before_minutes_are_spent(
    cuda, file, builds, tmp_path, monkeypatch, host, orin
):
    def missing():
        raise BackendMissingError("GPU memory needs cuda-bindings")

    monkeypatch.setattr(tensorrt_engine, "CudaStream", missing)
    with pytest.raises(BackendMissingError):
        open_engine(host.TensorRt(cuda), "TensorRT", file, Options(), orin)
    assert not builds
