"""Inference engines behind one Protocol; a new one is one file here and one line in BACKENDS.

A backend module is imported only when it is named, so that a machine without the engine pays
nothing and breaks nothing. It provides

    PACKAGE: str                         the distribution to look for, e.g. "onnxruntime"
    INSTALL: str                         the line that installs it
    TARGETS: tuple[str, ...]             the artifacts it is for, by ``manifest.Artifact.target``;
                                         of those a device likes as well, the first comes first
    DEVICE: str                          "cpu" or "gpu"
    BUILDS: bool                         whether opening an artifact the first time takes minutes
    def precisions() -> tuple[str, ...]  what it can compute in here, the most exact first;
                                         "f32" rounds nothing that the artifact does not
    def version() -> str                 of the engine, without importing it; raises ImportError
                                         when it is absent, BackendMissingError when its GPU is
    def open(path, options) -> Backend   loads an artifact
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

from edgecnn_runtime.types import Pixels, Tensors

BACKENDS: Mapping[str, str] = {
    "onnxruntime": "edgecnn_runtime.backends.onnxruntime",
    "openvino": "edgecnn_runtime.backends.openvino",
    "onnxruntime-cuda": "edgecnn_runtime.backends.onnxruntime_cuda",
    "onnxruntime-tensorrt": "edgecnn_runtime.backends.onnxruntime_tensorrt",
    "tensorrt": "edgecnn_runtime.backends.tensorrt",
    "tensorrt-rtx": "edgecnn_runtime.backends.tensorrt_rtx",
    "fake": "edgecnn_runtime.backends.fake",
}


@dataclass(frozen=True, slots=True)
class Options:
    """How to open an artifact.

    threads: intra-op threads; 0 means every core this process may use. On a GPU without meaning.
    batch: the N of uint8[N,H,W,3] that ``run`` will be called with, fixed for the life of the
        backend so that every buffer can be allocated once.
    precision: one of the backend's ``precisions()``; "" means its first, the exact one.
    cache_dir: where what the engine compiles may be kept; None keeps nothing.
    """

    threads: int = 0
    batch: int = 1
    precision: str = ""
    cache_dir: Path | None = None


class Backend(Protocol):
    """A model loaded into an engine.

    ``pixels`` is the backend's own input buffer, uint8[N,H,W,3] BGR: preparing a frame straight
    into it and calling ``run()`` copies nothing.
    """

    @property
    def pixels(self) -> Pixels:
        """uint8[N,H,W,3], written by the caller before each ``run``; owned by the backend."""

    @property
    def outputs(self) -> Tensors:
        """The dict and the arrays that ``run`` returns; their shapes are known before it."""

    def run(self) -> Tensors:
        """Infer what ``pixels`` holds now.

        The returned arrays are owned by the backend and valid until the next ``run``; the dict
        is the same object every time. Not thread-safe: one backend, one thread at a time.
        """

    def close(self) -> None:
        """Release the engine. Idempotent; ``run`` afterwards is an error."""


def backend_module(name: str) -> ModuleType:
    """The module of one backend, imported now. Raises UsageError for an unknown name."""
    import difflib
    import importlib

    from edgecnn_runtime.errors import UsageError

    if name not in BACKENDS:
        close = difflib.get_close_matches(name, BACKENDS, n=1)
        hint = f", did you mean {close[0]!r}?" if close else "."
        raise UsageError(f"no backend {name!r}{hint} Known: {', '.join(BACKENDS)}")
    return importlib.import_module(BACKENDS[name])


def installed() -> dict[str, str]:
    """The engines usable here and their versions, in the order of BACKENDS; imports none."""
    from edgecnn_runtime.errors import BackendMissingError

    found = {}
    for name in BACKENDS:
        if name == "fake":
            continue
        with contextlib.suppress(ImportError, BackendMissingError):
            found[name] = str(backend_module(name).version())
    return found


def why_absent(name: str) -> str:
    """Why a backend cannot be used here; "" where it can. Imports no engine."""
    from edgecnn_runtime.backends.nvidia.driver import gpu
    from edgecnn_runtime.errors import BackendMissingError

    module = backend_module(name)
    try:
        if module.DEVICE == "gpu":
            gpu()  # first: without one, installing the package would not help
        module.version()
    except ImportError:
        return "not installed"
    except BackendMissingError as error:
        return str(error)
    return ""


def check_options(options: Options, precisions: tuple[str, ...], engine: str) -> None:
    """Raise UsageError for a precision the engine does not offer here, or a senseless number."""
    from edgecnn_runtime.errors import UsageError

    if options.precision and options.precision not in precisions:
        raise UsageError(
            f"{engine} does not compute in {options.precision!r} on this processor; "
            f"it offers {', '.join(precisions)}"
        )
    if options.batch < 1 or options.threads < 0:
        raise UsageError(f"no backend runs batch {options.batch} on {options.threads} threads")
