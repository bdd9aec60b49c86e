"""Inference engines behind one Protocol; a new one is one file here and one line in BACKENDS.

A backend module is imported only when it is named, so that a machine without the engine pays
nothing and breaks nothing. It provides

    PACKAGE: str                    the distribution to look for, e.g. "onnxruntime"
    INSTALL: str                    the line that installs it
    PRECISIONS: tuple[str, ...]     inference precisions it offers here, the exact one first
    def version() -> str            of the engine; raises ImportError when it is absent
    def open(path, options) -> Backend
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

from edgecnn_runtime.types import Pixels, Tensors

BACKENDS: Mapping[str, str] = {
    "onnxruntime": "edgecnn_runtime.backends.onnxruntime",
    "openvino": "edgecnn_runtime.backends.openvino",
    "fake": "edgecnn_runtime.backends.fake",
}


@dataclass(frozen=True, slots=True)
class Options:
    """How to open an artifact.

    threads: intra-op threads; 0 means every core this process may use.
    batch: the N of uint8[N,H,W,3] that ``run`` will be called with, fixed for the life of the
        backend so that every buffer can be allocated once.
    precision: one of the backend's PRECISIONS; "" means its first, the exact one.
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
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UsageError(f"no backend {name!r}{hint} Known: {', '.join(BACKENDS)}")
    return importlib.import_module(BACKENDS[name])
