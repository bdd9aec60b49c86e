"""What edgecnn 0.1.0 wrote is still read, or is said to be of an older version.

``tests/data/v1`` holds what that version wrote: a bundle with INT8 forms, a manifest per head, a
report of ``bench``, and what it had learned on a device: a choice, a self-test and an engine.
"""

import json
import logging
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecnn.cli import main
from edgecnn_runtime import __version__, load
from edgecnn_runtime.backends.nvidia import engine_cache
from edgecnn_runtime.bundle.bundle import load_golden, open_bundle, parse_manifest
from edgecnn_runtime.bundle.manifest import SCHEMA_VERSION
from edgecnn_runtime.tasks import make_decoder
from edgecnn_runtime.types import Classification

DATA = Path(__file__).parents[1] / "data" / "v1"
MANIFESTS = sorted((DATA / "manifests").glob("*.json"))
ARTIFACTS = ["model.fp32.onnx", "model.int8-cpu.onnx", "model.int8-cpu-rr.onnx",
             "model.int8-trt.onnx"]  # fmt: skip
BENCH = ["--seconds", "0.1", "--rounds", "2", "--warmup", "0", "--starts", "0", "--threads", "1",
         "--backends", "onnxruntime", "--precisions", "f32", "--scopes", "engine"]  # fmt: skip


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DATA / "bundle", tmp_path / "colors.edge"))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state directory of the device on which 0.1.0 ran; only this user may write to it."""
    folder = Path(shutil.copytree(DATA / "state", tmp_path / "older"))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return folder


def test_a_bundle_is_opened_verified_and_run(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = open_bundle(bundle)
    assert opened.manifest.schema == SCHEMA_VERSION
    assert [artifact.file for artifact in opened.manifest.artifacts] == ARTIFACTS
    assert main(["inspect", str(bundle)]) == 0
    assert main(["verify", str(bundle), "--backend", "onnxruntime"]) == 0
    red = tmp_path / "red.png"
    cv2.imwrite(str(red), np.full((20, 20, 3), (30, 30, 200), np.uint8))
    capsys.readouterr()
    assert main(["run", str(bundle), str(red), "--events", str(tmp_path / "e.jsonl")]) == 0
    (line,) = (tmp_path / "e.jsonl").read_text().splitlines()
    assert json.loads(line)["results"][0]["label"] == "red"


@pytest.mark.parametrize("artifact", ["fp32", "int8-cpu-rr"])
def test_each_form_gives_what_its_golden_data_says(bundle: Path, artifact: str) -> None:
    golden = load_golden(open_bundle(bundle))
    with load(bundle, backend="onnxruntime", artifact=artifact) as model:
        for pixels, scores in zip(golden.pixels, golden.outputs["output"], strict=True):
            result = model(pixels)
            assert isinstance(result, Classification)
            assert result.index == scores.argmax()


def test_a_packed_bundle_keeps_its_digest(bundle: Path, tmp_path: Path) -> None:
    digest = open_bundle(bundle).digest
    tar = tmp_path / "colors.edge.tar"
    assert main(["pack", str(bundle), "--out", str(tar)]) == 0
    assert main(["unpack", str(tar), "--into", str(tmp_path / "elsewhere")]) == 0
    assert open_bundle(tmp_path / "elsewhere" / "colors.edge", digest=digest).digest == digest


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_a_manifest_of_every_head_is_read(path: Path) -> None:
    manifest = parse_manifest(path.read_bytes(), str(path))
    before = json.loads(path.read_bytes())
    assert (manifest.schema, before["schema"]) == (SCHEMA_VERSION, 1)
    assert manifest.model.task == before["task"]
    assert [output.name for output in manifest.model.outputs] == [
        output["name"] for output in before["outputs"]
    ]
    make_decoder(manifest.model)


def test_a_choice_is_said_to_be_of_an_older_version(
    bundle: Path, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with load(bundle, backend="onnxruntime", cache_dir=state) as model:
        assert "measured here" not in model.choice.candidate.reason
    assert re.search(rf"since then, 0\.1\.0.* became edgecnn {re.escape(__version__)}", caplog.text)
    assert f"`edgecnn bench {bundle} --select` measures again" in caplog.text


def test_measuring_again_silences_the_warning(
    bundle: Path, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["--seconds", "0.1", "--threads", "1", "--backends", "onnxruntime"]
    assert main(["bench", str(bundle), "--select", "--cache-dir", str(state), *words]) == 0
    caplog.clear()
    with load(bundle, cache_dir=state) as model:
        assert "measured here" in model.choice.candidate.reason
    assert "older" not in caplog.text
    assert "not used" not in caplog.text


def test_a_self_test_is_made_again(bundle: Path, state: Path) -> None:
    before = set((state / "selftest").iterdir())
    with load(bundle, backend="onnxruntime", artifact="fp32", cache_dir=state) as model:
        assert model.choice.test is not None
        assert model.choice.test.passed
    assert len(set((state / "selftest").iterdir()) - before) == 1


def test_an_engine_loads_under_its_own_key_and_is_said_to_be_older_under_todays(
    state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (contents,) = state.glob("engines/*/contents.json")
    key = tuple(json.loads(contents.read_bytes())["key"])
    folder = engine_cache.load_engine(state, key)
    assert folder is not None
    assert (folder / "plan").read_bytes() == b"plan"
    today = tuple(part.replace("edgecnn 0.1.0", f"edgecnn {__version__}") for part in key)
    with caplog.at_level(logging.WARNING):
        assert engine_cache.load_engine(state, today) is None
    assert f"since then, edgecnn 0.1.0 became edgecnn {__version__}" in caplog.text


def test_a_report_of_bench_is_shown_and_compared(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = str(DATA / "bench.json"), str(tmp_path / "after.json")
    page = tmp_path / "report.html"
    assert main(["bench", "report", before, "--out", str(page)]) == 0
    assert "colors" in page.read_text()
    assert main(["bench", str(bundle), *BENCH, "--out", after]) == 0
    capsys.readouterr()
    assert main(["bench", "compare", before, after, "--any-host"]) == 0
    assert "engine: fp32 on" in capsys.readouterr().out
