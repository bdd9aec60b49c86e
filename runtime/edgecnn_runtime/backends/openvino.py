"""OpenVINO on the CPU: half a second to load, often the fastest on x86."""

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn_runtime.backends import Options, check_options
from edgecnn_runtime.device.cpu import cpu_features, usable_cores
from edgecnn_runtime.errors import BackendMissingError, UnsupportedModelError
from edgecnn_runtime.types import Pixels, Tensors

PACKAGE = "openvino"
INSTALL = "pip install 'edgecnn-runtime[openvino]'"
TARGETS = ("any", "openvino", "cpu", "cpu-rr")
DEVICE, BUILDS = "cpu", False


def precisions() -> tuple[str, ...]:
    """f32, and what this processor computes convolutions in natively: bf16, f16.

    Left to itself OpenVINO takes the fastest of them; here a bundle is exact unless told.
    """
    found = cpu_features()
    bf16 = found & {"avx512_bf16", "amx_bf16"}
    f16 = found & {"avx512_fp16", "amx_fp16", "fp16"}
    return ("f32", *(("bf16",) if bf16 else ()), *(("f16",) if f16 else ()))


def version() -> str:
    """Of the installed wheel, without importing it. Raises ImportError when there is none."""
    return metadata.version(PACKAGE)


def open(path: Path, options: Options) -> "OpenVino":  # noqa: A001
    """Load an artifact.

    Raises BackendMissingError where OpenVINO cannot be imported, UnsupportedModelError where it
    does not take the file or the batch.
    """
    check_options(options, precisions(), PACKAGE)
    return OpenVino(path, options)


class OpenVino:
    """One infer request, its input and outputs set to buffers that stay."""

    def __init__(self, path: Path, options: Options) -> None:
        try:
            import openvino
        except ImportError as error:
            raise BackendMissingError(
                f"OpenVINO cannot be used here ({error}): {INSTALL}"
            ) from error
        try:
            core = openvino.Core()
            model = core.read_model(path)
            shape = model.inputs[0].partial_shape
            shape[0] = options.batch
            model.reshape(shape)
            self._compiled = core.compile_model(model, "CPU", _settings(options))
            self._request: Any = self._compiled.create_infer_request()
            self._pixels = np.zeros(tuple(self._compiled.inputs[0].shape), np.uint8)
            self._request.set_input_tensor(openvino.Tensor(self._pixels, shared_memory=True))
            self._outputs: Tensors = {}
            for index, output in enumerate(self._compiled.outputs):
                buffer = np.empty(tuple(output.shape), output.element_type.to_dtype())
                self._request.set_output_tensor(index, openvino.Tensor(buffer, shared_memory=True))
                # a tensor may have other names besides the one ONNX gave it; all lead to it
                self._outputs |= dict.fromkeys(output.names, buffer)
            self.run()
        except Exception as error:  # the engine's exceptions share no base class
            reason = " ".join(str(error).split())
            raise UnsupportedModelError(
                f"{path}: OpenVINO {openvino.__version__} does not take it with batch "
                f"{options.batch}: {reason}"
            ) from error

    @property
    def pixels(self) -> Pixels:
        """uint8[N,H,W,3], read in place by the engine."""
        return self._pixels

    @property
    def outputs(self) -> Tensors:
        """Written in place by the engine."""
        return self._outputs

    def run(self) -> Tensors:
        """Infer what ``pixels`` holds now; the arrays are overwritten by the next run."""
        self._request.infer(share_outputs=True)
        return self._outputs

    def close(self) -> None:
        """Release the request and the compiled model."""
        self._request = self._compiled = None


def _settings(options: Options) -> dict[str, Any]:
    # no CACHE_DIR: it would save 60 ms a load and keep a second copy of the weights on the disk
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": options.precision or precisions()[0],
        "INFERENCE_NUM_THREADS": options.threads or usable_cores(),
    }
