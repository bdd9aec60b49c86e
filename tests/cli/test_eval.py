"""``edgecnn eval`` as it is typed: what it measures, on what, and what it says of the rest."""

import gzip
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecnn.cli import main
from edgecnn_runtime.model import load

Captured = pytest.CaptureFixture[str]
COUNT = 24


@pytest.fixture(scope="module")
def bundle(make_bundle: Callable[..., Path]) -> Path:
    """A classifier with the classes a to d."""
    return make_bundle("evaluated")


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """uint8[COUNT,20,20] gray."""
    shades = np.linspace(0, 200, COUNT)[:, None, None]
    texture = np.random.default_rng(2).integers(0, 55, (COUNT, 20, 20))
    return (shades + texture).astype(np.uint8)


@pytest.fixture(scope="module")
def answers(bundle: Path, pictures: np.ndarray) -> list[int]:
    """What the model itself says."""
    with load(bundle, backend="onnxruntime") as model:
        return [model(np.repeat(each[..., None], 3, axis=2)).index for each in pictures]


@pytest.fixture(scope="module")
def labels(answers: list[int]) -> list[int]:
    """The answers, but for the first three."""
    return [(answer + 1) % 4 if at < 3 else answer for at, answer in enumerate(answers)]


@pytest.fixture
def folders(tmp_path: Path, pictures: np.ndarray, labels: list[int]) -> Path:
    """The pictures in class folders."""
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        folder = tmp_path / "data" / "abcd"[label]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    return tmp_path / "data"


@pytest.fixture
def idx(tmp_path: Path, pictures: np.ndarray, labels: list[int]) -> Path:
    """The pictures in files as MNIST's, beside a training part whose labels are all wrong."""
    folder = tmp_path / "idx"
    folder.mkdir()
    wrong = [(label + 1) % 4 for label in labels]
    for part, numbers in (("t10k", labels), ("train", wrong)):
        head = struct.pack(">4I", 0x803, *pictures.shape)
        packed = gzip.compress(head + pictures.tobytes())
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(packed)
        head = struct.pack(">2I", 0x801, len(numbers))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(head + bytes(numbers))
    return folder


