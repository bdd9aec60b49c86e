"""ONNX Runtime's TensorRT provider: TensorRT for what it takes, CUDA for the rest."""

import ctypes
import mmap
from collections.abc import Sequence
from importlib import import_module, util
from pathlib import Path
from tempfile import TemporaryDirectory

from edgecnn_runtime.backends import Backend, Options, check_options
from edgecnn_runtime.backends.nvidia.driver import float_precisions, gpu, version_with_gpu
from edgecnn_runtime.backends.nvidia.engine_cache import load, store
from edgecnn_runtime.backends.nvidia.session import Provider, import_with, open_session
from edgecnn_runtime.backends.nvidia.tensorrt_engine import engine_key, log_build
from edgecnn_runtime.backends.onnxruntime_cuda import cuda_provider

PACKAGE = "onnxruntime-gpu"
INSTALL = "pip install 'edgecnn-runtime[gpu-tensorrt]'"
LIBRARY = "libnvinfer.so.10"  # what the provider is linked to
TARGETS = ("trt", "any")
DEVICE, BUILDS = "gpu", True

PROVIDER = "TensorrtExecutionProvider"
LABEL = "ONNX Runtime's TensorRT provider"


def precisions() -> tuple[str, ...]:
    """tf32 where the GPU can (the provider has no switch for it), else f32.

    Raises BackendMissingError without a GPU.
    """
    return float_precisions()[-1:]


def version() -> str:
    """Of onnxruntime-gpu. Raises ImportError without it, BackendMissingError without a GPU."""
    return version_with_gpu(PACKAGE)


def open(path: Path, options: Options) -> Backend:  # noqa: A001
    """Load an artifact, building its engine where none was kept, which takes minutes.

    Raises BackendMissingError where there is no GPU, no ONNX Runtime that reaches it, or no
    TensorRT 10; UnsupportedModelError where it does not take the file or the batch.
    """
    here = gpu()
    check_options(options, precisions(), LABEL)
    if util.find_spec("tensorrt_libs"):
        import_module("tensorrt_libs")  # where pip put them the provider would not look
    ort = import_with(PROVIDER, INSTALL)
    key = engine_key(path, options, f"{LABEL} {ort.__version__}, {_tensorrt()}", here)
    quantized = _is_quantized(path)
    found = load(options.cache_dir, key) if options.cache_dir else None
    with TemporaryDirectory() as empty:
        folder = found or Path(empty)

        def providers(stream: int, graph: bool) -> Sequence[Provider]:
            return [
                tensorrt_provider(stream, folder, quantized=quantized, graph=graph),
                cuda_provider(stream, exact=False, graph=False),
            ]

        if found is None:
            log_build(path, LABEL, here, options)
        session = open_session(ort, path, options, providers, INSTALL)
        if found is None and options.cache_dir:
            built = {file.name: file.read_bytes() for file in folder.iterdir()}
            store(options.cache_dir, key, built)
        return session


def tensorrt_provider(stream: int, folder: Path, *, quantized: bool, graph: bool) -> Provider:
    """The provider and its options (ONNX Runtime's "TensorRT Execution Provider" page)."""
    settings = {
        "device_id": "0",
        "user_compute_stream": str(stream),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_int8_enable": "1" if quantized else "0",
        "trt_cuda_graph_enable": "1" if graph else "0",
    }
    return PROVIDER, settings


def _tensorrt() -> str:
    """The version of TensorRT that the provider will load; "" where it will not find any."""
    try:
        return f"TensorRT {ctypes.CDLL(LIBRARY).getInferLibVersion()}"
    except (OSError, AttributeError):
        return ""


def _is_quantized(path: Path) -> bool:
    """Whether an ONNX file has nodes that quantize: operators are named in plain text."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(b"QuantizeLinear") >= 0
