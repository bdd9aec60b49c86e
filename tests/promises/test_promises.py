"""The README's six promises, each shown once on the whole way: train, export, load, run.

Every promise is held in depth elsewhere; ``IN_DEPTH`` names where.
"""

import importlib
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from edgecnn.cli import main
from edgecnn_runtime import load
from edgecnn_runtime.bundle.bundle import open_bundle
from edgecnn_runtime.camera import CameraGroup, CameraJob
from edgecnn_runtime.errors import SelfTestError
from edgecnn_runtime.inference import ModelInference
from edgecnn_runtime.scheduler import Scheduler
from edgecnn_runtime.selection.candidates import candidates
from edgecnn_runtime.source import open_source
from edgecnn_runtime.types import FrameResult

pytestmark = [
    pytest.mark.xdist_group("promises"),  # one export for all of them
    pytest.mark.usefixtures("torchlib"),
]

IN_DEPTH = {
    "Raw pixels in": ("export/graph/test_fold.py", "export/test_pipeline.py"),
    "Right for the chip it lands on": (
        "runtime/selection/test_candidates.py",
        "bench/test_autotune.py",
    ),
    "Accurate or not emitted": (
        "export/verification/test_verify.py",
        "export/quantization/test_step.py",
    ),
    "Self-test on the device": (
        "runtime/verification/test_selftest.py",
        "runtime/backends/test_saturation.py",
    ),
    "Frames have an age": ("runtime/source/test_stream.py", "runtime/test_scheduler.py"),
    "Nothing is called verified that was not understood": (
        "export/test_heads.py",
        "export/loading/test_load.py",
    ),
}
COLORS = ("blue", "green", "red", "white")
NETWORKS = """
import torch
from torch import nn


class Colors(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(),
            nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
        )


class OtherwiseExported(Colors):
    def forward(self, image):
        scores = super().forward(image)
        return scores.flip(1) if torch.compiler.is_exporting() else scores


class Grid(Colors):
    def forward(self, image):
        return super().forward(image)[:, :, None, None, None]
"""


def picture(rng: np.random.Generator, color: int) -> np.ndarray:
    """uint8[20,20,3] BGR, as a camera gives it: noise that is bright in one channel or in all."""
    pixels = rng.integers(0, 70, (20, 20, 3), np.uint8)
    pixels[..., [color] if color < 3 else [0, 1, 2]] += rng.integers(90, 180, dtype=np.uint8)
    return pixels


