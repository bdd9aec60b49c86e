"""A command refuses what it can before torch is imported, which takes seconds."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

CODE = """
import contextlib, io, json, sys
from edgecnn.cli import main
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        code = main(words.split())
    print(json.dumps([code, sorted({"torch", "onnx"} & set(sys.modules)), errors.getvalue()]))
"""


class Outcome(NamedTuple):
    """What a command gave: its exit code, what it had imported of torch and onnx, its message."""

    code: int
    heavy: list[str]
    message: str


def run(folder: Path, *commands: str) -> list[Outcome]:
    """Run commands one after the other in one fresh process."""
    words = [sys.executable, "-c", CODE, json.dumps(commands)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    return [Outcome(*json.loads(line)) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_bundle: Callable[..., Path]) -> Path:
    """A model file, a checkpoint with and one without a name, a bundle, labels and text."""
    torch = pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("models")
    (folder / "model.onnx").write_bytes(b"\x08\x0a" + bytes(60))
    (folder / "text.pt").write_text("no model at all")
    (folder / "labels.txt").write_text("a\n\nb\n")
    (folder / "bad.yaml").write_text("model: model.onnx\nopsett: 18\n")
    (folder / "empty").mkdir()
    (folder / "pictures").mkdir()
    cv2.imwrite(str(folder / "pictures" / "1.png"), np.zeros((8, 8, 3), np.uint8))
    for name, spec in (("plain", {}), ("named", {"name": "other"})):
        torch.save({"spec": spec, "w": torch.ones(2)}, folder / f"{name}.pt")
        shutil.copytree(make_bundle(name), folder / f"{name}.edge")
    return folder


EXPORT = {
    "absent.pt": "absent.pt: no such file",
    "text.pt": "not a model that edgecnn knows",
    "empty": "is a folder",
    "plain.pt": "plain.edge exists: add --overwrite",
    "named.pt --out plain.edge": "plain.edge exists: add --overwrite",
    "model.onnx --name plain": "plain.edge exists: add --overwrite",
    "model.onnx --out labels.txt --overwrite": "labels.txt exists and is not a bundle",
    "model.onnx --labels absent.txt": "--labels absent.txt",
    "model.onnx --labels labels.txt": "labels.txt:2: an empty line",
    "model.onnx --images absent": "--images absent: no such folder",
    "model.onnx --images empty": "--images empty: contains no picture",
    "model.onnx --int8": "--int8 needs --calib",
    "model.onnx --int8 --calib absent": "--calib absent: no such folder",
    "model.onnx --int8 --calib pictures --eval-data absent": "--eval-data absent: no such",
    "model.onnx --int8 --calib pictures --eval-data empty": "--eval-data empty: contains no pict",
    "model.onnx --arch a.b:c": "leave --arch out",
    "model.onnx --weights-key ema": "leave --weights-key out",
    "plain.pt --arch resnet18": "not package.module:factory",
    "plain.pt --arch absent.py:Net": "there is no file absent.py",
    "model.onnx --task sing": "--task",
    "model.onnx --head octopus": "octopus",
    "model.onnx --backends octopus": "octopus",
    "model.onnx --input 12y": "--input",
    "model.onnx --pad 1,2": "--pad is one gray value or B,G,R",
    "model.onnx --mean 0.5 --std 0.5": "--mean 127.5 --std 127.5",
    "model.onnx --mean 1,2 --std 1,2": "--mean has 2 numbers",
    "model.onnx --preset imagenet --color gray": "--preset imagenet is for color",
    "model.onnx --preset unit --mean 1": "use one of them",
    "model.onnx --opset 9": "--opset",
    "--spec absent.yaml": "absent.yaml",
    "--spec bad.yaml": "opsett",
}
"""What is typed after ``edgecnn export``, and what the refusal says."""


def test_export_refuses_before_torch_is_imported(folder: Path) -> None:
    outcomes = run(folder, *(f"export {words}" for words in EXPORT))
    for (words, message), outcome in zip(EXPORT.items(), outcomes, strict=True):
        assert outcome.code in {2, 4}, words
        assert message in outcome.message, words
        assert outcome.heavy == [], words


def test_a_checkpoint_that_names_its_bundle_is_not_refused_for_another(folder: Path) -> None:
    """named.edge is there, and named.pt calls its bundle otherwise."""
    (outcome,) = run(folder, "export named.pt --arch no_such.thing:Net")
    assert "torch" in outcome.heavy
    assert "exists" not in outcome.message


TRAIN = {
    "octopus --data empty": "known: mnist_net",
    "mnist_net --data absent": "absent is not a folder",
    "mnist_net --data empty --labels absent.txt": "--labels absent.txt: no such file",
    "mnist_net --data empty --init-from absent.pt": "--init-from absent.pt: no such file",
    "mnist_net --data empty --out absent/model.pt": "cannot write absent/model.pt",
    "mnist_net --data empty --epochs none": "--epochs",
}
"""The same of ``edgecnn train``."""


def test_train_refuses_before_torch_is_imported(folder: Path) -> None:
    outcomes = run(folder, *(f"train {words}" for words in TRAIN))
    for (words, message), outcome in zip(TRAIN.items(), outcomes, strict=True):
        assert outcome.code in {1, 2}, words
        assert message in outcome.message, words
        assert outcome.heavy == [], words
