"""What every backend promises, asked of each one that can be used here, the fake included.

A new engine is covered by its line in BACKENDS.
"""

import json
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from importlib import metadata

import msgspec
import numpy as np
import pytest
from onnx import TensorProto, helper

import edgecnn_runtime
from edgecnn_runtime.backends import BACKENDS, Options, get_engine, installed, open_backend
from edgecnn_runtime.bundle.bundle import load_golden, open_bundle
from edgecnn_runtime.bundle.manifest import TARGETS
from edgecnn_runtime.errors import (
    BackendMissingError,
    BundleError,
    UnsupportedModelError,
    UsageError,
)

HERE = [name for name in BACKENDS if not get_engine(name).problem()]
REAL = [name for name in HERE if not get_engine(name).is_fake]


@pytest.fixture(scope="module")
def bundle(make_bundle):
    """A classifier uint8[N,32,32,3] → scores float32[N,4], with three golden pictures."""
    return open_bundle(make_bundle())


@pytest.fixture(scope="module")
def file(bundle):
    return bundle.file(bundle.manifest.artifacts[0])


def tolerance(engine, precision=""):
    """What a precision may differ by, relative and absolute; only f32 rounds nothing."""
    return 1e-4 if (precision or engine.precisions()[0]) == "f32" else 5e-2


# --- what an engine says of itself, here or not -------------------------------------------------


@pytest.mark.parametrize("name", BACKENDS)
def test_an_engine_describes_itself(name):
    engine = get_engine(name)
    assert engine.name == name
    assert engine.label
    assert "install " in engine.install
    assert engine.device in {"cpu", "gpu"}
    assert engine.formats
    assert engine.targets
    assert set(engine.targets) <= set(TARGETS)
    assert set(engine.weights) <= {"fp32", "fp16", "int8"}
    assert engine.takes(engine.targets[0], engine.formats[0])
    assert engine.takes(engine.targets[0], engine.formats[0], engine.weights[0])
    assert not engine.takes(engine.targets[0], "no such format")
    assert not engine.takes(engine.targets[0], engine.formats[0], "int4")


