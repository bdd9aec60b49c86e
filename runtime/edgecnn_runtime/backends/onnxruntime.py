"""ONNX Runtime on the CPU: loads in a tenth of a second, runs everywhere."""

import logging
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn_runtime.backends import Options, check_options
from edgecnn_runtime.device.cpu import cpu_features, usable_cores
from edgecnn_runtime.errors import BackendMissingError, UnsupportedModelError
from edgecnn_runtime.types import Pixels, Tensors

PACKAGE = "onnxruntime"
INSTALL = "pip install 'edgecnn-runtime[cpu]'"
TARGETS = ("any", "cpu", "cpu-rr")
DEVICE, BUILDS = "cpu", False

WHEELS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-qnn")
"""Distributions of the one package ``onnxruntime``: side by side they overwrite each other."""

SESSION: Mapping[str, str] = {
    # Workers wait for work spinning. By default they do so for milliseconds, also after the run,
    # and take the cores from decoding and resizing: on two busy cores that doubled a run.
    "session.intra_op.spin_duration_us": "100",
}

log = logging.getLogger(__name__)


def precisions() -> tuple[str, ...]:
    """f32; on Arm with bf16 instructions also bf16 (float matrix products in bfloat16)."""
    return ("f32", "bf16") if "bf16" in cpu_features() else ("f32",)


def version() -> str:
    """Of the installed wheel, without importing it. Raises ImportError when there is none."""
    return metadata.version(next(iter(wheels()), PACKAGE))


def wheels() -> tuple[str, ...]:
    """Which of WHEELS are installed; more than one is a broken environment."""
    return tuple(name for name in WHEELS if any(metadata.distributions(name=name)))


def open(path: Path, options: Options) -> "OnnxRuntime":  # noqa: A001
    """Load an artifact.

    Raises BackendMissingError where ONNX Runtime cannot be imported, UnsupportedModelError where
    it does not take the file or the batch.
    """
    check_options(options, precisions(), PACKAGE)
    return OnnxRuntime(path, options)


class OnnxRuntime:
    """One InferenceSession, with input and outputs bound to buffers that stay."""

    def __init__(self, path: Path, options: Options) -> None:
        ort = import_onnxruntime()
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = options.threads or usable_cores()
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        for key, value in SESSION.items():
            settings.add_session_config_entry(key, value)
        if options.precision == "bf16":
            settings.add_session_config_entry("mlas.enable_gemm_fastmath_arm64_bfloat16", "1")
        try:
            session = ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
            given = session.get_inputs()[0]
            _, height, width, channels = given.shape
            self._pixels = np.zeros((options.batch, height, width, channels), np.uint8)
            # the first run shows the output shapes, and its arrays become the output buffers
            names = [output.name for output in session.get_outputs()]
            outputs = session.run(names, {given.name: self._pixels})
            self._outputs: Tensors = dict(zip(names, outputs, strict=True))
            binding = session.io_binding()
            binding.bind_ortvalue_input(given.name, ort.OrtValue.ortvalue_from_numpy(self._pixels))
            for name, buffer in self._outputs.items():
                binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(buffer))
        except Exception as error:  # the engine's exceptions share no base class
            reason = " ".join(str(error).split())
            raise UnsupportedModelError(
                f"{path}: ONNX Runtime {ort.__version__} does not take it with batch "
                f"{options.batch}: {reason}"
            ) from error
        self._session, self._binding = session, binding

    @property
    def pixels(self) -> Pixels:
        """uint8[N,H,W,3], read in place by the session."""
        return self._pixels

    @property
    def outputs(self) -> Tensors:
        """Written in place by the engine."""
        return self._outputs

    def run(self) -> Tensors:
        """Infer what ``pixels`` holds now; the arrays are overwritten by the next run."""
        self._session.run_with_iobinding(self._binding)
        return self._outputs

    def close(self) -> None:
        """Release the session and its threads."""
        self._session = self._binding = None


def import_onnxruntime(install: str = INSTALL) -> Any:
    """The package ``onnxruntime``; a warning names wheels that overwrote each other.

    install: what brings the one that is wanted. Raises BackendMissingError where it is absent.
    """
    installed = wheels()
    clash = (
        f"{' and '.join(installed)} are installed side by side and overwrite each other's files: "
        f"pip uninstall -y {' '.join(installed)} && {install}"
    )
    try:
        import onnxruntime
    except ImportError as error:
        fix = clash if len(installed) > 1 else install
        raise BackendMissingError(f"ONNX Runtime cannot be used here ({error}): {fix}") from error
    if len(installed) > 1:
        log.warning(clash)
    return onnxruntime
