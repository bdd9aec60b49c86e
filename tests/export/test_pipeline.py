"""From a model file to a bundle on disk, through everything that is between."""

import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import edgecnn_export.pipeline as pipeline
from edgecnn import save_checkpoint
from edgecnn.models.mnist_net import MnistNet
from edgecnn_export.config import ExportConfig
from edgecnn_export.pipeline import ExportResult, export
from edgecnn_export.verification.synthetic import synthetic_pictures
from edgecnn_runtime import load
from edgecnn_runtime.bundle.bundle import load_golden, open_bundle
from edgecnn_runtime.bundle.manifest import Classify, Ctc, Embed
from edgecnn_runtime.errors import EdgecnnError, UsageError, VerificationError
from edgecnn_runtime.types import Classification, Embedding, Reading

SPEC = {
    "input": "28x28",
    "color": "gray",
    "mean": (33.3,),
    "std": (78.6,),
    "labels": tuple("abcdefghij"),
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that says everything itself, pictures included."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("digits") / "digits.pt"
    samples = synthetic_pictures(6, 28, 28, seed=5)
    save_checkpoint(
        path, MnistNet(), arch="edgecnn.models.mnist_net:MnistNet", spec=SPEC, samples=samples
    )
    return path


@pytest.fixture(scope="module")
def digits_export(digits: Path) -> ExportResult:
    """The bundle of that checkpoint, with no setting but the model."""
    out = digits.with_name("digits.edge")
    return export(ExportConfig(model=str(digits), out=str(out)))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_checkpoint_needs_no_setting(digits_export: ExportResult) -> None:
    manifest = digits_export.bundle.manifest
    assert (manifest.name, manifest.model.task, manifest.model.labels) == (
        "digits",
        "classify",
        SPEC["labels"],
    )
    assert manifest.model.decode == Classify(output="output", values="log_probabilities")
    assert (
        manifest.model.input.width,
        manifest.model.input.height,
        manifest.model.input.color,
    ) == (28, 28, "gray")
    assert manifest.model.input.normalization.origin == "checkpoint"
    assert manifest.model.batch is None
    assert [output.shape for output in manifest.model.outputs] == [(None, 10)]
    assert digits_export.warnings == ()


def test_the_bundle_holds_what_it_says(digits_export: ExportResult) -> None:
    expected = ["golden.npz", "manifest.json", "model.fp32.onnx", "report.html", "report.json"]
    assert names(digits_export.bundle.path) == expected
    assert names(digits_export.bundle.path.parent) == ["digits.edge", "digits.pt"]
    assert set(digits_export.bundle.manifest.files) == {"report.html", "report.json"}
    assert open_bundle(digits_export.bundle.path).digest == digits_export.bundle.digest
    golden = load_golden(digits_export.bundle)
    assert len({picture.tobytes() for picture in golden.pixels}) == 4


def test_every_engine_was_measured(digits_export: ExportResult) -> None:
    (artifact,) = digits_export.bundle.manifest.artifacts
    assert {run.engine for run in artifact.runs} == {"onnxruntime/f32", "openvino/f32"}
    for run in artifact.runs:
        assert run.parity["output"].cosine >= 0.9999
        assert run.golden_snr_db["output"] > 60
        assert run.agreement == 1.0


def test_the_runtime_says_what_torch_says(digits: Path, digits_export: ExportResult) -> None:
    torch.manual_seed(0)
    module = MnistNet().eval()
    frame = synthetic_pictures(1, 28, 28, seed=9)[0]
    gray = frame.astype(np.float64) @ (0.114, 0.587, 0.299)
    with torch.no_grad():
        expected = module(torch.tensor((gray - 33.3) / 78.6, dtype=torch.float32)[None, None]).exp()
    for backend in ("onnxruntime", "openvino"):
        with load(digits_export.bundle.path, backend=backend) as model:
            result = model(frame)
        assert isinstance(result, Classification)
        assert np.allclose(result.scores, expected.numpy()[0], atol=1e-5)


def test_the_command_makes_the_same_artifact_again(
    digits_export: ExportResult, digits: Path
) -> None:
    provenance = digits_export.bundle.manifest.provenance
    assert provenance.command == f"edgecnn export {digits} --out {digits_export.bundle.path}"
    assert provenance.source == "digits.pt"
    again = export(ExportConfig(model=str(digits), out=str(digits.with_name("again.edge"))))
    assert (
        again.bundle.manifest.artifacts[0].sha256
        == digits_export.bundle.manifest.artifacts[0].sha256
    )


def test_both_reports_tell_the_same(digits_export: ExportResult) -> None:
    report = json.loads((digits_export.bundle.path / "report.json").read_text())
    without_files = msgspec.structs.replace(digits_export.bundle.manifest, files={})
    assert report["bundle"] == json.loads(msgspec.json.encode(without_files))
    assert report["before"]["nodes"] == sum(report["before"]["operators"].values())
    assert len(report["pictures"]) == 16
    assert sum(picture["golden"] for picture in report["pictures"]) == 4
    page = (digits_export.bundle.path / "report.html").read_text()
    assert "2 of 2</b>" in page
    assert report["bundle"]["provenance"]["source_sha256"] in page


def test_the_report_is_one_file_that_fetches_nothing(digits_export: ExportResult) -> None:
    page = (digits_export.bundle.path / "report.html").read_text()
    assert re.findall(r'(?:src|href|url)\s*[=(]\s*"?(?!#|data:)[^"\s>)]+', page) == []
    assert "<script" not in page
    assert "default-src 'none'" in page


def test_hostile_names_stay_text(digits: Path, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>\"'&{{7*7}}"
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index, picture in enumerate(synthetic_pictures(16, 28, 28)):
        cv2.imwrite(str(pictures / f"<b>{index}'\".png"), picture)
    (pictures / "<script>.png").write_bytes(b"no")
    labels = tuple(f"{hostile}{index}" for index in range(10))
    config = ExportConfig(
        model=str(digits), labels=labels, images=str(pictures), out=str(tmp_path / "x.edge")
    )
    page = (export(config).bundle.path / "report.html").read_text()
    assert "<img src=x" not in page
    assert "<script" not in page
    assert "<b>1" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;&#34;&#39;&amp;{{7*7}}" in page


class Colors(nn.Module):
    """The mean of each channel, as an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        self.conv.weight.data = torch.eye(3)[:, :, None, None]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean((2, 3))


class Lines(nn.Module):
    """Scores a column of the picture, time first: what nn.CTCLoss is trained with."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, (8, 3), padding=(0, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean(2).permute(2, 0, 1)


class OneByOne(nn.Module):
    """A network whose author wrote the batch down."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).reshape(1, 5, 36).mean(2)


class Log(nn.Module):
    """NaN wherever a pixel is under the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(self.conv(x)).mean((2, 3))


class Still(Colors):
    """Outputs that hardly change."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * 1e-5 + 7


Exported = Callable[..., ExportResult]


@pytest.fixture
def exported(tmp_path: Path) -> Exported:
    """Save a module whole and export it."""

    def make(module: nn.Module, **settings: Any) -> ExportResult:
        torch.manual_seed(1)
        torch.save(module.eval(), tmp_path / "model.pt")
        defaults = {"input": "8x8", "preset": "unit", "color": "rgb", "trust_pickle": True}
        config = {"model": str(tmp_path / "model.pt"), "out": str(tmp_path / "out.edge")}
        return export(ExportConfig(**{**config, **defaults, **settings}))

    return make


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_colors_arrive_as_they_were_trained(exported: Exported, color: Any) -> None:
    mean_std = {"mean": (10.0, 20.0, 30.0), "std": (2.0, 4.0, 8.0), "preset": None}
    result = exported(Colors(), task="embed", color=color, decode={"normalize": False}, **mean_std)
    assert isinstance(result.bundle.manifest.model.decode, Embed)
    frame = np.full((8, 8, 3), (50, 100, 200), np.uint8)
    with load(result.bundle.path) as model:
        embedding = model(frame)
    assert isinstance(embedding, Embedding)
    order = (200, 100, 50) if color == "rgb" else (50, 100, 200)
    expected = (np.array(order) - mean_std["mean"]) / mean_std["std"]
    assert np.allclose(embedding.vector, expected, atol=1e-4)


def test_outputs_that_put_time_first(exported: Exported) -> None:
    result = exported(Lines(), input="32x8", task="ocr", labels=("A", "B", "C"))
    manifest = result.bundle.manifest
    assert manifest.model.decode == Ctc(output="output", charset=("A", "B", "C"), layout="TNC")
    assert manifest.model.outputs[0].shape == (32, None, 4)
    with load(result.bundle.path) as model:
        assert isinstance(model(np.zeros((8, 32, 3), np.uint8)), Reading)


def test_a_batch_that_is_written_down_stays(exported: Exported) -> None:
    assert exported(OneByOne()).bundle.manifest.model.batch == (1,)
    with pytest.raises(UsageError, match="takes 1 at a time only"):
        exported(OneByOne(), batch=(4,), out="")


def test_batch_sizes_are_verified_and_kept(exported: Exported) -> None:
    result = exported(Colors(), task="embed", batch=(4, 1))
    assert result.bundle.manifest.model.batch == (1, 4)
    with pytest.raises(UsageError, match="takes sizes from 1"):
        exported(Colors(), task="embed", batch=(0,), overwrite=True)


def test_a_model_that_gives_nan_is_told_so(exported: Exported) -> None:
    with pytest.raises(VerificationError, match=r"NaN in output 'output'.*not finite is .*\(Log\)"):
        exported(Log(), mean=(128.0,), std=(64.0,), preset=None)


def test_engines_can_be_named(exported: Exported, tmp_path: Path) -> None:
    result = exported(Colors(), task="embed", backends=("openvino",))
    assert [run.engine for run in result.bundle.manifest.artifacts[0].runs] == ["openvino/f32"]
    with pytest.raises(UsageError, match="did you mean 'openvino'"):
        exported(Colors(), task="embed", backends=("openvion",), out=str(tmp_path / "x.edge"))


def test_an_output_that_stands_still_is_warned_of(exported: Exported) -> None:
    result = exported(Still(), task="embed")
    assert any("that it agrees proves little" in warning for warning in result.warnings)


def tampered(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The graph with one wrong kernel."""
    (weights,) = [tensor for tensor in model.graph.initializer if tensor.name == name]
    wrong = numpy_helper.to_array(weights)[::-1].copy()
    weights.CopyFrom(numpy_helper.from_array(wrong, name))
    return model


def test_a_wrong_artifact_is_not_emitted(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimize = pipeline.optimize
    monkeypatch.setattr(pipeline, "optimize", lambda m: tampered(optimize(m), "conv2.weight"))
    with pytest.raises(VerificationError) as caught:
        export(ExportConfig(model=str(digits), out=str(tmp_path / "x.edge")))
    message = str(caught.value)
    assert "model.fp32.onnx does not follow the model on onnxruntime/f32" in message
    assert "centered cosine of" in message
    assert "(gate 0.9999)" in message
    assert "first layer that diverges: conv2 (Conv2d)" in message
    assert "try --opset 18" in message
    assert names(tmp_path) == []


def test_a_wrong_artifact_of_an_onnx_model_names_the_node_of_its_author(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    kernels = {
        "first.kernel": rng.normal(0, 0.5, (4, 3, 3, 3)).astype(np.float32),
        "second.kernel": rng.normal(0, 0.5, (6, 4, 3, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["picture", "first.kernel"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="activation"),
        helper.make_node("Conv", ["b", "second.kernel"], ["c"], name="second"),
        helper.make_node("GlobalAveragePool", ["c"], ["d"], name="pool"),
        helper.make_node("Flatten", ["d"], ["scores"], name="flat"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["N", 3, 16, 16])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 6])],
        [numpy_helper.from_array(kernel, name) for name, kernel in kernels.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "net.onnx")
    optimize = pipeline.optimize
    monkeypatch.setattr(pipeline, "optimize", lambda m: tampered(optimize(m), "second.kernel"))
    config = ExportConfig(model=str(tmp_path / "net.onnx"), preset="unit", color="rgb")
    with pytest.raises(VerificationError, match=r"first layer that diverges: second \(Conv\)"):
        export(config)


def test_an_existing_bundle_is_only_replaced_when_told(
    digits_export: ExportResult, digits: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x.edge"
    export(ExportConfig(model=str(digits), out=str(out)))
    before = open_bundle(out).digest
    with pytest.raises(UsageError, match="add --overwrite"):
        export(ExportConfig(model=str(digits), out=str(out)))
    wrong = ExportConfig(model=str(digits), out=str(out), overwrite=True, labels=("one",))
    with pytest.raises(UsageError, match="label"):
        export(wrong)
    assert open_bundle(out).digest == before
    export(ExportConfig(model=str(digits), out=str(out), overwrite=True, name="other"))
    assert open_bundle(out).manifest.name == "other"
    assert names(tmp_path) == ["x.edge"]


def test_what_is_no_bundle_is_never_replaced(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    config = ExportConfig(model=str(digits), out=str(tmp_path / "precious"), overwrite=True)
    with pytest.raises(UsageError, match="will not be replaced"):
        export(config)


def test_a_place_that_cannot_be_written(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write .*: .*/file is not a folder"):
        export(ExportConfig(model=str(digits), out=str(tmp_path / "file" / "x.edge")))


def test_no_permission(digits: Path, read_only: Path) -> None:
    with pytest.raises(EdgecnnError, match=r"cannot write .*not permitted|Permission denied"):
        export(ExportConfig(model=str(digits), out=str(read_only / "x.edge")))


FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from edgecnn.cli import main
import edgecnn_export.pipeline
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
sys.exit(main(["export", *sys.argv[1:]]))
"""


def test_a_full_disk_leaves_nothing(digits: Path, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FULL, str(digits), "--out", str(tmp_path / "x.edge")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert f"cannot write {tmp_path / 'x.edge'}: {os.strerror(errno.EFBIG)}" in ended.stderr
    assert names(tmp_path) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


@pytest.mark.parametrize(("kill", "left"), [(signal.SIGTERM, 0), (signal.SIGKILL, 1)])
def test_a_killed_export_leaves_no_half_bundle(
    spawn: Callable[..., "subprocess.Popen[str]"], digits: Path, tmp_path: Path,
    kill: signal.Signals, left: int,
) -> None:  # fmt: skip
    out = tmp_path / "x.edge"
    command = ["-m", "edgecnn", "export", str(digits), "--out", str(out)]
    process = spawn(*command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and not names(tmp_path):
        time.sleep(0.005)
    process.send_signal(kill)
    assert process.wait() in {143, -kill}
    assert not out.exists()
    assert len(names(tmp_path)) == left
    export(ExportConfig(model=str(digits), out=str(out)))
    assert names(tmp_path) == ["x.edge"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": ""}, "which model"),
        ({"labels": ("a", "b")}, "has 2 names, but the model has 10 classes"),
        ({"color": "rgb"}, "--color rgb does not fit: the model's input has 1 channel"),
        ({"head": "yunet"}, "a yunet head has outputs"),
        ({"images": "/nowhere"}, "no such folder"),
        ({"mean": (1.0, 2.0)}, "--mean has 2 numbers for 1 channels"),
        ({"spec": "/nowhere.yaml"}, "nowhere.yaml: cannot be read"),
        ({"images": "/bilder\udcfc"}, "name is not UTF-8, and the bundle has to record it"),
    ],
)
def test_what_cannot_be_meant_is_said(
    digits: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    config = {"model": str(digits), "out": str(tmp_path / "x.edge")}
    with pytest.raises(UsageError, match=message):
        export(ExportConfig(**{**config, **settings}))
    assert names(tmp_path) == []
