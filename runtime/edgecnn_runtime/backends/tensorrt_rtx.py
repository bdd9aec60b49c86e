"""TensorRT-RTX: builds in seconds and compiles kernels on the device; GeForce and RTX cards.

It has no fast INT8 convolutions, so float comes first unless it was measured here.
"""

from pathlib import Path

from edgecnn_runtime.backends.base import Backend, Engine, Options
from edgecnn_runtime.backends.nvidia.driver import float_precisions, gpu
from edgecnn_runtime.backends.nvidia.tensorrt_engine import open_engine


def load(path: Path, options: Options) -> Backend:
    """The artifact's engine, built where none was stored."""
    import tensorrt_rtx

    return open_engine(tensorrt_rtx, ENGINE.label, path, options, gpu())


ENGINE = Engine(
    name="tensorrt-rtx",
    label="TensorRT-RTX",
    packages=("tensorrt-rtx-cu13", "tensorrt-rtx-cu12"),
    extra="tensorrt-rtx",
    device="gpu",
    find_device=gpu,
    targets=("any", "trt"),
    weights=("fp16", "fp32", "int8"),
    needs_build=True,
    precisions=float_precisions,
    load=load,
)
