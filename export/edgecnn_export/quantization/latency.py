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
SECONDS = 1.5
"""The most that is spent on the rounds of one engine, but for the first few."""


def measure_slowdown(
    model: onnx.ModelProto,
    base: onnx.ModelProto,
    spec: ModelSpec,
    pixels: Pixels,
    engines: Sequence[str],
) -> float:
    """The time of one graph over that of another, on the engine where it is largest.

    Both run in turn, and the fastest run of each counts: whatever else the machine does can only
    make a run slower.

    Args:
        model: The graph that may be slower.
        base: The other one.
        spec: What both take and give.
        pixels: uint8[N,H,W,3] BGR; the first ones are run.
        engines: CPU engines that take both.

    Raises:
        UnsupportedModelError: An engine does not take a graph.
    """
    with model_file(model) as first, model_file(base) as second:
        ratios = []
        for engine in engines:
            with ExitStack() as stack:
                options = Options(batch=spec.smallest_batch)
                backends = [
                    stack.enter_context(open_backend(engine, path, options, spec))
                    for path in (first, second)
                ]
                own, other = _fastest(backends, pixels)
                ratios.append(own / other)
    return max(ratios)


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
