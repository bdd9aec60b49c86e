"""ONNX Runtime's sessions for a GPU: what a graph takes, and no fallback in silence."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import onnxruntime
import pytest

from edgecnn_runtime.backends import BACKENDS, Options, open_backend
from edgecnn_runtime.backends.nvidia import driver, session
from edgecnn_runtime.backends.nvidia.session import GpuSession, read_signature
from edgecnn_runtime.backends.nvidia.stream import CudaStream
from edgecnn_runtime.errors import UnsupportedModelError


def test_a_signature_has_every_size(file):
    signature = read_signature(file, 3)
    assert signature.given == "pixels"
    assert signature.shape == (3, 24, 32, 3)
    assert signature.outputs == {"scores": ((3, 4), np.float32)}
    assert signature.sizes == {"N": 3}


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_session_that_would_fall_back_to_the_processor_is_refused(file, cuda, monkeypatch):
    """ONNX Runtime only logs it, and goes on with what is left."""

    class Silent(onnxruntime.InferenceSession):
        def get_providers(self):
            return ["CPUExecutionProvider"]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Silent)
    asked = [("CUDAExecutionProvider", {"device_id": "0"})]
    with pytest.raises(ImportError, match="CUDAExecutionProvider cannot be loaded"):
        GpuSession(
            file, Options(), lambda _stream, _graph: asked, CudaStream(cuda),
            graph=True,
        )  # fmt: skip
    assert not cuda.live


@pytest.mark.parametrize("name", ["onnxruntime-cuda", "onnxruntime-tensorrt"])
@pytest.mark.parametrize("content", [b"not a model", b""])
def test_a_file_that_is_no_model_is_named_and_leaks_nothing(
    name, content, file, monkeypatch, cuda, orin
):
    module = import_module(BACKENDS[name])
    monkeypatch.setattr(module, "ENGINE", replace(module.ENGINE, packages=("onnxruntime",)))
    monkeypatch.setattr(driver, "find_gpu", lambda _library: orin)
    monkeypatch.setattr(module, "import_with", lambda *_words: onnxruntime)
    monkeypatch.setattr(session, "CudaStream", lambda: CudaStream(cuda))
    file.write_bytes(content)
    with pytest.raises(UnsupportedModelError, match=r"model\.fp32\.onnx.*does not take it"):
        open_backend(name, file, Options())
    assert not cuda.live