@dataclass(frozen=True)
class Workplace:
    """networks: the modules that can be exported. network: one of them, trained, in PyTorch."""

    folder: Path
    networks: Any
    network: Any

    def export(self, out: Path, *words: str, name: str = "Colors") -> int:
        """``edgecnn export`` of a network's weights: the exit code."""
        torch.save(self.network.state_dict(), self.folder / "weights.pt")
        arch = ("--arch", f"promised_networks:{name}", "--input", "16x16", "--out", str(out))
        return main(["export", str(self.folder / "weights.pt"), *arch, *words])


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A trained network, its architecture in a module, and pictures to verify and calibrate on."""
    folder, rng = tmp_path_factory.mktemp("promises"), np.random.default_rng(3)
    (folder / "promised_networks.py").write_text(NETWORKS)
    sys.path.append(str(folder))
    importlib.invalidate_caches()
    networks = importlib.import_module("promised_networks")
    (folder / "labels.txt").write_text("\n".join(COLORS))
    (folder / "pictures").mkdir()
    for i in range(40):
        cv2.imwrite(str(folder / "pictures" / f"{i:02}.png"), picture(rng, i % 4))
    yield Workplace(folder, networks, trained(networks.Colors, rng))
    sys.path.remove(str(folder))
    del sys.modules["promised_networks"]


def trained(make_network: Callable[[], Any], rng: np.random.Generator) -> Any:
    """A network that has learned the colors, from RGB planes in -1…1."""
    torch.manual_seed(0)  # before its weights are drawn, whatever test ran before
    network = make_network()
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(100):
        labels = rng.integers(0, 4, 32)
        frames = np.stack([picture(rng, label)[:16, :16] for label in labels])
        loss = torch.nn.functional.cross_entropy(network(planes(frames)), torch.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.01
    return network.eval()


def planes(frames: np.ndarray) -> Any:
    """What the training fed: float32[N,3,H,W] RGB in -1…1, of uint8[N,H,W,3] BGR."""
    rgb = np.ascontiguousarray(frames[..., ::-1].transpose(0, 3, 1, 2), np.float32)
    return torch.from_numpy((rgb - 127.5) / 127.5)


@pytest.fixture(scope="module")
def bundle(workplace: Workplace) -> Path:
    """The trained network as a bundle with INT8 forms, exported as a person types it."""
    out, pictures = workplace.folder / "colors.edge", str(workplace.folder / "pictures")
    words = [
        "--preset",
        "signed",
        "--color",
        "rgb",
        "--labels",
        str(workplace.folder / "labels.txt"),
    ]
    words += ["--images", pictures, "--int8", "--calib", pictures, "--targets", "cpu,cpu-rr"]
    assert workplace.export(out, *words, "--method", "minmax") == 0
    return out


def test_raw_pixels_in(workplace: Workplace, bundle: Path) -> None:
    """Each file of the bundle, in a plain ONNX Runtime: camera bytes in, PyTorch's answer out."""
    import onnxruntime

    rng = np.random.default_rng(5)
    frames = np.stack([picture(rng, i % 4)[:16, :16] for i in range(8)])
    with torch.no_grad():
        expected = workplace.network(planes(frames)).numpy()
    artifacts = open_bundle(bundle).manifest.artifacts
    assert {artifact.precision for artifact in artifacts} == {"fp32", "int8"}
    for artifact in artifacts:
        session = onnxruntime.InferenceSession(bundle / artifact.file)
        (pixels,) = session.get_inputs()
        assert (pixels.type, pixels.shape[1:]) == ("tensor(uint8)", [16, 16, 3])
        (scores,) = session.run(None, {pixels.name: frames})
        assert scores.argmax(1).tolist() == expected.argmax(1).tolist()
        if artifact.precision == "fp32":
            np.testing.assert_allclose(scores, expected, atol=1e-3)


