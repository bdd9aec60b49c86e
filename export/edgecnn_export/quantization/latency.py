"""How much longer one graph takes than another on this machine."""

import time
from collections.abc import Sequence
from contextlib import ExitStack

import onnx

from edgecnn_export.quantization.accuracy_gate import model_file
from edgecnn_runtime.backends import Backend, Options, open_backend
from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.types import Pixels

WARM_UP = 3
ROUNDS = 30
SECONDS = 0.8
"""The most that is spent on rounds, but for the first few."""


def measure_slowdown(
    model: onnx.ModelProto,
    base: onnx.ModelProto,
    spec: ModelSpec,
    pixels: Pixels,
    engine: str,
) -> float:
    """The time of one graph over that of another.

    Both run in turn, and the fastest run of each counts: whatever else the machine does can only
    make a run slower.

    Args:
        model: The graph that may be slower.
        base: The other one.
        spec: What both take and give.
        pixels: uint8[N,H,W,3] BGR; the first ones are run.
        engine: One that takes both.

    Raises:
        UnsupportedModelError: The engine does not take a graph.
    """
    options = Options(batch=spec.smallest_batch)
    with ExitStack() as stack:
        files = [stack.enter_context(model_file(graph)) for graph in (model, base)]
        backends = [
            stack.enter_context(open_backend(engine, path, options, spec)) for path in files
        ]
        own, other = _fastest(backends, pixels)
    return own / other


def _fastest(backends: Sequence[Backend], pixels: Pixels) -> list[float]:
    """Seconds of each backend's fastest run."""
    for backend in backends:
        backend.pixels[:] = pixels[:1]
        for _ in range(WARM_UP):
            backend.run()
    fastest = [float("inf")] * len(backends)
    start = time.perf_counter()
    for number in range(ROUNDS):
        if number >= WARM_UP and time.perf_counter() - start > SECONDS:
            break
        for index, backend in enumerate(backends):
            begin = time.perf_counter()
            backend.run()
            fastest[index] = min(fastest[index], time.perf_counter() - begin)
    return fastest
