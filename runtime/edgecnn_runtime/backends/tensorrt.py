"""TensorRT 10 and 11: the fastest on an NVIDIA GPU, after minutes of building an engine there."""

from pathlib import Path

from edgecnn_runtime.backends import Backend, Options, check_options
from edgecnn_runtime.backends.nvidia.driver import float_precisions, gpu, version_with_gpu
from edgecnn_runtime.backends.nvidia.tensorrt_engine import open_engine
from edgecnn_runtime.errors import BackendMissingError

PACKAGE = "tensorrt"
INSTALL = "pip install 'edgecnn-runtime[tensorrt]'"
TARGETS = ("trt", "any")
DEVICE, BUILDS = "gpu", True

WHEELS = (PACKAGE, "tensorrt-cu13", "tensorrt-cu12")


def precisions() -> tuple[str, ...]:
    """f32; from compute capability 8.0 also tf32. Raises BackendMissingError without a GPU."""
    return float_precisions()


def version() -> str:
    """Of the installed wheel. Raises ImportError without it, BackendMissingError without a GPU."""
    return version_with_gpu(*WHEELS)


def open(path: Path, options: Options) -> Backend:  # noqa: A001
    """Load an artifact, building its engine where none was kept, which takes minutes.

    Raises BackendMissingError where there is no GPU or no TensorRT, UnsupportedModelError where
    it does not take the file or the batch.
    """
    here = gpu()
    check_options(options, precisions(), "TensorRT")
    try:
        import tensorrt
    except ImportError as error:
        raise BackendMissingError(f"TensorRT cannot be used here ({error}): {INSTALL}") from error
    return open_engine(tensorrt, "TensorRT", path, options, here)
