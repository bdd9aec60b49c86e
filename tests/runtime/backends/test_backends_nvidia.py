"""The backends for NVIDIA GPUs, as far as a machine without one can tell; the rest where one is.

With a GPU, tests/contract/ runs on them as well.
"""

import sys
from dataclasses import replace
from importlib import import_module, metadata

import msgspec
import numpy as np
import onnx
import pytest

from edgecnn_runtime.backends import (
    BACKENDS,
    Options,
    get_engine,
    installed,
    open_backend,
)
from edgecnn_runtime.backends import onnxruntime_tensorrt as ort_trt
from edgecnn_runtime.backends.nvidia import driver
from edgecnn_runtime.bundle import manifest as m
from edgecnn_runtime.bundle.bundle import Bundle
from edgecnn_runtime.errors import BackendMissingError
from edgecnn_runtime.selection import candidates as select
from edgecnn_runtime.selection import record as measured
from edgecnn_runtime.selection.candidates import candidates, rank_candidates

GPU = [name for name in BACKENDS if get_engine(name).device == "gpu"]
NAMES = {"onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt", "tensorrt-rtx"}


@pytest.fixture
def file(build, tmp_path):
    path = tmp_path / "model.fp32.onnx"
    onnx.save(build.classifier(), path)
    return path


@pytest.fixture
def orin(monkeypatch):
    """A GPU, as far as the driver's answers go."""
    found = driver.CudaDevice(name="Orin", capability=(8, 7), uuid="ab" * 16, cuda=(12, 6))
    monkeypatch.setattr(driver, "find_gpu", lambda _library: found)


@pytest.fixture
def engines(orin, monkeypatch):
    """And every engine for it, as far as the package's version goes."""
    for name in GPU:
        module = import_module(BACKENDS[name])
        monkeypatch.setattr(module, "ENGINE", replace(module.ENGINE, packages=("numpy",)))


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(driver, "LIBRARY", "libabsent.so.1")


def test_all_four_are_there():
    assert set(GPU) == NAMES
    assert [name for name in GPU if not get_engine(name).needs_build] == ["onnxruntime-cuda"]


@pytest.mark.parametrize("name", GPU)
def test_without_a_gpu_it_is_absent_and_says_so(name, file, no_gpu):
    engine = get_engine(name)
    assert get_engine(name).problem() == "no NVIDIA driver"
    assert name not in installed()
    for call in (engine.version, engine.precisions, lambda: engine.open(file, Options())):
        with pytest.raises(BackendMissingError, match="no NVIDIA driver") as caught:
            call()
        assert "pip install" not in str(caught.value), "which would not help"


@pytest.mark.parametrize("name", GPU)
def test_asked_for_without_a_gpu_its_name_is_in_the_error(name, bundle, tmp_path, no_gpu):
    label = get_engine(name).label
    with pytest.raises(BackendMissingError, match=r"no NVIDIA driver.*edgecnn doctor") as caught:
        rank_candidates(bundle, tmp_path, backend=name)
    assert str(caught.value).startswith(f"{label} cannot be used here")


@pytest.mark.parametrize("name", GPU)
def test_without_its_package_it_is_absent(name, orin, monkeypatch):
    monkeypatch.setattr(metadata, "distributions", lambda **_kwargs: [])
    assert get_engine(name).problem() == "not installed"


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt-rtx"])
def test_an_import_that_fails_is_named(name, file, engines, monkeypatch):
    monkeypatch.setitem(sys.modules, name.replace("-", "_"), None)
    with pytest.raises(BackendMissingError, match=r"cannot be used here.*pip install"):
        get_engine(name).open(file, Options())


