"""The edgecnn runtime: loads bundles and turns camera frames into results, without torch.

from edgecnn_runtime import load
model = load("digits.edge")
result = model(frame)  # uint8[H,W,3] BGR
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgecnn_runtime.assembly import load_pipeline as load_pipeline
    from edgecnn_runtime.model import Model as Model
    from edgecnn_runtime.model import load as load
    from edgecnn_runtime.types import *  # noqa: F403  (so that a new result type needs no line here)

__version__ = "0.2.0"

# ONNX Runtime's Linux wheels report home unless this stands in the environment before their import.
# It is set here, so that it holds for whatever imports them later: torch's exporter does, too.
os.environ["ORT_DISABLE_TELEMETRY"] = os.environ.get("ORT_DISABLE_TELEMETRY") or "1"

_LOADERS = {"load": "model", "Model": "model", "load_pipeline": "assembly"}
"""The module of each name that needs OpenCV."""


def __getattr__(name: str) -> Any:
    """Import a name when it is used: a command that needs no model loads no OpenCV."""
    if name in _LOADERS:
        import_module("edgecnn_runtime.requirements").require_opencv()
        return getattr(import_module(f"edgecnn_runtime.{_LOADERS[name]}"), name)
    types = import_module("edgecnn_runtime.types")
    if name in types.__all__:
        return getattr(types, name)
    raise AttributeError(f"module 'edgecnn_runtime' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_LOADERS, *import_module("edgecnn_runtime.types").__all__]
