"""ONNX Runtime's TensorRT provider: TensorRT for what it takes, CUDA for the rest."""

import ctypes
import mmap
from collections.abc import Sequence
from importlib import import_module, util
from pathlib import Path
from tempfile import TemporaryDirectory

from edgecnn_runtime.backends.base import Backend, Engine, Options
from edgecnn_runtime.backends.nvidia.driver import float_precisions, gpu
from edgecnn_runtime.backends.nvidia.engine_cache import load_engine, store_engine
from edgecnn_runtime.backends.nvidia.session import import_with, open_gpu_session
from edgecnn_runtime.backends.nvidia.tensorrt_engine import engine_key, log_build
from edgecnn_runtime.backends.onnxruntime_cuda import cuda_provider
from edgecnn_runtime.backends.ort_session import WHEELS, Provider

PROVIDER = "TensorrtExecutionProvider"
LIBRARY = "libnvinfer.so.10"
"""What the provider is linked to."""


def precisions() -> tuple[str, ...]:
    """tf32 where the GPU can (the provider has no switch for it), else f32."""
    return float_precisions()[-1:]


def load(path: Path, options: Options) -> Backend:
    """The artifact in a session on the GPU; its engine is built where none was stored."""
    device = gpu()
    if util.find_spec("tensorrt_libs"):
        import_module("tensorrt_libs")  # where pip put them the provider would not look
    ort = import_with(PROVIDER, ENGINE.install)
    version = f"{ENGINE.label} {ort.__version__}, {_tensorrt_version()}"
    key = engine_key(path, options, version, device)
    quantized = _is_quantized(path)
    stored = load_engine(options.cache_dir, key) if options.cache_dir else None
    with TemporaryDirectory() as empty:
        folder = stored or Path(empty)

        def providers(stream: int, graph: bool) -> Sequence[Provider]:
            return [
                tensorrt_provider(stream, folder, quantized=quantized, graph=graph),
                cuda_provider(stream, exact=False, graph=False),
            ]

        if stored is None:
            log_build(path, ENGINE.label, device, options)
        session = open_gpu_session(path, options, providers)
        if stored is None and options.cache_dir:
            files = {file.name: file.read_bytes() for file in folder.iterdir()}
            store_engine(options.cache_dir, key, files)
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


def _tensorrt_version() -> str:
    """Of the TensorRT that the provider will load; "" where it will not find any."""
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


ENGINE = Engine(
    name="onnxruntime-tensorrt",
    label="ONNX Runtime's TensorRT provider",
    packages=("onnxruntime-gpu",),
    exclusive=WHEELS,
    extra="gpu-tensorrt",
    device="gpu",
    find_device=gpu,
    targets=("trt", "any"),
    weights=("int8", "fp32"),  # weakly typed, it might round what must stay in float32
    needs_build=True,
    precisions=precisions,
    load=load,
)
