"""``edgecnn export --fp16``: what is in the bundle, and what it says where it cannot be made."""

import json
from pathlib import Path
from types import ModuleType

import cv2
import msgspec
import onnx
import pytest
import torch
from torch import nn

from edgecnn import save_checkpoint
from edgecnn.cli import main
from edgecnn.models.mnist_cnn2 import MnistCnn2
from edgecnn_export.config import ExportConfig
from edgecnn_export.pipeline import ExportResult, export
from edgecnn_export.verification.synthetic import synthetic_pictures
from edgecnn_runtime.backends.nvidia.tensorrt_build import build_engine, make_logger
from edgecnn_runtime.bundle.bundle import open_bundle

pytestmark = pytest.mark.xdist_group("half precision step")

SPEC = {"input": "28x28", "color": "gray", "mean": (33.3,), "std": (78.6,)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """digits.pt and pictures/."""
    folder = tmp_path_factory.mktemp("half")
    torch.manual_seed(0)
    save_checkpoint(
        folder / "digits.pt", MnistCnn2(), arch="edgecnn.models.mnist_cnn2:MnistCnn2", spec=SPEC
    )
    (folder / "pictures").mkdir()
    for index, picture in enumerate(synthetic_pictures(16, 28, 28)):
        cv2.imwrite(str(folder / "pictures" / f"{index}.png"), picture)
    return folder


@pytest.fixture(scope="module")
def result(folder: Path) -> ExportResult:
    """A bundle in float, half precision and INT8 for TensorRT."""
    pictures = str(folder / "pictures")
    return export(
        ExportConfig(
            model=str(folder / "digits.pt"), images=pictures, calib=pictures, fp16=True, int8=True,
            targets=("trt",), work_dir=str(folder / "work"), out=str(folder / "digits.edge"),
        )
    )  # fmt: skip


def test_the_bundle_holds_half_precision_beside_float_and_int8(result: ExportResult) -> None:
    bundle = open_bundle(result.bundle.path)
    artifacts = {artifact.file: artifact for artifact in bundle.manifest.artifacts}
    assert list(artifacts) == ["model.fp32.onnx", "model.fp16.onnx", "model.int8-trt.onnx"]
    half = artifacts["model.fp16.onnx"]
    assert (half.precision, half.target, half.format) == ("fp16", "trt", "onnx")
    assert half.bytes <= 0.55 * artifacts["model.fp32.onnx"].bytes
    assert {run.engine for run in half.runs} >= {"onnxruntime-exact/f32"}
    for run in half.runs:
        assert all(parity.cosine >= 0.999 for parity in run.parity.values())


def test_calibration_pictures_serve_half_precision_alone(folder: Path, tmp_path: Path) -> None:
    calib = str(folder / "pictures")
    config = ExportConfig(model=str(folder / "digits.pt"), calib=calib, fp16=True)
    bundle = export(msgspec.structs.replace(config, out=str(tmp_path / "digits.edge"))).bundle
    assert [a.precision for a in bundle.manifest.artifacts] == ["fp32", "fp16"]


def test_what_a_device_is_held_to_is_measured_with_every_rounding(result: ExportResult) -> None:
    """ONNX Runtime hides some of them, and seems more accurate than a GPU can be."""
    (half,) = (a for a in result.bundle.manifest.artifacts if a.precision == "fp16")
    snr = {run.engine: min(run.golden_snr_db.values()) for run in half.runs}
    assert snr["onnxruntime-exact/f32"] < snr.get("onnxruntime/f32", 200.0)


def test_the_report_lists_every_layer_that_stays_in_float(result: ExportResult) -> None:
    report = json.loads((result.bundle.path / "report.json").read_text())["half"]
    assert report["passed"]
    assert report["float32"]
    page = (result.bundle.path / "report.html").read_text()
    assert "Half precision" in page
    for layer in report["float32"]:
        assert layer["name"] in page


@pytest.mark.parametrize("capability", ["SM80", "SM89", "SM120"])
def test_tensorrt_builds_an_engine_of_it(result: ExportResult, capability: str) -> None:
    rtx: ModuleType = pytest.importorskip("tensorrt_rtx", reason="pip install -e '.[dev]'")
    path = result.bundle.path / "model.fp16.onnx"
    assert onnx.load(path).ir_version == 10
    assert build_engine(rtx, path, batch=2, precision="f32", capability=capability)
    assert not make_logger(rtx).complaints


class Difference(nn.Module):
    """Red minus green, scaled up: weights that differ only in digits that float16 has not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        with torch.no_grad():
            self.conv.weight[:] = torch.tensor([1.00001, -1.0, 0.0]).reshape(1, 3, 1, 1)
            self.conv.weight[1, 2] = 1e-5

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.conv(image).mean((2, 3))


def test_a_model_that_half_precision_ruins_keeps_its_float_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.onnx.export(Difference().eval(), (torch.zeros(1, 3, 32, 32),), "net.onnx", dynamo=True)
    (tmp_path / "gray").mkdir()
    for index, picture in enumerate(synthetic_pictures(16, 32, 32)):
        picture[:] = picture[..., :1]
        cv2.imwrite(f"gray/{index}.png", picture)
    assert main(
        ["export", "net.onnx", "--fp16", "--task", "embed", "--preset", "unit", "--color", "rgb",
         "--images", "gray"]
    ) == 3  # fmt: skip
    assert "fp16 was not made" in capsys.readouterr().out
    bundle = open_bundle(tmp_path / "net.edge")
    assert [artifact.file for artifact in bundle.manifest.artifacts] == ["model.fp32.onnx"]
