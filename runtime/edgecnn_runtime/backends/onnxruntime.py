"""ONNX Runtime on the CPU: loads in a tenth of a second, runs everywhere."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgecnn_runtime.backends.base import Engine, Options
from edgecnn_runtime.backends.ort_session import WHEELS, import_onnxruntime, open_session
from edgecnn_runtime.device.cpu import cpu_features
from edgecnn_runtime.types import Tensors


def precisions() -> tuple[str, ...]:
    """f32; on Arm with bf16 instructions also bf16 (float matrix products in bfloat16)."""
    return ("f32", "bf16") if "bf16" in cpu_features() else ("f32",)


class OnnxRuntime:
    """One session, with input and outputs bound to buffers that stay."""

    def __init__(
        self, path: Path, options: Options, settings: Mapping[str, str] | None = None
    ) -> None:
        """Open a session and bind its buffers.

        Args:
            path: The ONNX file.
            options: How to open it.
            settings: Further entries of the session's configuration.
        """
        ort = import_onnxruntime()
        bf16 = {"mlas.enable_gemm_fastmath_arm64_bfloat16": "1"}
        entries = {**(settings or {}), **(bf16 if options.precision == "bf16" else {})}
        session = open_session(path, threads=options.threads, settings=entries)
        given = session.get_inputs()[0]
        self.pixels = np.zeros((options.batch, *given.shape[1:]), np.uint8)
        # the first run shows the output shapes, and its arrays become the output buffers
        names = [output.name for output in session.get_outputs()]
        outputs = session.run(names, {given.name: self.pixels})
        self.outputs: Tensors = dict(zip(names, outputs, strict=True))
        binding = session.io_binding()
        binding.bind_ortvalue_input(given.name, ort.OrtValue.ortvalue_from_numpy(self.pixels))
        for name, buffer in self.outputs.items():
            binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(buffer))
        self._session, self._binding = session, binding

    def run(self) -> Tensors:
        """Infer what ``pixels`` holds now."""
        self._session.run_with_iobinding(self._binding)
        return self.outputs

    def close(self) -> None:
        """Release the session and its threads."""
        self._session = self._binding = None


ENGINE = Engine(
    name="onnxruntime",
    label="ONNX Runtime",
    packages=WHEELS,
    exclusive=WHEELS,
    extra="cpu",
    targets=("any", "cpu", "cpu-rr"),
    precisions=precisions,
    load=OnnxRuntime,
)
