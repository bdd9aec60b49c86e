"""What every layer of a network gives for one image, in the order of execution."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from edgecnn_runtime.backends import Options, open_backend
from edgecnn_runtime.backends.ort_session import open_session
from edgecnn_runtime.types import Floats, Pixels


@dataclass(frozen=True)
class LayerValues:
    """One layer's output for one image.

    Attributes:
        name: Of the layer, as its author knows it.
        values: Its output.
    """

    name: str
    values: NDArray[Any]


def torch_layers(module: torch.nn.Module, planes: Floats, batch: int = 1) -> list[LayerValues]:
    """The float outputs of every innermost module for one image.

    Args:
        module: In evaluation mode.
        planes: float32[1,C,H,W].
        batch: How many copies of the image the module needs; what it gives for one is returned.
    """
    layers: list[LayerValues] = []
    hooks = []
    for name, part in module.named_modules():
        if next(part.children(), None) is None:

            def record(part: torch.nn.Module, _: Any, out: Any, name: str = name) -> None:
                if isinstance(out, torch.Tensor) and out.is_floating_point():
                    values = _of_one_image(out.numpy(), batch).copy()
                    layers.append(LayerValues(f"{name} ({type(part).__name__})", values))

            hooks.append(part.register_forward_hook(record))
    try:
        with torch.inference_mode():
            module(torch.from_numpy(planes.repeat(batch, axis=0)))
    finally:
        for hook in hooks:
            hook.remove()
    return layers


def onnx_layers(model: onnx.ModelProto, values: NDArray[Any]) -> list[LayerValues]:
    """The float outputs of every node on ONNX Runtime, without graph optimization.

    Args:
        model: A float graph.
        values: One image, as the graph's input takes it.
    """
    session = open_session(with_all_outputs(model).SerializeToString(), optimize=False)
    names = [output.name for output in session.get_outputs()]
    producers = {
        output: f"{node.name or output} ({node.op_type})"
        for node in model.graph.node
        for output in node.output
    }
    batch = fixed_batch(session) or 1
    feed = {session.get_inputs()[0].name: values.repeat(batch, axis=0)}
    arrays = session.run(names, feed)
    return [
        LayerValues(producers.get(name, f"{name} (input)"), _of_one_image(array, batch))
        for name, array in zip(names, arrays, strict=True)
    ]


def artifact_layers(path: Path, backend: str, pixels: Pixels, batch: int = 1) -> list[LayerValues]:
    """The float outputs of every node of an artifact for the first image, on an engine.

    Args:
        path: The artifact's file.
        backend: The engine's name.
        pixels: The images, uint8[N,H,W,3] BGR.
        batch: The fewest images the artifact takes at once.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "layers.onnx"
        onnx.save_model(with_all_outputs(onnx.load_model(str(path))), str(file))
        with open_backend(backend, file, Options(batch=batch)) as engine:
            engine.pixels[:] = pixels[:1]
            return [
                LayerValues(name, _of_one_image(values, batch).copy())
                for name, values in engine.run().items()
            ]


def fixed_batch(session: Any) -> int:
    """How many images an ONNX Runtime session takes at once; 0 for any number."""
    size = session.get_inputs()[0].shape[0]
    return size if isinstance(size, int) and size > 0 else 0


def _of_one_image(values: NDArray[Any], batch: int) -> NDArray[Any]:
    """The first image's part of what a layer gives for a batch."""
    return values[:1] if batch > 1 and values.shape[:1] == (batch,) else values


def with_all_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph whose outputs are all of its float tensors, in the order of execution."""
    copy = ir.from_proto(onnx.shape_inference.infer_shapes(model))
    values = [value for node in copy.graph for value in node.outputs]
    copy.graph.outputs[:] = [value for value in values if value.dtype == ir.DataType.FLOAT]
    with_outputs: onnx.ModelProto = ir.to_proto(copy)
    return with_outputs
