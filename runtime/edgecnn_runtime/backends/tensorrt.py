"""TensorRT 10 and 11: the fastest on an NVIDIA GPU, after minutes of building an engine there."""

from pathlib import Path

from edgecnn_runtime.backends.base import Backend, Engine, Options
from edgecnn_runtime.backends.nvidia.driver import float_precisions, gpu
from edgecnn_runtime.backends.nvidia.tensorrt_engine import open_engine


def load(path: Path, options: Options) -> Backend:
    """The artifact's engine, built where none was stored."""
    import tensorrt

    return open_engine(tensorrt, ENGINE.label, path, options, gpu())


ENGINE = Engine(
    name="tensorrt",
    label="TensorRT",
    packages=("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    extra="tensorrt",
    install_jetson="sudo apt install python3-libnvinfer && pip install 'cuda-bindings<13', "
    "in an environment made with --system-site-packages",
    device="gpu",
    find_device=gpu,
    targets=("trt", "any"),
    weights=("int8", "fp16", "fp32"),
    needs_build=True,
    precisions=float_precisions,
    load=load,
)
