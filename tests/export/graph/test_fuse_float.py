"""The last passes: fewer, fuller steps, and the same numbers."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from edgecnn_export.graph.fold import fold_pixels
from edgecnn_export.graph.fuse_float import fuse_float
from edgecnn_export.graph.optimize import optimize
from edgecnn_export.loading.loaded import LoadedModel
from edgecnn_export.loading.size import Size
from edgecnn_export.tracing.trace import trace
from edgecnn_runtime.bundle.manifest import Input, Normalization

SIZE = 12
MEAN = (123.7, 116.3, 103.5)


class Heads(nn.Module):
    """A stem, and heads over one feature map, as detectors have them."""

    def __init__(self, *heads: nn.Module, stem: nn.Module | None = None) -> None:
        super().__init__()
        self.stem = stem or nn.Conv2d(3, 32, 3, padding=1)
        self.heads = nn.ModuleList(heads)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        features = self.stem(x).relu()
        return tuple(head(features).flatten(2) for head in self.heads)


class Bare(Heads):
    """The heads' own outputs are the model's."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        features = self.stem(x).relu()
        return tuple(head(features) for head in self.heads)


def point(out: int, kernel: int = 1, **options: int) -> nn.Module:
    return nn.Conv2d(32, out, kernel, padding=kernel // 2, **options)


def separable(out: int, *between: nn.Module) -> nn.Module:
    """YuNet's: 1x1, then depthwise."""
    return nn.Sequential(
        nn.Conv2d(32, out, 1), *between, nn.Conv2d(out, out, 3, padding=1, groups=out)
    )


def exported(module: nn.Module, mean: tuple[float, ...] = MEAN, color: str = "rgb"):
    torch.manual_seed(0)
    loaded = LoadedModel(path=Path("m.pt"), sha256="0" * 64, kind="weights", module=module.eval())
    normalization = Normalization(mean=mean, std=(58.4, 57.1, 57.4), origin="flag")
    spec = Input(width=SIZE, height=SIZE, color=color, normalization=normalization)
    traced = trace(loaded, Size(SIZE, SIZE, 3), 20)
    return optimize(fold_pixels(traced, spec))


def run(model: onnx.ModelProto) -> list[np.ndarray]:
    pixels = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"pixels": pixels})


def finished(module: nn.Module, **options) -> Counter[str]:
    """The operators after finishing; everything else about it is checked here."""
    before = exported(module, **options)
    kept = before.SerializeToString()
    after = fuse_float(before)
    assert before.SerializeToString() == kept, "what was given stays as it was"
    onnx.checker.check_model(after, full_check=True)
    assert [o.name for o in after.graph.output] == [o.name for o in before.graph.output]
    assert after.graph.input == before.graph.input
    for expected, found in zip(run(before), run(after), strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(expected).max())
    names = [node.name for node in after.graph.node]
    assert len(set(names)) == len(names)
    return Counter(node.op_type for node in after.graph.node)


@pytest.mark.parametrize(
    "heads",
    [
        [separable(1), separable(1), separable(4), separable(10)],  # YuNet
        [separable(3, nn.ReLU()), separable(5, nn.ReLU())],
    ],
)
def test_chains_are_joined(heads):
    operators = finished(Heads(*heads))
    assert (operators["Conv"], operators["Split"]) == (3, 1)


@pytest.mark.parametrize(
    "heads",
    [
        [separable(3, nn.LeakyReLU(0.1)), separable(5, nn.LeakyReLU(0.2))],
        [separable(3, nn.ReLU()), separable(5, nn.Sigmoid())],
    ],
)
def test_chains_are_joined_until_they_differ(heads):
    operators = finished(Heads(*heads))
    assert (operators["Conv"], operators["Split"]) == (4, 1)


@pytest.mark.parametrize(
    "heads",
    [
        [point(4), point(8), point(20)],  # RetinaFace
        [point(3, kernel=3), point(5, kernel=3)],
        [point(3, stride=2), point(5, stride=2)],
    ],
)
def test_heads_are_joined(heads):
    operators = finished(Heads(*heads))
    assert (operators["Conv"], operators["Split"]) == (2, 1)


def test_full_blocks_stay_as_they_are():
    operators = finished(Heads(point(4), point(16), point(4)))
    assert (operators["Conv"], operators["Split"]) == (3, 1)


@pytest.mark.parametrize(
    "heads",
    [
        [point(3, kernel=3), point(5)],
        [point(3, stride=2), point(5)],
        [point(16), point(32)],
        [point(15), point(2)],
        [point(4, groups=2), point(4, groups=2)],
    ],
)
def test_heads_that_differ_or_save_no_block_stay_apart(heads):
    operators = finished(Heads(*heads))
    assert (operators["Conv"], operators["Split"]) == (3, 0)


def test_one_step_further_is_enough_to_join():
    operators = finished(Heads(separable(3), point(5)))
    assert (operators["Conv"], operators["Split"]) == (3, 1)


def test_outputs_of_the_model_stay_their_own():
    assert finished(Bare(point(3), point(5)))["Conv"] == 3


class ReadTwice(Heads):
    """What comes before the depthwise convolution is wanted as well."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        features = self.stem(x).relu()
        firsts = [head[0](features) for head in self.heads]
        lasts = [head[1](first) for head, first in zip(self.heads, firsts, strict=True)]
        return tuple((a + b).flatten(2) for a, b in zip(firsts, lasts, strict=True))


def test_what_is_read_elsewhere_too_is_split_first():
    operators = finished(ReadTwice(separable(3), separable(5)))
    assert (operators["Conv"], operators["Split"]) == (4, 1)


@pytest.mark.parametrize(
    "stem",
    [
        nn.Conv2d(3, 32, 3, padding=1),
        nn.Conv2d(3, 32, 3, stride=2, padding=1),
        nn.Conv2d(3, 32, 7, stride=2, padding=3),
        nn.Conv2d(3, 32, (1, 5), padding=(0, 2)),
        nn.Conv2d(3, 32, 4, stride=4),
        nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 32, 3, stride=2)),
        nn.Conv2d(3, 32, 3, dilation=(2, 1), padding=(2, 1)),
    ],
)
def test_pixels_stay_interleaved(stem):
    operators = finished(Heads(point(8), stem=stem))
    assert (operators["Transpose"], operators["Sub"]) == (0, 1)


def test_raw_pixels_stay_interleaved():
    operators = finished(Heads(point(8)), mean=(0.0, 0.0, 0.0), color="bgr")
    assert (operators["Transpose"], operators["Sub"]) == (0, 0)


@pytest.mark.parametrize(
    "stem",
    [
        nn.Conv2d(3, 32, 3, dilation=2, padding=2),
        nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, groups=3), nn.Conv2d(3, 32, 1)),
        nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 32, 1)),
    ],
)
def test_pixels_that_are_read_otherwise_become_planes(stem):
    assert finished(Heads(point(8), stem=stem))["Transpose"] == 1


class Twice(nn.Module):
    """Two convolutions of the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(3, 16, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) + self.two(x).relu()


def test_two_convolutions_of_the_picture_both_read_it_interleaved():
    operators = finished(Twice())
    assert (operators["Transpose"], operators["Conv"]) == (0, 2)
