"""ONNX Runtime's sessions for a GPU: what a graph takes, and no fallback in silence."""

from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from edgecnn_runtime.backends import Options
from edgecnn_runtime.backends.nvidia.session import GpuSession, open_session, read_signature
from edgecnn_runtime.backends.nvidia.stream import CudaStream
from edgecnn_runtime.errors import BackendMissingError, UnsupportedModelError


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
            ort, file, Options(), lambda _stream, _graph: asked, CudaStream(cuda),
            graph=True, install="the fix",
        )  # fmt: skip
    assert not cuda.live


@pytest.mark.parametrize("content", [b"not a model", b""])
def test_a_file_that_is_no_model_is_named(content, file, monkeypatch, cuda):
    from edgecnn_runtime.backends.nvidia import session

    monkeypatch.setattr(session, "CudaStream", lambda: CudaStream(cuda))
    file.write_bytes(content)
    with pytest.raises(UnsupportedModelError, match=r"model\.fp32\.onnx.*does not take it"):
        open_session(onnxruntime, file, Options(), lambda _stream, _graph: [], "the fix")
    assert not cuda.live
