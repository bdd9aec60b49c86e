"""What all engines share, and what each has of its own; tests/contract/ holds their promises."""

import sys
from dataclasses import replace
from importlib import metadata

import numpy as np
import pytest

from edgecnn_runtime import backends
from edgecnn_runtime.backends import BACKENDS, Options, fake, get_engine, open_backend
from edgecnn_runtime.errors import BackendMissingError, BundleError, UsageError


@pytest.fixture
def file(bundle):
    return bundle / "model.fp32.onnx"


def test_an_unknown_backend_gets_a_hint():
    with pytest.raises(UsageError, match="did you mean 'onnxruntime'"):
        get_engine("onnxruntim")


def test_a_backend_is_closed_at_the_end_of_the_block_and_where_it_does_not_fit(file, monkeypatch):
    """Registered as anybody's own engine is: one line in BACKENDS."""
    closed = []

    class Closing(fake.Fake):
        def close(self):
            closed.append(self)

    def load(_path, options):
        return Closing((options.batch, 1, 1, 3), lambda pixels: {"mean": pixels.mean((1, 2, 3))})

    monkeypatch.setattr(fake, "ENGINE", replace(fake.ENGINE, name="closing", load=load))
    monkeypatch.setitem(BACKENDS, "closing", fake.__name__)
    with pytest.raises(KeyboardInterrupt), open_backend("closing", file, Options()) as backend:
        raise KeyboardInterrupt
    assert closed == [backend]
    spec = fake.parse_manifest((file.parent / "manifest.json").read_bytes(), "manifest.json").model
    with pytest.raises(BundleError, match=r"model\.fp32\.onnx on closing takes"):
        open_backend("closing", file, Options(), spec)
    assert len(closed) == 2


def test_without_any_engine_every_install_command_is_listed(monkeypatch):
    engines = [replace(each, packages=("absent-one",)) for each in backends.real_engines()]
    monkeypatch.setattr(backends, "real_engines", lambda: engines)
    assert not backends.installed()
    with pytest.raises(BackendMissingError) as caught:
        backends.require_installed()
    for engine in engines:
        assert f"{engine.install}    # {engine.name}" in str(caught.value)


def test_wheels_side_by_side_are_named(file, monkeypatch, caplog):
    both = {"onnxruntime", "onnxruntime-gpu"}
    real = metadata.distributions

    def pretend(name="", **kwargs):
        return real(name="onnxruntime") if name in both else real(name=name, **kwargs)

    monkeypatch.setattr(metadata, "distributions", pretend)
    engine = get_engine("onnxruntime")
    engine.open(file, Options())
    assert "onnxruntime and onnxruntime-gpu are installed side by side" in caplog.text
    assert "pip uninstall -y onnxruntime onnxruntime-gpu && pip install" in caplog.text
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendMissingError, match="side by side"):
        engine.open(file, Options())


# --- the fake -----------------------------------------------------------------------------------


def test_the_fake_reads_its_shapes_from_the_manifest(file, tmp_path):
    with open_backend("fake", file, Options(batch=2)) as backend:
        backend.pixels[1] = 90
        outputs = backend.run()
        assert outputs["scores"].shape == (2, 4)
        assert not np.array_equal(outputs["scores"][0], outputs["scores"][1])
    (tmp_path / "alone.onnx").touch()
    with pytest.raises(BundleError, match=r"manifest\.json: no such file"):
        open_backend("fake", tmp_path / "alone.onnx", Options())


def test_the_fake_runs_a_function_of_the_tests_own():
    backend = fake.Fake((1, 4, 4, 3), lambda pixels: {"mean": pixels.mean(axis=(1, 2, 3))})
    backend.pixels[:] = 9
    outputs = backend.outputs
    assert backend.run() is outputs
    assert outputs["mean"].tolist() == [9]
