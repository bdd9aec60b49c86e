"""The model as its author ran it: what every artifact is measured against.

Written without any of the code that it checks: pixels are converted in plain float arithmetic, and
the network is the PyTorch module (or the original ONNX file) itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from edgecnn_export.loading.loaded import LoadedModel, input_shape
from edgecnn_export.tracing.batch import batch_axes
from edgecnn_export.tracing.output_tree import tensor_leaves
from edgecnn_export.verification.layers import LayerValues, fixed_batch, onnx_layers, torch_layers
from edgecnn_runtime.backends.ort_session import open_session
from edgecnn_runtime.bundle.manifest import Input
from edgecnn_runtime.types import Floats, Pixels

Outputs: TypeAlias = dict[str, Floats]
"""float32 outputs by name, the batch first."""

LUMA = (0.114, 0.587, 0.299)
"""Weights of B, G, R in gray, ITU-R BT.601: what OpenCV, PIL and torchvision use."""
BATCH_PIXELS = 1 << 21
"""Pixels that go through the network at once: forty images of 224x224, or one of 1080p."""


class Reference(Protocol):
    """The original model, to run."""

    def run(self, planes: Floats) -> Outputs:
        """Normalized float32[N,C,H,W] → outputs by name; new arrays."""

    def layers(self, planes: Floats) -> list[LayerValues]:
        """What every layer gives for float32[1,C,H,W], in the order of execution."""


def reference_preprocess(pixels: Pixels, spec: Input) -> Floats:
    """uint8[N,H,W,3] BGR → float32[N,C,H,W] = (pixel - mean) / std in the model's color order."""
    if spec.color == "gray":
        values = (pixels.astype(np.float32) @ np.array(LUMA, np.float32))[..., None]
    else:
        values = (pixels if spec.color == "bgr" else pixels[..., ::-1]).astype(np.float32)
    values -= np.array(spec.normalization.mean, np.float32)
    values /= np.array(spec.normalization.std, np.float32)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


class TorchReference:
    """A module in evaluation mode."""

    def __init__(
        self,
        module: torch.nn.Module,
        axes: Mapping[str, int],
        *,
        batch: int,
        graph: onnx.ModelProto | None = None,
    ) -> None:
        """Wrap a module.

        Args:
            module: In evaluation mode, float32, on the CPU.
            axes: By name, the batch axis of each output, in the order of the traced graph.
            batch: Images the module takes at once; 0 for any number.
            graph: Has the layers, where those of the module cannot be observed.
        """
        self._module = module
        self._axes = axes
        self._batch = batch
        self._graph = graph

    def run(self, planes: Floats) -> Outputs:
        """Infer all images, a few at a time."""
        size = self._batch or _batch(planes)
        chunks = _chunks(planes, size, fixed=self._batch > 0)
        with torch.inference_mode():
            parts = [
                [t.numpy() for _, t in tensor_leaves(self._module(torch.from_numpy(chunk)))]
                for chunk in chunks
            ]
        return _joined(self._axes, parts, len(planes), sum(map(len, chunks)))

    def layers(self, planes: Floats) -> list[LayerValues]:
        """What every innermost module gives; every node, where the module cannot be observed."""
        if self._graph is not None:
            return onnx_layers(self._graph, planes)
        return torch_layers(self._module, planes, self._batch or 1)


class OnnxReference:
    """The original ONNX model on ONNX Runtime, without graph optimization."""

    def __init__(self, model: onnx.ModelProto, axes: Mapping[str, int]) -> None:
        self._model = model
        self._axes = axes
        self._session = open_session(model.SerializeToString(), optimize=False)
        self._input = self._session.get_inputs()[0]

    def run(self, planes: Floats) -> Outputs:
        """Infer all images, as many at a time as the graph takes."""
        chunks = _chunks(planes, fixed_batch(self._session) or 1, fixed=True)
        parts = [self._session.run(list(self._axes), {self._input.name: chunk}) for chunk in chunks]
        return _joined(self._axes, parts, len(planes), sum(map(len, chunks)))

    def layers(self, planes: Floats) -> list[LayerValues]:
        """What every node gives."""
        return onnx_layers(self._model, planes)


def make_reference(loaded: LoadedModel, traced: onnx.ModelProto) -> Reference:
    """The module itself; for an ONNX file the original graph.

    The traced graph replaces it where it cannot be run or its rows have no batch: its sizes had to
    be changed, it was cut before its NonMaxSuppression, or its outputs got a batch axis.
    """
    axes = batch_axes(traced)
    batch, *declared = input_shape(loaded) or (None,)
    dims = [dim.dim_value for dim in traced.graph.input[0].type.tensor_type.shape.dim]
    if loaded.module is not None:
        observable = not (loaded.program or isinstance(loaded.module, torch.jit.ScriptModule))
        graph = None if observable else traced
        return TorchReference(loaded.module, axes, batch=batch or dims[0], graph=graph)
    assert loaded.onnx is not None
    uncut = list(axes) == [output.name for output in loaded.onnx.graph.output]
    fits = all(a in {None, b} for a, b in zip(declared, dims[1:], strict=True))
    same_ranks = uncut and _ranks(loaded.onnx) == _ranks(traced)
    return OnnxReference(loaded.onnx if same_ranks and fits else traced, axes)


def _ranks(model: onnx.ModelProto) -> list[int]:
    return [len(output.type.tensor_type.shape.dim) for output in model.graph.output]


def _batch(planes: Floats) -> int:
    return max(1, BATCH_PIXELS // int(planes.shape[2] * planes.shape[3]))


def _chunks(planes: Floats, size: int, *, fixed: bool) -> list[Floats]:
    """``size`` images at a time; where that is fixed, the last part is filled up with copies."""
    if fixed and len(planes) % size:
        copies = planes[:1].repeat(-len(planes) % size, axis=0)
        planes = np.concatenate([planes, copies])
    return [planes[at : at + size] for at in range(0, len(planes), size)]


def _joined(
    axes: Mapping[str, int], parts: Sequence[Sequence[NDArray[Any]]], count: int, images: int
) -> Outputs:
    """The parts' outputs, the batch first, without those of copies.

    Args:
        axes: By name, the batch axis.
        parts: The outputs of each part.
        count: How many images were asked for.
        images: How many were inferred.
    """
    joined = {
        name: np.concatenate([np.moveaxis(a, axes[name], 0) for a in arrays]).astype(np.float32)
        for name, *arrays in zip(axes, *parts, strict=True)
    }
    return {name: values[: len(values) * count // images] for name, values in joined.items()}