def test_right_for_the_chip_it_lands_on(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One export; another processor, another form. And what was measured here goes before rules."""
    opened = open_bundle(bundle)

    def first_on(*features: str) -> str:
        offered = candidates(opened, features=frozenset(features), engines=["onnxruntime"])
        return offered[0].artifact.file

    assert first_on("avx2", "avx512_vnni") == "model.int8-cpu.onnx"
    assert first_on("avx2") == "model.int8-cpu-rr.onnx"
    assert first_on() == "model.fp32.onnx"

    words = ["--select", "--seconds", "0.2", "--threads", "1", "--backends", "onnxruntime"]
    capsys.readouterr()
    assert main(["bench", str(bundle), *words, "--cache-dir", str(tmp_path), "--json"]) == 0
    fastest = json.loads(capsys.readouterr().out)["measured"]["standings"][0]
    with load(bundle, cache_dir=tmp_path) as model:
        chosen = model.choice.candidate
    assert (chosen.artifact.file, chosen.backend) == (fastest["artifact"], fastest["backend"])
    assert "measured here on" in chosen.reason


def test_accurate_or_not_emitted(
    workplace: Workplace, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every file was compared on every engine; a network that exports as another leaves none."""
    for artifact in open_bundle(bundle).manifest.artifacts:
        assert artifact.runs
        for run in artifact.runs:
            assert run.agreement == 1.0
            assert all(parity.cosine >= 0.99 for parity in run.parity.values())
    capsys.readouterr()
    out = tmp_path / "other.edge"
    assert workplace.export(out, "--preset", "signed", name="OtherwiseExported") == 3
    assert "does not follow the model on" in capsys.readouterr().err
    assert not any(path.name.endswith(".edge") for path in tmp_path.iterdir())


def test_self_test_on_the_device(
    bundle: Path, tmp_path: Path, make_bundle: Callable[..., Path],
    make_clip: Callable[..., Path], capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """An engine answers only after it has reproduced the golden outputs here."""
    with load(bundle) as model:
        assert model.choice.test is not None
        assert model.choice.test.passed
    wrong = make_bundle("wrong", wrong=True)
    with pytest.raises(SelfTestError, match="does not reproduce the golden outputs"):
        load(wrong)
    assert main(["run", str(wrong), str(make_clip(tmp_path / "clip.mp4"))]) == 3
    assert "does not reproduce the golden outputs" in capsys.readouterr().err


class SlowSink:
    """Takes as long as the sink of a busy machine, in which two frames or more are filmed."""

    def __init__(self) -> None:
        self.results: list[FrameResult] = []

    def write(self, result: FrameResult, /) -> None:
        self.results.append(result)
        threading.Event().wait(0.1)

    def close(self) -> None:
        """Nothing is open."""


def test_frames_have_an_age(
    bundle: Path, tmp_path: Path, make_clip: Callable[..., Path],
    read_counter: Callable[[np.ndarray], int],
) -> None:  # fmt: skip
    """Several cameras on one model: each result is dated, and the newest frame wins."""
    sinks = SlowSink(), SlowSink()
    clips = [make_clip(tmp_path / f"{name}.mp4", frames=50) for name in ("gate", "yard")]
    jobs = [
        CameraJob(
            clip.name, partial(open_source, clip, realtime=True, loop=True), lambda _, s=s: [s]
        )
        for clip, s in zip(clips, sinks, strict=True)
    ]
    with (
        load(bundle, backend="onnxruntime") as model,
        CameraGroup(Scheduler(ModelInference(model)), jobs) as group,
    ):
        while min(len(sink.results) for sink in sinks) < 10:
            assert not group.wait(0.05)
    for sink in sinks:
        indices = [result.frame.index for result in sink.results]
        assert indices == sorted(set(indices)), "a frame was shown again, or after a newer one"
        assert indices[-1] - indices[0] >= len(indices), "no frame gave way to a newer one"
        for result in sink.results:
            assert read_counter(result.frame.pixels) == result.frame.index % 50
            assert result.age is not None
            assert result.age >= result.timings.total > 0


def test_nothing_is_called_verified_that_was_not_understood(
    workplace: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What no head fits, and what would run code, is refused by name; what is assumed is said."""
    out = tmp_path / "x.edge"
    assert workplace.export(out, "--preset", "signed", name="Grid") == 2
    assert "[1, 4, 1, 1, 1]" in capsys.readouterr().err

    assert workplace.export(out, "--task", "embed") == 2
    assert "--mean" in capsys.readouterr().err

    torch.save(workplace.network, tmp_path / "whole.pt")
    assert main(["export", str(tmp_path / "whole.pt"), "--out", str(out)]) != 0
    refusal = capsys.readouterr().err
    assert "promised_networks" in refusal
    assert "--trust-pickle" in refusal
    assert not out.exists()

    assert workplace.export(out, "--backends", "onnxruntime") == 0
    assert "ASSUMED normalization" in " ".join(capsys.readouterr().out.split())
    assert main(["inspect", str(out)]) == 0
    inspection = " ".join(capsys.readouterr().out.split())
    assert "ASSUMED: no source gives it; export again with --mean and --std" in inspection
    assert "ASSUMED: no source gives it; export again with --color" in inspection
    assert "ASSUMED normalization" in (out / "report.html").read_text()


def test_the_readme_lists_the_promises_that_are_tested_here(root: Path) -> None:
    readme = (root / "README.md").read_text()
    promises = re.findall(r"^\d\. \*\*(.+?)\.\*\*", readme, re.MULTILINE)
    assert promises == list(IN_DEPTH)
    for promise, files in IN_DEPTH.items():
        name = promise.lower().replace(" ", "_").replace("-", "_")
        assert callable(globals()[f"test_{name}"])
        assert all((root / "tests" / file).is_file() for file in files)
