"""ONNX Runtime's CUDA provider: any float artifact on an NVIDIA GPU, with nothing to build."""

from collections.abc import Sequence
from pathlib import Path

from edgecnn_runtime.backends import Backend, Options, check_options
from edgecnn_runtime.backends.nvidia.driver import float_precisions, gpu, version_with_gpu
from edgecnn_runtime.backends.nvidia.session import Provider, import_with, open_session

PACKAGE = "onnxruntime-gpu"
INSTALL = "pip install 'edgecnn-runtime[gpu]'"
TARGETS = ("any",)  # quantized convolutions would run in float, behind their roundings
DEVICE, BUILDS = "gpu", False

PROVIDER = "CUDAExecutionProvider"


def precisions() -> tuple[str, ...]:
    """f32; from compute capability 8.0 also tf32. Raises BackendMissingError without a GPU."""
    return float_precisions()


def version() -> str:
    """Of onnxruntime-gpu. Raises ImportError without it, BackendMissingError without a GPU."""
    return version_with_gpu(PACKAGE)


def open(path: Path, options: Options) -> Backend:  # noqa: A001
    """Load an artifact.

    Raises BackendMissingError where there is no GPU, or no ONNX Runtime that reaches it;
    UnsupportedModelError where it does not take the file or the batch.
    """
    gpu()
    check_options(options, precisions(), "ONNX Runtime's CUDA provider")
    ort = import_with(PROVIDER, INSTALL)
    exact = options.precision in {"", "f32"}

    def providers(stream: int, graph: bool) -> Sequence[Provider]:
        return [cuda_provider(stream, exact=exact, graph=graph)]

    return open_session(ort, path, options, providers, INSTALL)


def cuda_provider(stream: int, *, exact: bool, graph: bool) -> Provider:
    """The provider and its options (ONNX Runtime's "CUDA Execution Provider" page)."""
    settings = {
        "device_id": "0",
        "user_compute_stream": str(stream),
        "use_tf32": "0" if exact else "1",
        "enable_cuda_graph": "1" if graph else "0",
    }
    return PROVIDER, settings
