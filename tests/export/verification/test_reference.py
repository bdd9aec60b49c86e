"""Whatever file a network comes in, its reference and its graph give what the network gives."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from edgecnn_export.config import ExportConfig
from edgecnn_export.loading.load import load_model
from edgecnn_export.loading.loaded import LoadedModel
from edgecnn_export.loading.size import Size
from edgecnn_export.tracing.batch import batch_axes
from edgecnn_export.tracing.trace import trace
from edgecnn_export.verification.reference import Outputs, make_reference

SIDE = 16
PLANES = np.random.default_rng(0).standard_normal((5, 3, SIDE, SIDE)).astype(np.float32)


class Net(nn.Module):
    """Class scores; subclasses take and give them in other ways."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, 2, 1)
        self.head = nn.Linear(6, 4)

    def features(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x))

    def forward(self, x: Tensor) -> Any:
        return self.head(self.features(x).mean((2, 3)))


class InDict(Net):
    def forward(self, batch: dict[str, Tensor]) -> Any:
        return super().forward(batch["image"])


class GivesDict(Net):
    def forward(self, x: Tensor) -> Any:
        return {"scores": super().forward(x), "map": self.features(x)}


class Reader(Net):
    """Steps before the batch, as networks trained with CTC have them."""

    def forward(self, x: Tensor) -> Any:
        return self.head(self.features(x).mean(2).permute(2, 0, 1))


class FixedTokens(Net):
    """A batch of four that nothing can free."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.rand(4, 4))

    def forward(self, x: Tensor) -> Any:
        return super().forward(x) + self.tokens


class OwnBatch(Net):
    """Normalizes with the statistics of the batch."""

    def features(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return torch.relu((y - y.mean((0, 2, 3), keepdim=True)) / y.std((0, 2, 3), keepdim=True))


def images(count: int) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE)


def program(module: nn.Module, *args: Any, **kwargs: Any) -> Callable[[Path], None]:
    exported = torch.export.export(module, args, kwargs)
    return lambda path: torch.export.save(exported, path)


def last(count: int) -> Tensor:
    return images(count).contiguous(memory_format=torch.channels_last)


FILES: dict[str, tuple[type[Net], Callable[[], Any], str]] = {
    "one image": (Net, lambda: images(1), ""),
    "four images": (Net, lambda: images(4), ""),
    "four images, as a keyword": (Net, lambda: images(4), "x"),
    "one image, in a dict": (InDict, lambda: {"image": images(1)}, ""),
    "channels last in memory": (Net, lambda: last(2), ""),
    "outputs in a dict": (GivesDict, lambda: images(1), ""),
    "steps before a batch of one": (Reader, lambda: images(1), ""),
    "steps before a batch of two": (Reader, lambda: images(2), ""),
    "the batch's own statistics": (OwnBatch, lambda: images(1), ""),
}


def loaded(save: Callable[[Path], None], path: Path) -> LoadedModel:
    save(path)
    return load_model(ExportConfig(model=str(path)))


def alone(module: nn.Module) -> list[np.ndarray]:
    """What the network gives for each image by itself, the image's axis first."""
    with torch.no_grad():
        given = [module(_as_taken(module, torch.from_numpy(PLANES[i : i + 1]))) for i in range(5)]
    tensors = [list(one.values()) if isinstance(one, dict) else [one] for one in given]
    axis = 1 if isinstance(module, Reader) else 0
    return [torch.cat(parts, axis).movedim(axis, 0).numpy() for parts in zip(*tensors, strict=True)]


def _as_taken(module: nn.Module, image: Tensor) -> Any:
    return {"image": image} if isinstance(module, InDict) else image


def same(outputs: Outputs, expected: list[np.ndarray]) -> bool:
    pairs = zip(outputs.values(), expected, strict=True)
    return all(a.shape == b.shape and np.allclose(a, b, atol=1e-5) for a, b in pairs)


@pytest.mark.parametrize("name", FILES)
def test_an_exported_program_gives_what_the_network_gives(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    kind, example, keyword = FILES[name]
    module = kind().eval()
    arguments = {keyword: example()} if keyword else {}
    save = program(module, *([] if keyword else [example()]), **arguments)
    model = loaded(save, tmp_path / "model.pt2")
    traced = trace(model, Size(SIDE, SIDE, 3), 20)
    reference = make_reference(model, traced)
    expected = alone(module)
    assert same(reference.run(PLANES), expected)
    assert same(reference.run(PLANES[:1]), [values[:1] for values in expected])
    axes = batch_axes(traced)
    session = ort.InferenceSession(traced.SerializeToString(), providers=["CPUExecutionProvider"])
    arrays = session.run(list(axes), {"input": PLANES[:1]})
    rows = {name: np.moveaxis(a, axes[name], 0) for name, a in zip(axes, arrays, strict=True)}
    assert same(rows, [values[:1] for values in expected])
    assert reference.layers(PLANES[:1])


def test_a_batch_that_cannot_be_freed_is_filled_up(tmp_path: Path) -> None:
    module = FixedTokens().eval()
    model = loaded(program(module, images(4)), tmp_path / "model.pt2")
    traced = trace(model, Size(SIDE, SIDE, 3), 20)
    assert traced.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 4
    with torch.no_grad():
        expected = module(torch.from_numpy(np.concatenate([PLANES, PLANES[:1].repeat(3, 0)])[:4]))
    outputs = make_reference(model, traced).run(PLANES)
    assert outputs["output"].shape == (5, 4)
    assert np.allclose(outputs["output"][:4], expected.numpy(), atol=1e-5)


def test_an_onnx_file_of_a_fixed_batch_is_its_own_reference(tmp_path: Path) -> None:
    module = FixedTokens().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (images(4),), tmp_path / "model.onnx", dynamo=False)
    model = load_model(ExportConfig(model=str(tmp_path / "model.onnx")))
    reference = make_reference(model, trace(model, Size(SIDE, SIDE, 3), 20))
    with torch.no_grad():
        expected = module(torch.from_numpy(PLANES[:4])).numpy()
    (outputs,) = reference.run(PLANES).values()
    assert outputs.shape == (5, 4)
    assert np.allclose(outputs[:4], expected, atol=1e-5)


@pytest.mark.parametrize("way", ["script", "trace"])
def test_layers_of_torchscript_are_those_of_its_graph(way: str, tmp_path: Path) -> None:
    module = Net().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(module) if way == "script" else torch.jit.trace(module, images(1))
        model = loaded(lambda path: torch.jit.save(script, path), tmp_path / "model.ts")
    layers = make_reference(model, trace(model, Size(SIDE, SIDE, 3), 20)).layers(PLANES[:1])
    with torch.no_grad():
        expected = module(torch.from_numpy(PLANES[:1])).numpy()
    assert np.allclose(layers[-1].values, expected, atol=1e-5)