def evaluate(capsys: Captured, *words: object) -> dict[str, Any]:
    assert main(["eval", *map(str, words), "--json"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


@pytest.mark.parametrize("data", ["folders", "idx"])
def test_a_score_with_its_interval_class_by_class(
    bundle: Path, data: str, labels: list[int], request: pytest.FixtureRequest, capsys: Captured
) -> None:
    report = evaluate(capsys, bundle, request.getfixturevalue(data), "--backend", "onnxruntime")
    (result,) = report["results"]
    assert (result["metric"], result["samples"]) == ("top-1", COUNT)
    assert result["value"] == pytest.approx(1 - 3 / COUNT)
    assert result["low"] < result["value"] < result["high"]
    assert result["engine"] == "onnxruntime/f32"
    assert {n: c["samples"] for n, c in result["classes"].items()} == {
        "abcd"[label]: labels.count(label) for label in sorted(set(labels))
    }
    right = sum(c["value"] * c["samples"] for c in result["classes"].values())
    assert right == pytest.approx(COUNT - 3)


def test_one_idx_file_may_be_named(bundle: Path, idx: Path, capsys: Captured) -> None:
    train = idx / "train-images-idx3-ubyte.gz"
    assert evaluate(capsys, bundle, train)["results"][0]["value"] < 0.2
    assert evaluate(capsys, bundle, idx)["results"][0]["value"] > 0.8


def test_a_part_of_the_pictures(bundle: Path, folders: Path, capsys: Captured) -> None:
    report = evaluate(capsys, bundle, folders, "--count", 6)
    assert report["results"][0]["samples"] == 6


@pytest.fixture
def several(bundle: Path, tmp_path: Path) -> Path:
    """The bundle with its graph three times: for any engine, for TensorRT, and for OpenVINO."""
    copy = Path(shutil.copytree(bundle, tmp_path / bundle.name))
    manifest = json.loads((copy / "manifest.json").read_text())
    plain = manifest["artifacts"][0]
    for target in ("trt", "openvino"):
        file = f"model.int8-{target}.onnx"
        shutil.copy(copy / plain["file"], copy / file)
        entry = plain | {"file": file, "precision": "int8", "target": target}
        manifest["artifacts"].insert(0, entry)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def test_every_artifact_stands_beside_float(several: Path, folders: Path, capsys: Captured) -> None:
    """Also one for a GPU, by exact sums, where no GPU is."""
    report = evaluate(capsys, several, folders)
    results = {each["artifact"]: each for each in report["results"]}
    assert next(iter(results)) == "model.fp32.onnx"
    assert results["model.fp32.onnx"]["agreement"] is None
    trt = results["model.int8-trt.onnx"]
    assert trt["engine"] == "onnxruntime-exact/f32"
    assert trt["agreement"] == 1.0
    assert trt["value"] == results["model.fp32.onnx"]["value"]


def test_what_no_engine_computes_is_said(several: Path, folders: Path, capsys: Captured) -> None:
    words = ["eval", str(several), str(folders), "--backend", "onnxruntime"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "not measured: int8-openvino: it is for openvino" in printed
    assert re.search(r"not measured: int8-trt: it is for .*tensorrt", printed)
    assert all(len(line) <= 80 for line in printed.splitlines())
    report = evaluate(capsys, *words[1:], "--artifact", "int8-trt")
    assert [each["artifact"] for each in report["results"]] == ["model.fp32.onnx"]
    assert list(report["not_measured"]) == ["int8-trt"]


def test_an_artifact_that_is_refused_here_is_measured_and_marked(
    make_bundle: Callable[..., Path], folders: Path, capsys: Captured
) -> None:
    (result,) = evaluate(capsys, make_bundle("unlike", wrong=True), folders)["results"]
    assert result["value"] > 0.8
    assert "does not reproduce the golden outputs" in result["problem"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["absent"], "absent: no such file or folder"),
        (["DATA", "--count", "0"], "--count 0"),
        (["DATA", "--artifact", "int9"], "it has fp32"),
        (["DATA/?"], "none lies in a subfolder"),
    ],
)
def test_what_cannot_be_meant(
    bundle: Path, folders: Path, words: list[str], message: str, capsys: Captured
) -> None:
    folder = next(folders.iterdir()).name
    words = [word.replace("DATA", str(folders)).replace("?", folder) for word in words]
    assert main(["eval", str(bundle), *words]) == 2
    assert message in capsys.readouterr().err


def test_labels_of_other_classes_are_refused(bundle: Path, folders: Path, capsys: Captured) -> None:
    next(folders.iterdir()).rename(folders / "antelope")
    assert main(["eval", str(bundle), str(folders)]) == 2
    assert "antelope" in capsys.readouterr().err


def test_it_needs_no_torch_and_no_onnx(bundle: Path, folders: Path, tmp_path: Path) -> None:
    for name in ("torch", "onnx"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError(name={name!r})")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    words = [sys.executable, "-m", "edgecnn", "eval", str(bundle), str(folders)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "87.50 %" in done.stdout


def test_a_model_of_vectors_is_judged_by_pairs(
    bundle: Path, folders: Path, tmp_path: Path, capsys: Captured
) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "vectors.edge"))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["model"] |= {"task": "embed", "labels": []}
    manifest["model"]["decode"] = {"head": "embed", "output": "scores"}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    (result,) = evaluate(capsys, copy, folders)["results"]
    assert result["metric"] == "TAR@FAR 0.001"
    assert 0 <= result["low"] <= result["value"] <= result["high"] <= 1
    assert (result["samples"], result["classes"]) == (COUNT, {})
    assert main(["eval", str(copy), str(folders), "--count", "1"]) == 0
    printed = capsys.readouterr().out
    assert "too few pictures to measure anything" in printed
    assert evaluate(capsys, copy, folders, "--count", 1)["results"][0]["value"] is None


def test_a_score_is_refused_where_nothing_is_dropped_by_it(
    bundle: Path, folders: Path, capsys: Captured
) -> None:
    assert main(["eval", str(bundle), str(folders), "--score", "0.5"]) == 2
    assert "leave out --score" in capsys.readouterr().err
