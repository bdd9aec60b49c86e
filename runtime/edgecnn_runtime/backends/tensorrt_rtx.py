"""TensorRT-RTX: builds in seconds and compiles kernels on the device; GeForce and RTX cards.

It has no fast INT8 convolutions, so float comes first unless it was measured here.
"""

from pathlib import Path

from edgecnn_runtime.backends import Backend, Options, check_options
from edgecnn_runtime.backends.nvidia.driver import float_precisions, gpu, version_with_gpu
from edgecnn_runtime.backends.nvidia.tensorrt_engine import open_engine
from edgecnn_runtime.errors import BackendMissingError

PACKAGE = "tensorrt-rtx-cu13"
INSTALL = "pip install 'edgecnn-runtime[tensorrt-rtx]'"
TARGETS = ("any", "trt")
DEVICE, BUILDS = "gpu", True

WHEELS = (PACKAGE, "tensorrt-rtx-cu12")


def precisions() -> tuple[str, ...]:
    """f32; from compute capability 8.0 also tf32. Raises BackendMissingError without a GPU."""
    return float_precisions()


def version() -> str:
    """Of the installed wheel. Raises ImportError without it, BackendMissingError without a GPU."""
    return version_with_gpu(*WHEELS)


def open(path: Path, options: Options) -> Backend:  # noqa: A001
    """Load an artifact, building its engine where none was kept.

    Raises BackendMissingError where there is no GPU or no TensorRT-RTX, UnsupportedModelError
    where it does not take the file, the batch or the GPU.
    """
    here = gpu()
    check_options(options, precisions(), "TensorRT-RTX")
    try:
        import tensorrt_rtx
    except ImportError as error:
        raise BackendMissingError(
            f"TensorRT-RTX cannot be used here ({error}): {INSTALL}"
        ) from error
    return open_engine(tensorrt_rtx, "TensorRT-RTX", path, options, here)
