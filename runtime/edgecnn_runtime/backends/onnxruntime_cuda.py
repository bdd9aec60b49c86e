"""ONNX Runtime's CUDA provider: float32 and float16 on an NVIDIA GPU, with nothing to build."""

from collections.abc import Sequence
from pathlib import Path

from edgecnn_runtime.backends.base import Backend, Engine, Options
from edgecnn_runtime.backends.nvidia.driver import float_precisions, gpu
from edgecnn_runtime.backends.nvidia.session import import_with, open_gpu_session
from edgecnn_runtime.backends.ort_session import WHEELS, Provider

PROVIDER = "CUDAExecutionProvider"


def load(path: Path, options: Options) -> Backend:
    """The artifact in a session on the GPU."""
    import_with(PROVIDER, ENGINE.install)
    exact = options.precision in {"", "f32"}

    def providers(stream: int, graph: bool) -> Sequence[Provider]:
        return [cuda_provider(stream, exact=exact, graph=graph)]

    return open_gpu_session(path, options, providers)


def cuda_provider(stream: int, *, exact: bool, graph: bool) -> Provider:
    """The provider and its options (ONNX Runtime's "CUDA Execution Provider" page)."""
    settings = {
        "device_id": "0",
        "user_compute_stream": str(stream),
        "use_tf32": "0" if exact else "1",
        "enable_cuda_graph": "1" if graph else "0",
    }
    return PROVIDER, settings


ENGINE = Engine(
    name="onnxruntime-cuda",
    label="ONNX Runtime's CUDA provider",
    packages=("onnxruntime-gpu",),
    exclusive=WHEELS,
    extra="gpu",
    install_jetson="install onnxruntime-gpu from NVIDIA's index for this JetPack, and: "
    "pip install 'cuda-bindings<13'",
    device="gpu",
    find_device=gpu,
    targets=("any", "trt"),
    weights=("fp32", "fp16"),  # INT8 convolutions would run in float, behind their roundings
    precisions=float_precisions,
    load=load,
)
