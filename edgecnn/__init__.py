"""What a person types (``edgecnn.cli``) and trains (``edgecnn.models``, ``edgecnn.train``)."""

from typing import Any

from edgecnn_runtime import __version__

__all__ = ["__version__", "save_checkpoint"]


def __getattr__(name: str) -> Any:
    """``save_checkpoint`` needs torch, so it is imported when it is first asked for."""
    if name == "save_checkpoint":
        from edgecnn_export.checkpoint import save_checkpoint

        return save_checkpoint
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
