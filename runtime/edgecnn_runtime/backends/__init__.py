"""Inference engines behind one Protocol; a new one is one file here and one line in BACKENDS.

An engine's module is imported only when the engine is named, and imports the engine only when it
opens something: a machine without it pays nothing and breaks nothing.
"""

import contextlib
from importlib import import_module
from pathlib import Path

from edgecnn_runtime.backends.base import Backend as Backend
from edgecnn_runtime.backends.base import Engine as Engine
from edgecnn_runtime.backends.base import Options as Options
from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.errors import BackendMissingError, UsageError

BACKENDS: dict[str, str] = {
    "onnxruntime": "edgecnn_runtime.backends.onnxruntime",
    "openvino": "edgecnn_runtime.backends.openvino",
    "onnxruntime-exact": "edgecnn_runtime.backends.onnxruntime_exact",
    "onnxruntime-cuda": "edgecnn_runtime.backends.onnxruntime_cuda",
    "onnxruntime-tensorrt": "edgecnn_runtime.backends.onnxruntime_tensorrt",
    "tensorrt": "edgecnn_runtime.backends.tensorrt",
    "tensorrt-rtx": "edgecnn_runtime.backends.tensorrt_rtx",
    "fake": "edgecnn_runtime.backends.fake",
}
"""Name → module. The order is that of every list, and of engines that are equally good."""


def get_engine(name: str) -> Engine:
    """The engine of this name.

    Raises:
        UsageError: there is none; the message suggests the nearest name.
    """
    if name not in BACKENDS:
        import difflib

        close = difflib.get_close_matches(name, BACKENDS, n=1)
        hint = f", did you mean {close[0]!r}?" if close else "."
        raise UsageError(f"no backend {name!r}{hint} Known: {', '.join(BACKENDS)}")
    engine: Engine = import_module(BACKENDS[name]).ENGINE
    return engine


def open_backend(
    name: str, path: Path, options: Options, spec: ModelSpec | None = None
) -> "contextlib.closing[Backend]":
    """``Engine.open`` for the length of a ``with`` block, which closes the backend."""
    return contextlib.closing(get_engine(name).open(path, options, spec))


def real_engines() -> list[Engine]:
    """Every engine that may serve without being named, installed or not."""
    return [engine for engine in map(get_engine, BACKENDS) if not engine.by_name_only]


def installed() -> dict[str, str]:
    """The versions of the engines that can be used here, by name; imports none."""
    return {engine.name: engine.version() for engine in real_engines() if not engine.problem()}


def require_installed() -> dict[str, str]:
    """``installed()``.

    Raises:
        BackendMissingError: none is installed; the message lists every install command.
    """
    versions = installed()
    if not versions:
        lines = [f"\n  {engine.install}    # {engine.name}" for engine in real_engines()]
        raise BackendMissingError("no inference engine is installed here; one of:" + "".join(lines))
    return versions


def distributions() -> list[str]:
    """The distributions of all engines, for lists of versions."""
    return list(dict.fromkeys(name for engine in real_engines() for name in engine.packages))