def test_looking_for_engines_imports_none():
    """On some machines importing an engine without its device ends the process."""
    code = (
        "import json, sys, edgecnn_runtime.backends as b; "
        "[b.get_engine(name).problem() for name in b.BACKENDS]; b.installed(); b.distributions(); "
        "print(json.dumps([name.split('.')[0] for name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    engines = {package for name in BACKENDS for package in import_names(get_engine(name))}
    assert not engines & set(json.loads(done.stdout))


def import_names(engine):
    """What the engine's distributions are imported as, and the bindings to the GPU."""
    owners = metadata.packages_distributions()
    return {name for name, owned in owners.items() if set(owned) & set(engine.packages)} | {"cuda"}


@pytest.mark.parametrize("name", HERE)
def test_versions_are_those_of_the_distribution(name):
    engine = get_engine(name)
    versions = {metadata.version(each) for each in engine.packages if each in distributions()}
    assert engine.version() in (versions or {edgecnn_runtime.__version__})
    assert (name in installed()) is not engine.by_name_only


def distributions():
    return {each.metadata["Name"] for each in metadata.distributions()}


@pytest.mark.parametrize("name", REAL)
def test_an_engine_that_is_not_installed_says_how_to_install_it(name, file):
    engine = replace(get_engine(name), packages=("no-such-distribution",))
    assert engine.problem() == "not installed"
    for call in (engine.version, lambda: engine.open(file, Options())):
        with pytest.raises(BackendMissingError) as caught:
            call()
        assert engine.install in str(caught.value)


@pytest.mark.parametrize("name", REAL)
def test_an_engine_that_cannot_be_imported_says_how_to_install_it(name, file, monkeypatch):
    engine = get_engine(name)
    for module in import_names(engine):
        monkeypatch.setitem(sys.modules, module, None)  # makes the import fail
    with pytest.raises(BackendMissingError, match=r"cannot be used here .*pip install"):
        engine.open(file, Options())


# --- buffers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("batch", [1, 3])
def test_input_and_outputs_are_the_backends_own(name, batch, file, bundle):
    with open_backend(
        name, file, Options(batch=batch, threads=1), bundle.manifest.model
    ) as backend:
        pixels, outputs, scores = backend.pixels, backend.outputs, backend.outputs["scores"]
        assert pixels.dtype == np.uint8
        assert pixels.shape == (batch, 32, 32, 3)
        assert pixels.flags.c_contiguous
        assert scores.dtype == np.float32
        assert scores.shape == (batch, 4)
        for brightness in (0, 255):
            pixels[:] = brightness
            assert backend.run() is outputs
            assert backend.outputs is outputs
            assert outputs["scores"] is scores
            assert backend.pixels is pixels


@pytest.mark.parametrize("name", HERE)
def test_a_result_holds_until_the_next_run(name, file):
    with open_backend(name, file, Options()) as backend:
        scores = backend.run()["scores"]
        first = scores.copy()
        backend.pixels[:] = 200
        assert np.array_equal(scores, first), "writing the next frame changes nothing yet"
        backend.run()
        assert not np.array_equal(scores, first)
        backend.pixels[:] = 0
        backend.run()
        assert np.array_equal(scores, first), "a function of the pixels alone"


@pytest.mark.parametrize("name", HERE)
def test_slots_of_a_batch_do_not_touch_each_other(name, file, bundle):
    pictures = load_golden(bundle).pixels
    with open_backend(name, file, Options(batch=3)) as together:
        together.pixels[:] = pictures
        scores = together.run()["scores"]
        with open_backend(name, file, Options()) as alone:
            for picture, expected in zip(pictures, scores, strict=True):
                alone.pixels[0] = picture
                limit = tolerance(get_engine(name))
                assert alone.run()["scores"][0] == pytest.approx(expected, rel=limit, abs=limit)


@pytest.mark.parametrize("name", HERE)
def test_two_backends_share_no_buffer(name, file):
    with open_backend(name, file, Options()) as one, open_backend(name, file, Options()) as other:
        one.pixels[:], other.pixels[:] = 10, 250
        first = one.run()["scores"].copy()
        assert not np.array_equal(other.run()["scores"], first)
        assert np.array_equal(one.outputs["scores"], first)
        assert (one.pixels == 10).all()


@pytest.mark.parametrize("name", REAL)
def test_a_run_allocates_no_picture(name, file):
    with open_backend(name, file, Options(batch=16)) as backend:  # 49 kB of pixels
        backend.run()
        tracemalloc.start()
        backend.run()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4096


@pytest.mark.parametrize("name", HERE)
def test_closing_twice_is_closing_once(name, file):
    backend = get_engine(name).open(file, Options())
    scores = backend.run()["scores"].copy()
    kept = backend.outputs["scores"]
    backend.close()
    backend.close()
    assert np.array_equal(kept, scores), "arrays outlive the engine"


# --- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("threads", [0, 1])
def test_the_first_precision_gives_the_reference_outputs(name, threads, file, bundle):
    engine, golden = get_engine(name), load_golden(bundle)
    first = engine.precisions()[0]
    for precision in ("", first):
        options = Options(batch=3, threads=threads, precision=precision)
        with open_backend(name, file, options, bundle.manifest.model) as backend:
            backend.pixels[:] = golden.pixels
            expected = golden.outputs["scores"]
            limit = tolerance(engine)
            assert backend.run()["scores"] == pytest.approx(expected, rel=limit, abs=limit)


@pytest.mark.parametrize("name", HERE)
def test_every_offered_precision_runs(name, file, bundle):
    engine, golden = get_engine(name), load_golden(bundle)
    exact = golden.outputs["scores"]
    for precision in engine.precisions():
        with open_backend(name, file, Options(batch=3, precision=precision)) as backend:
            backend.pixels[:] = golden.pixels
            scores = backend.run()["scores"]
            assert np.isfinite(scores).all()
            if not engine.is_fake:
                limit = tolerance(engine, precision) * float(np.abs(exact).max())
                assert scores == pytest.approx(exact, abs=limit)


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", HERE)
def test_a_precision_that_is_not_offered_is_refused(name, file):
    with pytest.raises(UsageError, match=r"does not compute in 'f8'.* offers \w"):
        get_engine(name).open(file, Options(precision="f8"))


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("options", [Options(batch=0), Options(threads=-1)])
def test_senseless_numbers_are_refused(name, options, file):
    with pytest.raises(UsageError):
        get_engine(name).open(file, options)


@pytest.mark.parametrize("name", HERE)
def test_a_missing_file_is_named(name, tmp_path):
    with pytest.raises(BundleError, match=r"absent\.onnx: no such file"):
        get_engine(name).open(tmp_path / "absent.onnx", Options())


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x08\x0a\x12\x03"])
def test_a_file_that_is_no_model_is_named(name, content, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(UnsupportedModelError, match=r"model\.onnx: .* does not take it"):
        get_engine(name).open(path, Options())


@pytest.mark.parametrize("name", REAL)
def test_a_graph_of_floats_is_refused(name, tmp_path):
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 8, 8, 3]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", *([v] for v in values))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path = tmp_path / "floats.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UnsupportedModelError, match=r"floats\.onnx: .* does not take it"):
        get_engine(name).open(path, Options())


@pytest.mark.parametrize("name", HERE)
def test_what_does_not_fit_the_manifest_is_refused(name, file, bundle):
    spec = bundle.manifest.model
    (output,) = spec.outputs
    wrong = {
        r"takes \[1, 32, 32, 3\]; the manifest says \[1, 48, 32, 3\]": {
            "input": msgspec.structs.replace(spec.input, height=48)
        },
        "gives no 'logits'": {"outputs": (msgspec.structs.replace(output, name="logits"),)},
        r"gives 'scores' as \[1, 4\]; the manifest says \[1, 5\]": {
            "outputs": (msgspec.structs.replace(output, shape=(None, 5)),)
        },
    }
    for words, fields in wrong.items():
        with pytest.raises(BundleError, match=rf"{file.name} on {name} {words}"):
            get_engine(name).open(file, Options(), msgspec.structs.replace(spec, **fields))
