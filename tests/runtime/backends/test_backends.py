"""Every backend installed here, behind the one Protocol; and what each says when it cannot."""

import sys
import tracemalloc
from importlib import metadata

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgecnn_runtime.backends import Options, backend_module, fake, installed
from edgecnn_runtime.backends import onnxruntime as ort_backend
from edgecnn_runtime.errors import BackendMissingError, UnsupportedModelError, UsageError

ENGINES = [name for name in installed() if "f32" in backend_module(name).precisions()]
ON_CPU = [name for name in ENGINES if backend_module(name).DEVICE == "cpu"]


@pytest.fixture
def file(build, tmp_path):
    path = tmp_path / "model.fp32.onnx"
    onnx.save(build.classifier(), path)
    return path


@pytest.fixture(params=ENGINES)
def engine(request):
    return backend_module(request.param)


@pytest.mark.parametrize("batch", [1, 3])
def test_outputs_equal_a_plain_session(engine, file, build, batch):
    backend = engine.open(file, Options(batch=batch, threads=1))
    rng = np.random.default_rng(1)
    assert backend.pixels.shape == (batch, 24, 32, 3)
    for _ in range(3):
        pixels = rng.integers(0, 256, backend.pixels.shape).astype(np.uint8)
        backend.pixels[:] = pixels
        expected = build.run_onnx(build.classifier(), pixels)["scores"]
        assert backend.run()["scores"] == pytest.approx(expected, rel=1e-4, abs=1e-4)
    backend.close()
    backend.close()


def test_buffers_stay_the_same_objects(engine, file):
    backend = engine.open(file, Options())
    pixels, outputs, scores = backend.pixels, backend.outputs, backend.outputs["scores"]
    first = backend.run()["scores"].copy()
    backend.pixels[:] = 255
    again = backend.run()
    assert again is outputs
    assert again["scores"] is scores
    assert backend.pixels is pixels
    assert not np.array_equal(first, scores), "the buffer holds the newest run"


def test_a_run_allocates_no_picture(engine, build, tmp_path):
    path = tmp_path / "big.onnx"
    onnx.save(build.classifier(width=640, height=384), path)
    backend = engine.open(path, Options())
    backend.run()
    tracemalloc.start()
    backend.run()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000


def test_the_first_precision_is_exact(engine, file, build):
    exact = engine.precisions()[0]
    assert exact == "f32"
    backend = engine.open(file, Options(precision=exact))
    backend.pixels[:] = 200
    expected = build.run_onnx(build.classifier(), backend.pixels)["scores"]
    assert backend.run()["scores"] == pytest.approx(expected, rel=1e-5, abs=1e-4)


def test_every_offered_precision_runs(engine, file):
    for precision in engine.precisions():
        assert np.isfinite(engine.open(file, Options(precision=precision)).run()["scores"]).all()


def test_a_precision_nobody_offers_is_refused(engine, file):
    with pytest.raises(UsageError, match=r"does not compute in 'f8'.*offers f32"):
        engine.open(file, Options(precision="f8"))


@pytest.mark.parametrize("options", [Options(batch=0), Options(threads=-1)])
def test_senseless_numbers_are_refused(engine, file, options):
    with pytest.raises(UsageError):
        engine.open(file, options)


def test_a_file_that_is_no_model_is_named(engine, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a model at all")
    with pytest.raises(UnsupportedModelError, match=r"model\.onnx.*does not take it"):
        engine.open(path, Options())


def test_a_graph_of_floats_is_refused(engine, tmp_path):
    node = helper.make_node("Relu", ["x"], ["y"])
    shape = ["N", 8, 8, 3]
    graph = helper.make_graph(
        [node],
        "floats",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "floats.onnx")
    with pytest.raises(UnsupportedModelError):
        engine.open(tmp_path / "floats.onnx", Options())


@pytest.mark.parametrize("name", ON_CPU)
def test_an_absent_engine_says_how_to_install_it(name, file, monkeypatch):
    engine = backend_module(name)
    monkeypatch.setitem(sys.modules, engine.PACKAGE, None)  # makes the import fail
    with pytest.raises(BackendMissingError, match="pip install 'edgecnn-runtime"):
        engine.open(file, Options())


def test_two_onnxruntime_wheels_are_named(file, monkeypatch, caplog):
    both = {"onnxruntime", "onnxruntime-gpu"}
    real = metadata.distributions

    def pretend(name="", **kwargs):
        return real(name="onnxruntime") if name in both else real(name=name, **kwargs)

    monkeypatch.setattr(ort_backend.metadata, "distributions", pretend)
    assert set(ort_backend.wheels()) == both
    ort_backend.open(file, Options())
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in caplog.text
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendMissingError, match="side by side"):
        ort_backend.open(file, Options())


@pytest.mark.parametrize("name", ON_CPU)
def test_versions_come_without_importing(name):
    engine = backend_module(name)
    assert engine.version() == metadata.version(engine.PACKAGE)


def test_an_unknown_backend_gets_a_hint():
    with pytest.raises(UsageError, match="did you mean 'onnxruntime'"):
        backend_module("onnxruntim")


# --- the fake ---------------------------------------------------------------------------------


def test_the_fake_reads_its_shapes_from_the_manifest(bundle):
    backend = fake.open(bundle / "model.fp32.onnx", Options(batch=2))
    backend.pixels[1] = 90
    outputs = backend.run()
    assert outputs["scores"].shape == (2, 4)
    assert not np.array_equal(outputs["scores"][0], outputs["scores"][1])
    first = outputs["scores"].copy()
    assert np.array_equal(backend.run()["scores"], first), "a function of the pixels alone"


def test_the_fake_runs_a_function_of_the_tests_own():
    backend = fake.Fake((1, 4, 4, 3), lambda pixels: {"mean": pixels.mean(axis=(1, 2, 3))})
    backend.pixels[:] = 9
    outputs = backend.outputs
    assert backend.run() is outputs
    assert outputs["mean"].tolist() == [9]