@pytest.mark.parametrize("name", ["onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_an_onnxruntime_without_the_provider_is_refused(name, file, engines):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("the onnxruntime installed here has the CUDA provider")
    with pytest.raises(BackendMissingError, match=r"has no \w+ExecutionProvider.*pip install"):
        get_engine(name).open(file, Options())


def test_provider_options_are_text_as_onnxruntime_wants_them(tmp_path):
    from edgecnn_runtime.backends.onnxruntime_cuda import cuda_provider

    name, exact = cuda_provider(4096, exact=True, graph=True)
    assert name == "CUDAExecutionProvider"
    assert exact["use_tf32"] == "0"
    assert exact["enable_cuda_graph"] == "1"
    assert exact["user_compute_stream"] == "4096"
    _, trt = ort_trt.tensorrt_provider(1, tmp_path, quantized=True, graph=False)
    assert trt["trt_int8_enable"] == "1"
    assert trt["trt_engine_cache_path"] == str(tmp_path)
    assert all(isinstance(value, str) for value in (*exact.values(), *trt.values()))


def test_a_quantized_file_is_told_from_a_float_one(file, tmp_path):
    assert not ort_trt._is_quantized(file)
    quantized = tmp_path / "q.onnx"
    quantized.write_bytes(file.read_bytes() + b"\x0a\x0eQuantizeLinear")
    assert ort_trt._is_quantized(quantized)
    quantized.write_bytes(b"")
    assert not ort_trt._is_quantized(quantized)


# --- which is chosen --------------------------------------------------------------------------


@pytest.fixture
def bundle(build, tmp_path):
    """One artifact of every kind; the files are not read."""
    made = build.manifest(m.Embed(output="f"), {"f": (None, 4)}, task="embed")
    kinds = [("fp32", "any"), ("fp16", "trt"), ("int8", "cpu"), ("int8", "trt")]
    entries = tuple(
        m.Artifact(
            file=f"model.{kind}{'' if target == 'any' else '-' + target}.onnx",
            precision=kind, target=target, sha256="0" * 64, bytes=1,
        )
        for kind, target in kinds
    )  # fmt: skip
    return Bundle(tmp_path / "b.edge", msgspec.structs.replace(made, artifacts=entries), "d" * 64)


def test_a_gpu_goes_first_and_one_thread_feeds_it(bundle, engines, tmp_path):
    first, second, *others = rank_candidates(bundle, tmp_path, threads=2)
    assert (first.backend, first.precision, first.threads) == ("onnxruntime-cuda", "f32", 1)
    assert first.artifact.precision == "fp32", "its quantized convolutions are float ones"
    assert (second.backend, second.artifact.precision) == ("onnxruntime-cuda", "fp16")
    assert {other.backend for other in others} <= {"onnxruntime", "openvino"}
    assert {other.threads for other in others} == {2}


def test_what_builds_for_minutes_is_never_chosen_by_rule(bundle, engines, tmp_path):
    assert not any(candidate.needs_build for candidate in rank_candidates(bundle, tmp_path))
    named = rank_candidates(bundle, tmp_path, backend="tensorrt")
    assert [c.artifact.precision for c in named] == ["int8", "fp16", "fp32"]
    by_rtx = rank_candidates(bundle, tmp_path, backend="tensorrt-rtx")
    assert [c.artifact.precision for c in by_rtx] == ["fp16", "fp32", "int8"]


def test_half_precision_is_for_engines_that_compute_in_the_types_of_the_file(bundle, engines):
    """ONNX Runtime's TensorRT provider is weakly typed; processors have no kernels for it."""
    for name in ("onnxruntime-cuda", "tensorrt", "tensorrt-rtx"):
        assert "fp16" in {c.artifact.precision for c in candidates(bundle, backend=name)}
    for name in ("onnxruntime-tensorrt", "onnxruntime", "openvino"):
        assert "fp16" not in {c.artifact.precision for c in candidates(bundle, backend=name)}


def test_where_everything_builds_nothing_is_built_unasked(bundle, engines, tmp_path, monkeypatch):
    monkeypatch.setattr(select, "require_installed", lambda: {"tensorrt": "11.0"})
    with pytest.raises(BackendMissingError, match=r"bench .* --select` builds and measures"):
        rank_candidates(bundle, tmp_path)


def test_a_measured_engine_is_chosen(bundle, engines, tmp_path):
    standing = measured.CandidateTiming(
        artifact="model.int8-trt.onnx", backend="tensorrt", precision="f32", threads=1,
        milliseconds=1.0, relative=1.0, ratio=1.0, low=1.0, high=1.0, rounds=9,
    )  # fmt: skip
    found = measured.SelectionRecord(created="2026-01-01", batch=1, standings=(standing,))
    measured.write_selection(bundle, tmp_path, found)
    first, *others = rank_candidates(bundle, tmp_path)
    assert str(first) == "model.int8-trt.onnx on tensorrt/f32, 1 thread"
    assert not any(candidate.needs_build for candidate in others)
    assert rank_candidates(bundle, tmp_path, threads=2)[0] == first, "threads mean the processor's"


def test_a_provider_that_cannot_be_exact_does_not_claim_to_be(bundle, engines):
    found = candidates(bundle, backend="onnxruntime-tensorrt")
    assert {c.precision for c in found} == {"tf32"}
    assert not any(c.exact or c.verified_at_export for c in found)
    assert all(c.exact for c in candidates(bundle, backend="tensorrt"))


# --- where there is a GPU ---------------------------------------------------------------------


@pytest.mark.parametrize("name", GPU)
def test_it_does_on_the_gpu_what_the_cpu_does(name, file, build, tmp_path, caplog):
    if why := get_engine(name).problem():
        pytest.skip(f"{name}: {why}")
    engine = get_engine(name)
    for attempt in ("builds", "finds what it built"):
        options = Options(batch=2, cache_dir=tmp_path / "cache")
        with open_backend(name, file, options) as backend:
            backend.pixels[:] = np.random.default_rng(5).integers(0, 256, backend.pixels.shape)
            expected = build.run_onnx(build.classifier(), backend.pixels)["scores"]
            tolerance = 1e-4 if engine.precisions()[0] == "f32" else 2e-2
            assert backend.run()["scores"] == pytest.approx(expected, rel=tolerance, abs=tolerance)
        assert caplog.text.count("takes minutes") == int(engine.needs_build), attempt
