"""Optimizing makes a graph smaller and changes nothing that it computes."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from edgecnn_export.graph.optimize import optimize
from edgecnn_export.loading.loaded import LoadedModel
from edgecnn_export.loading.size import Size
from edgecnn_export.tracing.trace import trace

SIZE = 12


class Block(nn.Module):
    """Branches over one picture, added up, as RepVGG and MobileOne train them."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        total = self.branches[0](x)
        for branch in self.branches[1:]:
            total = total + branch(x)
        return total.relu()


def conv(kernel: int, out: int = 6, *, norm: bool = True, **options: int) -> nn.Module:
    layer = nn.Conv2d(6, out, kernel, **{"padding": kernel // 2, "bias": not norm, **options})
    return nn.Sequential(layer, nn.BatchNorm2d(out)) if norm else layer


class Affine(nn.Module):
    """Scales and shifts after a convolution, some of them one a channel."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 3)
        self.scale = nn.Parameter(torch.randn(shape))
        self.shift = nn.Parameter(torch.randn(shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.shift + 0.5 + self.scale * self.conv(x)


class Twice(nn.Module):
    """A convolution whose output is read before and after normalization."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 1)
        self.norm = nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) * y


class Shared(nn.Module):
    """One convolution, used twice, normalized differently."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(6), nn.BatchNorm2d(6)])

    def forward(self, x: Tensor) -> Tensor:
        return self.norms[1](self.conv(self.norms[0](self.conv(x)).relu()))


class BestRows(nn.Module):
    """The rows with the best scores, as heads without suppression pick them."""

    def __init__(self, columns: int = 3, index: int = 3) -> None:
        super().__init__()
        self.columns, self.index = columns, index

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(2).transpose(1, 2)
        best = rows[..., 3:].amax(-1).topk(5, dim=1)[1]
        index = best.unsqueeze(-1).expand(-1, -1, self.index)
        return rows[..., : self.columns].gather(1, index)


def embedder() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(6 * SIZE * SIZE, 7), nn.BatchNorm1d(7))


PICKS = {"Reshape": 1, "Transpose": 1, "Slice": 2, "ReduceMax": 1, "TopK": 1, "Unsqueeze": 1}
NETWORKS: dict[str, tuple[Callable[[], nn.Module], dict[str, int]]] = {
    "repvgg": (lambda: Block(conv(3), conv(1), nn.BatchNorm2d(6)), {"Conv": 1, "Relu": 1}),
    "repvgg, grouped": (
        lambda: Block(conv(3, groups=2), conv(1, groups=2), nn.BatchNorm2d(6)),
        {"Conv": 1, "Relu": 1},
    ),
    "repvgg, strided": (
        lambda: Block(conv(3, stride=2), conv(1, stride=2)),
        {"Conv": 1, "Relu": 1},
    ),
    "mobileone": (
        lambda: Block(nn.BatchNorm2d(6), *(conv(3, groups=6) for _ in range(4)), conv(1, groups=6)),
        {"Conv": 1, "Relu": 1},
    ),
    "biases and no normalization": (
        lambda: Block(conv(1, norm=False), conv(5, norm=False)),
        {"Conv": 1, "Relu": 1},
    ),
    "kernels that end elsewhere": (
        lambda: Block(conv(3, stride=2), conv(2, stride=2, padding=0)),
        {"Conv": 2, "Add": 1, "Relu": 1},
    ),
    "dilated": (
        lambda: Block(conv(3, dilation=2, padding=2), conv(1)),
        {"Conv": 2, "Add": 1, "Relu": 1},
    ),
    "other groups": (lambda: Block(conv(3, groups=2), conv(3)), {"Conv": 2, "Add": 1, "Relu": 1}),
    "the picture itself": (lambda: Block(conv(3), nn.Identity()), {"Conv": 1, "Add": 1, "Relu": 1}),
    "layer scale": (lambda: Affine((6, 1, 1)), {"Conv": 1}),
    "one scale for all": (lambda: Affine((1,)), {"Conv": 1}),
    "a scale a column": (lambda: Affine((SIZE - 2,)), {"Conv": 1, "Mul": 1, "Add": 1}),
    "a scale a picture cell": (lambda: Affine((1, 1, 10, 10)), {"Conv": 1, "Mul": 1, "Add": 1}),
    "read twice": (Twice, {"Conv": 1, "BatchNormalization": 1, "Mul": 1}),
    "shared weights": (Shared, {"Conv": 2, "Relu": 1}),
    "dense": (embedder, {"Reshape": 1, "Gemm": 1}),
    "normalized first": (
        lambda: nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), conv(3)),
        {"BatchNormalization": 1, "Relu": 1, "Conv": 1},
    ),
    "rows by their numbers": (BestRows, {**PICKS, "GatherND": 1}),
    "fewer columns than there are": (
        lambda: BestRows(4),
        {**PICKS, "Expand": 1, "GatherElements": 1},
    ),
    "dropout": (lambda: nn.Sequential(conv(1), nn.Dropout(), nn.Identity()), {"Conv": 1}),
    "padded before": (lambda: nn.Sequential(nn.ZeroPad2d(1), conv(3, padding=0)), {"Conv": 1}),
}


def randomized(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for norm in (m for m in module.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))):
        for values in (norm.weight, norm.running_var):
            nn.init.uniform_(values, 0.5, 2)
        for values in (norm.bias, norm.running_mean):
            nn.init.normal_(values)
    return module.eval()


def traced(module: nn.Module) -> onnx.ModelProto:
    loaded = LoadedModel(path=Path("m.pt"), sha256="0" * 64, kind="weights", module=module)
    return trace(loaded, Size(SIZE, SIZE, 6), 20)


def run(model: onnx.ModelProto, planes: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"input": planes})[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_fewer_nodes_same_numbers(name: str) -> None:
    make, operators = NETWORKS[name]
    module = randomized(make())
    before = traced(module)
    model = optimize(before)
    assert Counter(node.op_type for node in model.graph.node) == operators
    assert len(model.graph.node) <= len(before.graph.node)
    onnx.checker.check_model(model, full_check=True)
    planes = np.random.default_rng(0).standard_normal((3, 6, SIZE, SIZE)).astype(np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(planes)).numpy()
    scale = np.abs(expected).max()
    np.testing.assert_allclose(run(model, planes) / scale, expected / scale, atol=2e-6)


def test_what_was_given_stays_as_it_was() -> None:
    before = traced(randomized(Block(conv(3), conv(1))))
    text = before.SerializeToString()
    model = optimize(before)
    assert before.SerializeToString() == text
    assert model.graph.input == before.graph.input
    assert model.graph.output == before.graph.output


def test_optimizing_again_changes_nothing() -> None:
    once = optimize(traced(randomized(Block(conv(3), conv(1), nn.BatchNorm2d(6)))))
    assert optimize(once).graph.node == once.graph.node


def test_nothing_is_kept_that_nobody_reads() -> None:
    model = optimize(traced(randomized(Block(conv(3), conv(1), nn.BatchNorm2d(6)))))
    read = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= read
    assert [t.name for t in model.graph.initializer] == ["branches.0.0.weight", "branches.0.0.bias"]
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)
    assert {node.domain for node in model.graph.node} == {""}


def test_equal_weights_are_stored_once() -> None:
    module = nn.Sequential(nn.Conv2d(6, 6, 1), nn.ReLU(), nn.Conv2d(6, 6, 1))
    module[2].load_state_dict(module[0].state_dict())
    model = optimize(traced(module.eval()))
    assert len(model.graph.initializer) == 2
