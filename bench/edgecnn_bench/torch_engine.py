"""The checkpoint in torch, given the same bytes as an artifact: what exporting saves.

Needs the export extra, which a device does not have: torch is imported when a checkpoint is timed.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import Input
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.types import Tensors

if TYPE_CHECKING:
    from torch.nn import Module

LUMA = (0.114, 0.587, 0.299)
"""Weights of B, G, R in gray, ITU-R BT.601."""


def load_checkpoint(path: str, arch: str) -> "Module":
    """The network of a checkpoint, in evaluation mode.

    Args:
        path: The checkpoint.
        arch: ``package.module:factory`` of a plain state dict; empty otherwise.

    Raises:
        UsageError: The file is an ONNX graph, which torch cannot run.
        EdgecnnError: The file cannot be loaded.
    """
    from edgecnn_export.config import ExportConfig
    from edgecnn_export.loading.load import load_model

    module = load_model(ExportConfig(model=path, arch=arch)).module
    if module is None:
        raise UsageError(f"{path} is an ONNX graph: --checkpoint takes what torch can run")
    return module


class Torch:
    """The network fed with camera bytes, which torch itself makes float, normalized, planar.

    Attributes:
        pixels: uint8[N,H,W,3] BGR, read in place by ``run``.
    """

    def __init__(
        self, module: "Module", spec: Input, *, threads: int, batch: int, compiled: bool
    ) -> None:
        import torch

        self._torch: Any = torch
        self.pixels = np.zeros((batch, spec.height, spec.width, 3), np.uint8)
        self._network = torch.compile(module) if compiled else module
        self._threads = threads
        self._bytes = torch.from_numpy(self.pixels)
        shape = (1, -1, 1, 1)
        self._mean = torch.tensor(spec.normalization.mean).view(shape)
        self._scale = 1.0 / torch.tensor(spec.normalization.std).view(shape)
        self._luma = torch.tensor(LUMA).view(shape)
        self._color = spec.color
        self.run()

    def run(self) -> Tensors:
        """Infer what ``pixels`` holds now; the arrays are new each time."""
        if self._torch.get_num_threads() != self._threads:
            self._torch.set_num_threads(self._threads)
        with self._torch.inference_mode():
            planes = self._bytes.permute(0, 3, 1, 2).float()
            if self._color == "rgb":
                planes = planes.flip(1)
            elif self._color == "gray":
                planes = (planes * self._luma).sum(1, keepdim=True)
            return _arrays(self._network(planes.sub_(self._mean).mul_(self._scale)))


def _arrays(outputs: Any) -> dict[str, NDArray[np.float32]]:
    """The outputs of a network, flattened to arrays."""
    if hasattr(outputs, "numpy"):
        return {"output": outputs.numpy()}
    values = outputs.values() if isinstance(outputs, dict) else outputs
    arrays: dict[str, NDArray[np.float32]] = {}
    for index, value in enumerate(values):
        arrays |= {f"{index}.{name}": array for name, array in _arrays(value).items()}
    return arrays
