"""ONNX → a serialized engine, with TensorRT or TensorRT-RTX, which share one API.

The network is strongly typed: what is computed in which precision is in the ONNX file, and the
builder only chooses kernels. TensorRT 10 and 11 take that, and 11 takes nothing else.
"""

import logging
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from edgecnn_runtime.errors import UnsupportedModelError

MOST = 100
"""Different complaints that are remembered."""

log = logging.getLogger(__name__)


def build_engine(
    trt: ModuleType, path: Path, *, batch: int, precision: str, capability: str = ""
) -> bytes:
    """The engine of an artifact, for one batch size.

    trt: ``tensorrt`` or ``tensorrt_rtx``. precision: "f32" multiplies floats exactly, "tf32" with
    10 bits of mantissa. capability: what TensorRT-RTX builds for, such as "SM89", which needs no
    GPU; "" is the GPU of this machine.
    Raises UnsupportedModelError where the file is not taken, or would be misread.
    """
    said = make_logger(trt)
    said.complaints.clear()
    builder = trt.Builder(said)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, said)
    if not parser.parse_from_file(str(path)):
        raise UnsupportedModelError(_why(parser, said.complaints))
    misread = next((words for words in said.complaints if "UINT8" in words), "")
    if misread:
        raise UnsupportedModelError(f"its unsigned numbers would be read as signed ones: {misread}")
    config = builder.create_builder_config()
    _set_batch(trt, builder, network, config, batch)
    switch = config.set_flag if precision == "tf32" else config.clear_flag
    switch(trt.BuilderFlag.TF32)
    if hasattr(trt, "ComputeCapability"):
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, capability or "CURRENT"), 0)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise UnsupportedModelError("; ".join(said.complaints) or "no engine came of it")
    return bytes(plan)


@lru_cache(maxsize=2)
def make_logger(trt: ModuleType) -> Any:
    """The logger of one TensorRT: it takes one for the life of the process.

    Its ``complaints`` are the warnings and errors since they were last cleared, each once.
    """

    class Listener(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.complaints: list[str] = []

        def log(self, severity: Any, words: str) -> None:
            log.debug("%s: %s", severity, words)
            words = " ".join(words.split())
            room = len(self.complaints) < MOST and words not in self.complaints
            if severity <= trt.ILogger.WARNING and room:
                self.complaints.append(words)

    return Listener()


def _set_batch(trt: ModuleType, builder: Any, network: Any, config: Any, batch: int) -> None:
    pixels = network.get_input(0)
    if network.num_inputs != 1 or pixels.dtype != trt.DataType.UINT8 or len(pixels.shape) != 4:
        raise UnsupportedModelError("its input is not uint8[N,H,W,3]")
    allowed, *size = pixels.shape
    if allowed not in (-1, batch) or -1 in size:
        raise UnsupportedModelError(f"it takes {[allowed, *size]}")
    if allowed == -1:
        shape = (batch, *size)
        profile = builder.create_optimization_profile()
        profile.set_shape(pixels.name, shape, shape, shape)
        config.add_optimization_profile(profile)


def _why(parser: Any, complaints: list[str]) -> str:
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    found = [
        f"{error.node_operator()} {error.node_name()!r}: {error.desc()}"
        if error.node_operator()
        else str(error.desc())
        for error in errors
    ]
    return "; ".join(dict.fromkeys(found or complaints)) or "the parser gave no reason"
