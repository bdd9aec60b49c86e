"""The edgecnn runtime: bundles in, camera frames in, results out; no torch in it.

from edgecnn_runtime import load
model = load("digits.edge")
result = model(frame)  # uint8[H,W,3] BGR
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgecnn_runtime.model import Model as Model
    from edgecnn_runtime.model import load as load
    from edgecnn_runtime.types import Box as Box
    from edgecnn_runtime.types import Classification as Classification
    from edgecnn_runtime.types import Detection as Detection
    from edgecnn_runtime.types import Embedding as Embedding
    from edgecnn_runtime.types import Frame as Frame
    from edgecnn_runtime.types import Reading as Reading
    from edgecnn_runtime.types import Result as Result

__version__ = "0.2.0"

_HOMES = {
    "load": "model",
    "Model": "model",
    "Box": "types",
    "Classification": "types",
    "Detection": "types",
    "Embedding": "types",
    "Frame": "types",
    "Reading": "types",
    "Result": "types",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is: a command that needs no model loads no OpenCV."""
    if name in _HOMES:
        return getattr(import_module(f"edgecnn_runtime.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'edgecnn_runtime' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
