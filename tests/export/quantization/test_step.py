"""INT8 from the command line: what it makes, what it refuses, what is left where it fails."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import onnx
import pytest
from msgspec.json import decode as json_decode
from msgspec.structs import replace
from rich.console import Console

from edgecnn.cli import main
from edgecnn.cli.export import print_result
from edgecnn_export.config import ExportConfig
from edgecnn_export.pipeline import ExportResult, export
from edgecnn_export.progress import NullProgress
from edgecnn_export.quantization.report import TargetResult
from edgecnn_export.quantization.step import (
    choose_measuring_images,
    exclude_images,
    read_calibration,
    split_calibration,
)
from edgecnn_export.quantization.warnings import gate_warnings
from edgecnn_export.report import ExportReport
from edgecnn_export.report_html import render
from edgecnn_export.verification.gate import Gate
from edgecnn_export.verification.verify import engines, engines_for
from edgecnn_runtime import load
from edgecnn_runtime.bundle.bundle import open_bundle
from edgecnn_runtime.bundle.manifest import Input, Normalization
from edgecnn_runtime.device.cpu import cpu_features, saturates
from edgecnn_runtime.errors import ExportInterruptedError, UsageError
from edgecnn_runtime.evaluation.metrics import Score
from edgecnn_runtime.types import Classification, Pixels
from edgecnn_runtime.verification.selftest import TOLERANCE_DB, required_db

pytestmark = pytest.mark.xdist_group("quantization step")  # one bundle for most of them

Build = Callable[..., onnx.ModelProto]
SPEC = Input(
    width=24,
    height=24,
    color="bgr",
    normalization=Normalization(mean=(0.0,) * 3, std=(1.0,) * 3, origin="flag"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, pictures: Pixels) -> Path:
    """Pictures as files, and one file that is none."""
    where = tmp_path_factory.mktemp("photos")
    for index, picture in enumerate(pictures):
        cv2.imwrite(str(where / f"{index:02d}.png"), picture)
    (where / "torn.jpg").write_bytes(b"\xff\xd8\xff torn")
    return where


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, network: Build) -> Path:
    """The network before folding: an ONNX file with a float input."""
    path = tmp_path_factory.mktemp("model") / "net.onnx"
    graph = network()
    kept = [node for node in graph.graph.node if node.op_type not in {"Cast", "Transpose", "Sub"}]
    del graph.graph.node[:], graph.graph.input[:]
    graph.graph.node.extend(kept)
    value = onnx.helper.make_tensor_value_info("centered", onnx.TensorProto.FLOAT, ["N", 3, 24, 24])
    graph.graph.input.append(value)
    onnx.save(graph, path)
    return path


def config(model: Path, folder: Path, out: Path, **more: Any) -> ExportConfig:
    return ExportConfig(
        model=str(model),
        task="classify",
        mean=(103.5, 116.3, 123.7),
        std=(1.0, 1.0, 1.0),
        color="bgr",
        images=str(folder),
        int8=True,
        calib=str(folder),
        work_dir=str(out.parent / "work"),
        out=str(out),
        **more,
    )


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, model: Path, folder: Path) -> ExportResult:
    return export(config(model, folder, tmp_path_factory.mktemp("out") / "net.edge"))


def test_the_bundle_holds_every_target_measured_on_every_engine(result: ExportResult) -> None:
    bundle = open_bundle(result.bundle.path)
    artifacts = {a.target: a for a in bundle.manifest.artifacts}
    assert set(artifacts) == {"any", "cpu", "cpu-rr", "trt"}
    assert not result.int8.unmet
    assert {"verify on onnxruntime", "verify int8-cpu-rr on onnxruntime"} <= set(result.seconds)
    for target in ("cpu", "cpu-rr", "trt"):
        measured = {run.engine for run in artifacts[target].runs}
        assert measured >= {f"{name}/f32" for name in engines_for(target, engines(None))}
        assert all(run.golden_snr_db["logits"] > 10 for run in artifacts[target].runs)
    assert bundle.manifest.provenance.calibration_count == 48
    assert bundle.manifest.provenance.calibration_sha256


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_int8_artifacts_load_and_answer_like_the_float_one(
    result: ExportResult, pictures: Pixels, backend: str, tmp_path: Path
) -> None:
    answers = {}
    form = "int8-cpu-rr" if saturates(cpu_features()) else "int8-cpu"
    for precision in ("fp32", "int8"):
        artifact = {"fp32": "model.fp32.onnx", "int8": f"model.{form}.onnx"}[precision]
        with load(
            result.bundle.path, backend=backend, artifact=artifact, cache_dir=tmp_path
        ) as one:
            results = [one(picture) for picture in pictures[:8]]
        answers[precision] = [r.index for r in results if isinstance(r, Classification)]
    same = np.mean([a == b for a, b in zip(*answers.values(), strict=True)])
    assert same >= 0.75


def test_where_the_processor_saturates_forms_for_others_are_judged_by_exact_sums(
    result: ExportResult,
    model: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("verification.verify", "quantization.step"):
        monkeypatch.setattr(f"edgecnn_export.{module}.cpu_features", lambda: frozenset({"avx2"}))
    there = export(config(model, folder, tmp_path / "net.edge", method="minmax"))
    manifest = there.bundle.manifest
    artifacts = {artifact.target: artifact for artifact in manifest.artifacts}
    assert set(artifacts) == {"any", "cpu", "cpu-rr", "trt"}
    for target in ("cpu", "trt"):
        (run,) = artifacts[target].runs
        assert run.engine == "onnxruntime-exact/f32"
        needed = required_db(artifacts[target], "onnxruntime/f32", manifest.model)
        assert needed == {"logits": pytest.approx(run.golden_snr_db["logits"] - TOLERANCE_DB)}
    assert {run.engine for run in artifacts["cpu-rr"].runs} >= {"onnxruntime/f32", "openvino/f32"}
    (warning,) = (warning for warning in there.warnings if "saturates" in warning)
    assert "int8-cpu, int8-trt were judged by exact sums (onnxruntime-exact)" in warning
    page = (there.bundle.path / "report.html").read_text()
    assert "The exporting machine: full-range INT8 saturates on this processor" in page
    assert saturates(cpu_features()) == any("saturates" in warning for warning in result.warnings)


def test_the_report_ranks_layers_and_draws_their_sqnr(result: ExportResult) -> None:
    report = json.loads((result.bundle.path / "report.json").read_text())["int8"]
    assert [target["target"] for target in report["targets"]] == ["cpu", "cpu-rr", "trt"]
    for target in report["targets"]:
        assert len(target["layers"]) >= 5
        assert all(layer["before_db"] > 15 for layer in target["layers"])
        assert target["method"] in target["methods"]
        key = "before_db" if target["layers"][0]["noise"] is None else "noise"
        values = [layer[key] for layer in target["layers"]]
        assert values == sorted(values, reverse=key == "noise")
    page = (result.bundle.path / "report.html").read_text()
    assert page.count('class="sqnr"') == 3
    whole = json.loads((result.bundle.path / "report.json").read_text())["int8"]
    assert whole["calibrated_on"] == 39
    assert whole["measured_on"] >= 9 + 16
    assert "int8-cpu-rr" in page


def test_table_page_and_gate_show_the_same_cosine(
    result: ExportResult, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (result.bundle.path / "report.html").read_text()
    cosines = [
        re.search(r"centered cosine (0\.\d{4})", target.best.verdict.text)
        for target in result.int8.results
    ]
    assert len(cosines) == 3
    print_result(result, Console(width=80))
    printed = capsys.readouterr().out.partition("✓")[0]
    for cosine in cosines:
        assert cosine is not None
        assert re.search(rf"<td>{cosine[1]}\d{{4}}</td>", page)
        assert re.search(rf"\b{cosine[1]}\d{{4}} ", printed)
    assert max(map(len, printed.splitlines())) <= 80
    assert "…" not in printed


def test_what_is_under_a_mark_or_was_not_made_does_not_look_as_if_it_were(
    result: ExportResult, pictures: Pixels
) -> None:
    report = json_decode((result.bundle.path / "report.json").read_bytes(), type=ExportReport)
    assert report.int8 is not None
    pixels, shown = pictures[: len(report.pictures)], Classification("a", 0, 0.9, np.ones(6, "f"))

    def page(*targets: TargetResult) -> str:
        changed = replace(report, int8=replace(report.int8, targets=targets))
        return render(changed, pixels, [shown] * len(report.pictures))

    first, *others = report.int8.targets
    whole = page(first, *others)
    assert "nines under" not in whole
    assert "not made" not in whole
    low = tuple(replace(each, cosine=0.98) for each in first.measurements)
    assert page(replace(first, measurements=low), *others).count("nines under") == len(low)
    unmade = page(replace(first, passed=False), *others)
    assert '<tr class="unmade"><td>int8-cpu</td>' in unmade
    assert 'class="card unmade"' in unmade
    assert re.search(r'<div class="bad">\s*<b>(\d+) of (?!\1<)', unmade)


def test_few_and_unreadable_pictures_are_warned_of(result: ExportResult) -> None:
    text = "\n".join(result.warnings)
    assert "torn.jpg" in text
    assert "only 48 calibration pictures" in text


def test_an_unmet_gate_ends_with_3_and_a_float_bundle_that_works(
    model: Path,
    folder: Path,
    tmp_path: Path,
    pictures: Pixels,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        "edgecnn_export.quantization.accuracy_gate.GATE", Gate(cosine=1.1, agreement=0.0)
    )
    out = tmp_path / "net.edge"
    words = ["export", str(model), "--task", "classify", "--color", "bgr", "--int8"]
    words += ["--mean", "103.5,116.3,123.7", "--std", "1,1,1", "--images", str(folder)]
    words += ["--calib", str(folder), "--targets", "cpu", "--method", "minmax"]
    words += ["--work-dir", str(tmp_path / "work"), "--out", str(out), "--json"]
    assert main(words) == 3
    output = json.loads(capsys.readouterr().out)
    assert "centered cosine" in output["unmet"]["cpu"]
    assert any("int8-cpu was not made" in w and "worst layers are" in w for w in output["warnings"])
    assert [a.target for a in open_bundle(out).manifest.artifacts] == ["any"]
    with load(out, cache_dir=tmp_path) as one:
        assert isinstance(one(pictures[0]), Classification)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"calib": ""}, "--int8 needs --calib DIR"),
        ({"calib": "nowhere"}, "--calib nowhere: no such folder"),
        ({"calib": __file__}, "--calib .*: not a folder; give the one it is in"),
        ({"eval_data": "nowhere"}, "--eval-data nowhere: no such file"),
        ({"work_dir": __file__}, "--work-dir .* cannot be written to"),
        ({"int8": False, "method": "mse"}, "--calib, --method, --work-dir: only with --int8"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_before_anything_is_loaded(
    tmp_path: Path, folder: Path, more: dict[str, object], words: str
) -> None:
    settings = config(tmp_path / "absent.onnx", folder, tmp_path / "net.edge")
    import msgspec

    with pytest.raises(UsageError, match=words):
        export(msgspec.structs.replace(settings, images="", **more))


def test_a_target_named_twice_is_made_once_and_a_drop_of_nothing_is_remarked(
    model: Path, folder: Path, tmp_path: Path
) -> None:
    settings = config(model, folder, tmp_path / "net.edge", targets=("cpu", "cpu"), max_drop=0.1)
    result = export(settings)
    assert [a.target for a in result.bundle.manifest.artifacts] == ["any", "cpu"]
    assert any("--max-drop 0.1 has no effect without --eval-data" in w for w in result.warnings)


@pytest.mark.parametrize(
    ("metric", "value", "classes", "doubted"),
    [
        ("top-1", 0.09, 10, True),
        ("top-1", 0.55, 2, True),
        ("top-1", 0.90, 2, False),
        ("top-1", 0.70, 1000, False),
        ("mAP50", 0.45, 1, False),
        ("mAP50", 0.02, 1, True),
        ("exact match", 0.9, 0, False),
    ],
)
def test_labels_of_other_files_are_suspected_where_the_float_model_guesses(
    metric: str, value: float, classes: int, doubted: bool
) -> None:
    chance = 1 / classes if metric == "top-1" else 0.0
    reference = Score(metric, value, 0.0, 1.0, 1000, chance)
    warnings = gate_warnings(ExportConfig(eval_data="labels.tsv"), reference, 0.5)
    assert len(warnings) == doubted
    assert all(f"the float model itself reaches {metric}" in text for text in warnings)


def test_a_doubted_label_is_shown_with_what_was_found_instead() -> None:
    settings = ExportConfig(eval_data="labels.tsv")
    poor = Score("exact match", 0.1, 0.0, 1.0, 1000)
    (text,) = gate_warnings(settings, poor, 0.5, "1.png reads 'A-1' and is labeled 'A1'")
    assert "1.png reads 'A-1' and is labeled 'A1'" in text
    assert "had to agree with the float model as well" in text
    (text,) = gate_warnings(settings, poor, 100.0)
    assert text == "--max-drop 100 switches the gate off: INT8 may lose everything"


def test_too_few_labeled_pictures_for_the_points_that_may_be_lost() -> None:
    def warnings_for(samples: int) -> list[str]:
        return gate_warnings(ExportConfig(), Score("top-1", 0.9, 0.8, 1.0, samples), 0.5)

    assert warnings_for(200) == []
    (text,) = warnings_for(40)
    assert (
        "each of the 40 labeled pictures weighs 2.5 points, and 0.5 may be lost: only 200" in text
    )


def test_no_picture_and_none_readable(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--calib .* contains no picture"):
        read_calibration(str(tmp_path), SPEC)
    (tmp_path / "1.png").write_text("no picture")
    with pytest.raises(UsageError, match="none of 1 files is a readable picture"):
        read_calibration(str(tmp_path), SPEC)


def test_unreadable_pictures_are_replaced(folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folder, tmp_path / "half"))
    files = sorted(folder.iterdir())
    for file in files[::2]:
        file.write_text("no picture")
    calibration = read_calibration(str(folder), SPEC, limit=len(files) // 2)
    assert sorted(calibration.names) == [file.name for file in files[1::2]]
    assert set(calibration.skipped) <= {file.name for file in files[::2]}


def test_a_large_folder_is_sampled_all_over(folder: Path) -> None:
    calibration = read_calibration(str(folder), SPEC, limit=10)
    assert len(calibration.pixels) == 10
    assert calibration.names[0] == "00.png"
    assert calibration.names[-1] >= "40.png"


def test_measured_pictures_are_not_calibrated_on_where_there_are_enough() -> None:
    pixels = np.arange(300, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    used, held_out = split_calibration(pixels)
    assert len(used) + len(held_out) == 300
    assert 40 <= len(held_out) <= 64
    few = pixels[:12]
    assert split_calibration(few)[0] is split_calibration(few)[1] is few


def test_verification_pictures_that_were_calibrated_on_do_not_count_twice() -> None:
    pixels = np.arange(30, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    assert (exclude_images(pixels, pixels[5:]) == pixels[:5]).all()
    assert len(exclude_images(pixels, pixels)) == 0


def test_without_pictures_to_verify_on_those_to_calibrate_on_are_used(
    model: Path, folder: Path, tmp_path: Path
) -> None:
    settings = config(model, folder, tmp_path / "net.edge", targets=("cpu", "openvino"))
    result = export(msgspec.structs.replace(settings, images="", method="minmax"))
    assert result.bundle.manifest.golden.pictures == "calibration"
    assert not any("synthetic" in warning for warning in result.warnings)
    (warning,) = (w for w in result.warnings if "int8-openvino" in w)
    assert "nearly the same as int8-cpu" in warning, "asked for by name, and no form of its own"


@pytest.mark.parametrize("count", [12, 40, 100, 300, 1000])
def test_few_held_out_pictures_are_joined_by_others(count: int) -> None:
    numbers = np.arange(count, dtype=np.uint16).view(np.uint8).reshape(-1, 1, 1, 2)
    verified = np.full((16, 1, 1, 2), 255, np.uint8)
    used, held_out = split_calibration(numbers)
    measured = choose_measuring_images(held_out, verified, used)
    assert (measured[: len(held_out)] == held_out).all(), "methods are compared on the first"
    assert len(np.unique(measured.reshape(-1, 2), axis=0)) == len(measured) - 15
    assert min(128, count) // 2 < len(measured) <= max(128, len(held_out) + 16)


class _StopsAt(NullProgress):
    """Ctrl-C when a step of this name begins."""

    def __init__(self, words: str) -> None:
        self.words = words
        self.steps: list[str] = []

    def step(self, name: str) -> AbstractContextManager[None]:
        self.steps.append(name)
        if self.words and self.words in name:
            raise KeyboardInterrupt
        return super().step(name)


def test_an_interrupted_export_leaves_the_float_bundle_and_goes_on(
    model: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "net.edge"
    settings = config(model, folder, out, targets=("cpu", "cpu-rr"), method="minmax")
    with pytest.raises(ExportInterruptedError, match="The same command goes on") as interrupted:
        export(settings, _StopsAt("cpu-rr (2 of 2): measure"))
    assert interrupted.value.exit_code == 130
    bundle = open_bundle(out)
    assert [artifact.target for artifact in bundle.manifest.artifacts] == ["any"]
    assert "other forms are not finished" in (out / "report.html").read_text()
    with load(out, cache_dir=tmp_path) as one:
        assert isinstance(one(np.zeros((24, 24, 3), np.uint8)), Classification)
    again = _StopsAt("")
    result = export(settings, again)
    artifacts = result.bundle.manifest.artifacts
    assert [artifact.target for artifact in artifacts] == ["any", "cpu", "cpu-rr"]
    assert not any("other forms are not finished" in warning for warning in result.warnings)
    assert any(
        "int8-cpu (1 of 2): measure" in name and "known from before" in name for name in again.steps
    )
    with pytest.raises(UsageError, match="add --overwrite"):
        export(settings)


def test_a_bundle_of_another_model_is_not_replaced_for_being_unfinished(
    model: Path, folder: Path, tmp_path: Path
) -> None:
    settings = config(model, folder, tmp_path / "net.edge", targets=("cpu",), method="minmax")
    with pytest.raises(ExportInterruptedError):
        export(settings, _StopsAt("int8-cpu: measure"))
    other = shutil.copy(model, tmp_path / "other.onnx")
    with pytest.raises(UsageError, match="add --overwrite"):
        export(msgspec.structs.replace(settings, model=str(other)))
    with pytest.raises(UsageError, match="add --overwrite"):
        export(
            msgspec.structs.replace(
                settings, int8=False, calib="", targets=None, method=None, work_dir=""
            )
        )


def test_ctrl_c_while_int8_is_made_ends_with_130_and_says_how_to_go_on(
    model: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "net.edge"
    words = ["export", model, "--task", "classify", "--color", "bgr", "--int8", "--images", folder]
    words += ["--mean", "103.5,116.3,123.7", "--std", "1,1,1", "--calib", folder, "--out", out]
    words += ["--work-dir", tmp_path / "work"]
    command = [sys.executable, "-m", "edgecnn", *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (out / "manifest.json").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "holds the float model, complete and verified" in " ".join(errors.split())
    assert [artifact.target for artifact in open_bundle(out).manifest.artifacts] == ["any"]
    assert not list(tmp_path.glob(".net.edge.*"))
