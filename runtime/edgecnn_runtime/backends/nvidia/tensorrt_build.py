"""ONNX → a serialized engine, with TensorRT or TensorRT-RTX, which share one API.

The network is strongly typed: the ONNX file determines every precision, and the builder only
chooses kernels. TensorRT 10 takes such networks, and TensorRT 11 takes no others.
"""

import logging
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from edgecnn_runtime.errors import UnsupportedModelError

MAX_COMPLAINTS = 100
"""How many different complaints a logger stores."""

log = logging.getLogger(__name__)


def build_engine(
    trt: ModuleType, path: Path, *, batch: int, precision: str, capability: str = ""
) -> bytes:
    """Build the engine of an artifact, for one batch size.

    Args:
        trt: ``tensorrt`` or ``tensorrt_rtx``.
        path: the ONNX file.
        batch: pictures per run.
        precision: "f32" multiplies floats exactly, "tf32" with 10 bits of mantissa.
        capability: what TensorRT-RTX builds for without a GPU, such as "SM89"; "" is the GPU of
            this machine.

    Returns:
        The serialized engine.

    Raises:
        UnsupportedModelError: TensorRT does not take the file, or would misread it.
    """
    logger = make_logger(trt)
    logger.complaints.clear()
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        raise UnsupportedModelError(_parser_errors(parser, logger.complaints))
    misread = next((words for words in logger.complaints if "UINT8" in words), "")
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
        raise UnsupportedModelError("; ".join(logger.complaints) or "no engine was built")
    return bytes(plan)


@lru_cache(maxsize=2)
def make_logger(trt: ModuleType) -> Any:
    """The logger of a TensorRT, which takes only one for the life of the process.

    Its ``complaints`` are the warnings and errors since they were last cleared, without repetition.
    """

    class Listener(trt.ILogger):  # type: ignore[misc, name-defined] # there is no such package without a GPU
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.complaints: list[str] = []

        def log(self, severity: Any, words: str) -> None:
            log.debug("%s: %s", severity, words)
            words = " ".join(words.split())
            new = len(self.complaints) < MAX_COMPLAINTS and words not in self.complaints
            if severity <= trt.ILogger.WARNING and new:
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


def _parser_errors(parser: Any, complaints: list[str]) -> str:
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    messages = [
        f"{error.node_operator()} {error.node_name()!r}: {error.desc()}"
        if error.node_operator()
        else str(error.desc())
        for error in errors
    ]
    return "; ".join(dict.fromkeys(messages or complaints)) or "the parser gave no reason"
