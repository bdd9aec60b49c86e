"""OpenVINO on the CPU: half a second to load, often the fastest on x86."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn_runtime.backends.base import Engine, Options
from edgecnn_runtime.device.cpu import cpu_features, usable_cores
from edgecnn_runtime.types import Tensors

TELEMETRY = "openvino_telemetry"
"""The package that OpenVINO reports with, if it can import it."""


def precisions() -> tuple[str, ...]:
    """f32, and what this processor computes convolutions in natively: bf16, f16.

    Left to itself OpenVINO takes the fastest of them; here f32 is the default.
    """
    features = cpu_features()
    bf16 = features & {"avx512_bf16", "amx_bf16"}
    f16 = features & {"avx512_fp16", "amx_fp16", "fp16"}
    return ("f32", *(("bf16",) if bf16 else ()), *(("f16",) if f16 else ()))


def import_openvino() -> Any:
    """Import the package ``openvino`` without its telemetry.

    Its import reports itself to an analytics service and writes an identifier into the home folder,
    unless the package openvino-telemetry is absent. It is hidden until OpenVINO has been imported.

    Raises:
        ImportError: It is not installed.
    """
    imported = TELEMETRY in sys.modules
    if not imported:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # Python's mark of what is absent
    try:
        import openvino
    finally:
        if not imported:
            del sys.modules[TELEMETRY]
    return openvino


class OpenVino:
    """One infer request, its input and outputs set to buffers that stay."""

    def __init__(self, path: Path, options: Options) -> None:
        openvino = import_openvino()
        core = openvino.Core()
        model = core.read_model(path)
        shape = model.inputs[0].partial_shape
        shape[0] = options.batch
        model.reshape(shape)
        self._compiled = core.compile_model(model, "CPU", _settings(options))
        self._request: Any = self._compiled.create_infer_request()
        self.pixels = np.zeros(tuple(self._compiled.inputs[0].shape), np.uint8)
        self._request.set_input_tensor(openvino.Tensor(self.pixels, shared_memory=True))
        self.outputs: Tensors = {}
        for index, output in enumerate(self._compiled.outputs):
            buffer = np.empty(tuple(output.shape), output.element_type.to_dtype())
            self._request.set_output_tensor(index, openvino.Tensor(buffer, shared_memory=True))
            # a tensor may have other names besides the one ONNX gave it; all lead to it
            self.outputs |= dict.fromkeys(output.names, buffer)
        self.run()

    def run(self) -> Tensors:
        """Infer what ``pixels`` holds now."""
        self._request.infer(share_outputs=True)
        return self.outputs

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


ENGINE = Engine(
    name="openvino",
    label="OpenVINO",
    packages=("openvino",),
    extra="openvino",
    targets=("any", "openvino", "cpu", "cpu-rr"),
    precisions=precisions,
    load=OpenVino,
)
