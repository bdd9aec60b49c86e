"""Files of other tools, from the file to a frame's result, or to an error that is true."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

import edgecnn_export.pipeline as pipeline
from edgecnn_bench.config import BenchConfig
from edgecnn_bench.engines import find_engines
from edgecnn_bench.plan import make_plan, open_bundles
from edgecnn_export.config import ExportConfig
from edgecnn_export.pipeline import ExportResult, export
from edgecnn_runtime import load
from edgecnn_runtime.errors import VerificationError
from edgecnn_runtime.types import Classification, Reading

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SIDE = 32


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, 2, 1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))


class FourAtATime(Net):
    """Nothing can free this batch."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.rand(1, 4).repeat(4, 1))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.tokens


class Reader(Net):
    """Steps before a batch of one."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.conv(x)).mean(2).permute(2, 0, 1))


class NoisyOnPixels(nn.Module):
    """Random only where values are as large as pixels: no trial with small numbers shows it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, x: Tensor) -> Tensor:
        if bool(x.max() > 99):
            x = x + 50 * torch.randn_like(x)
        return self.net(x)


class MixingPixels(nn.Module):
    """Subtracts the batch's own mean, likewise."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, x: Tensor) -> Tensor:
        if bool(x.max() > 99):
            x = x - x.mean(0, keepdim=True) / 2
        return self.net(x)


Exported = Callable[..., ExportResult]


@pytest.fixture
def exported(tmp_path: Path) -> Exported:
    """Export a file in tmp_path."""

    def make(file: str, **settings: Any) -> ExportResult:
        defaults: dict[str, Any] = {"preset": "raw", "color": "bgr", "overwrite": True}
        place = {"model": str(tmp_path / file), "out": str(tmp_path / "out.edge")}
        return export(ExportConfig(**place, **{**defaults, **settings}))

    return make


def save_onnx(module: nn.Module, path: Path, batch: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = (torch.rand(batch, 3, SIDE, SIDE),)
        torch.onnx.export(module.eval(), example, path, dynamo=False)


def planes(frame: np.ndarray) -> Tensor:
    return torch.from_numpy(frame.astype(np.float32).transpose(2, 0, 1))[None]


def test_a_bundle_of_a_fixed_batch_runs_one_frame_and_is_benchmarked(
    exported: Exported, tmp_path: Path
) -> None:
    module = FourAtATime()
    save_onnx(module, tmp_path / "model.onnx", 4)
    result = exported("model.onnx", backends=("onnxruntime",))
    assert result.bundle.manifest.model.batch == (4,)
    assert any("takes 4 pictures at a time only" in warning for warning in result.warnings)
    frame = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    with load(result.bundle.path) as model, torch.no_grad():
        answer = model(frame)
        expected = torch.softmax(module(planes(frame).repeat(4, 1, 1, 1))[0], 0)
    assert isinstance(answer, Classification)
    np.testing.assert_allclose(answer.scores, expected.numpy(), atol=1e-5)
    engines, _ = find_engines(("onnxruntime",), checkpoint=False)
    plan = make_plan(open_bundles([result.bundle.path]), engines, BenchConfig(threads=(1,)))
    assert {(row.spec.scope, row.spec.batch) for row in plan} == {("engine", 4), ("frame", 1)}


def test_a_program_of_one_image_is_a_bundle_of_any_batch(
    exported: Exported, tmp_path: Path
) -> None:
    program = torch.export.export(Net().eval(), (torch.rand(1, 3, SIDE, SIDE),))
    torch.export.save(program, tmp_path / "model.pt2")
    result = exported("model.pt2")
    assert result.bundle.manifest.model.batch is None
    assert {check.backend for check in result.checks} == {"onnxruntime", "openvino"}


def test_a_text_reader_without_labels_is_warned_of(exported: Exported, tmp_path: Path) -> None:
    program = torch.export.export(Reader().eval(), (torch.rand(1, 3, SIDE, SIDE),))
    torch.export.save(program, tmp_path / "model.pt2")
    result = exported("model.pt2", task="ocr")
    assert result.bundle.manifest.model.outputs[0].shape == (SIDE // 2, None, 4)
    assert any("give --labels FILE with the model's 3 char" in text for text in result.warnings)
    with load(result.bundle.path) as model:
        assert isinstance(model(np.zeros((SIDE, SIDE, 3), np.uint8)), Reading)
    named = exported("model.pt2", task="ocr", labels=("a", "b", "c"))
    assert not any("--labels" in warning for warning in named.warnings)


def tamper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Emit every weight matrix of the classifier with another sign."""
    optimize = pipeline.optimize

    def wrong(model: onnx.ModelProto) -> onnx.ModelProto:
        model = optimize(model)
        for tensor in model.graph.initializer:
            if sorted(tensor.dims) == [4, 6]:
                values = -numpy_helper.to_array(tensor)
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        return model

    monkeypatch.setattr(pipeline, "optimize", wrong)


@pytest.mark.parametrize("kind", ["model.ts", "model.pt2", "model.onnx"])
def test_a_failed_check_names_a_layer_whatever_the_file(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    module, example = FourAtATime().eval(), torch.rand(4, 3, SIDE, SIDE)
    if kind == "model.ts":
        torch.jit.save(torch.jit.trace(Net().eval(), example), tmp_path / kind)
    elif kind == "model.pt2":
        torch.export.save(torch.export.export(module, (example,)), tmp_path / kind)
    else:
        save_onnx(module, tmp_path / kind, 4)
    tamper(monkeypatch)
    with pytest.raises(VerificationError, match=r"first layer that diverges: .*(Gemm|MatMul|Add)"):
        exported(kind, input=f"{SIDE}x{SIDE}", backends=("onnxruntime",))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (NoisyOnPixels, "own results change from run to run"),
        (MixingPixels, "other results in a batch than alone"),
    ],
)
def test_a_model_that_does_not_follow_itself_is_at_fault(
    exported: Exported, tmp_path: Path, kind: type[nn.Module], message: str
) -> None:
    torch.jit.save(torch.jit.script(kind().eval()), tmp_path / "model.ts")
    with pytest.raises(VerificationError, match=message) as caught:
        exported("model.ts", input=f"{SIDE}x{SIDE}", backends=("onnxruntime",))
    assert "--opset 18" not in str(caught.value)
