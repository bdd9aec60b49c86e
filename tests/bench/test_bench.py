"""Whole benchmarks of small real bundles on the engines that are installed here."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecnn_bench.bench import bench
from edgecnn_bench.config import BenchConfig
from edgecnn_bench.plan import accuracy, open_bundles
from edgecnn_bench.schema import Accuracy, BenchReport
from edgecnn_runtime.bundle.manifest import Artifact, Run
from edgecnn_runtime.errors import (
    BackendMissingError,
    BundleError,
    SelfTestError,
    UsageError,
)

MakeBundle = Callable[..., Path]


def quick(**changes: Any) -> BenchConfig:
    values: dict[str, Any] = {
        "seconds": 0.1, "rounds": 2, "warmup": 0.0, "starts": 0, "threads": (1,),
        "backends": ("onnxruntime",), "precisions": ("f32",),
    }  # fmt: skip
    return BenchConfig(**(values | changes))


@pytest.fixture(scope="module")
def report(make_bundle: MakeBundle, tmp_path_factory: pytest.TempPathFactory) -> BenchReport:
    """Everything that needs no camera, on one bundle."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        config = quick(backends=None, threads=(1, 2), batch=(1, 4), starts=1)
        return bench([make_bundle()], config, command="edgecnn bench tiny.edge")


def test_every_engine_thread_count_batch_and_scope_has_a_row(report: BenchReport) -> None:
    seen = {(r.scope, r.backend, r.threads, r.batch) for r in report.rows}
    assert {
        (scope, "onnxruntime", threads, batch)
        for scope, batch in (("engine", 1), ("engine", 4), ("frame", 1))
        for threads in (1, 2)
    } <= seen
    assert not report.partial
    assert len({row.key for row in report.rows}) == len(report.rows)


def test_a_row_is_whole(report: BenchReport) -> None:
    for row in report.rows:
        assert row.verified
        assert row.latency.n >= 6
        assert [slot.round for slot in row.slots] == [0, 1]
        assert sum(slot.n for slot in row.slots) == row.latency.n
        assert row.fps > 0
        assert row.relative.value > 0
        assert row.version


def test_stages_are_those_of_the_scope(report: BenchReport) -> None:
    for row in report.rows:
        expected = {"prepare", "engine", "decode"} if row.scope == "frame" else set()
        assert row.stages_ms.keys() == expected


def test_cold_start_and_memory_come_from_a_fresh_process(report: BenchReport) -> None:
    for row in report.rows:
        if row.scope == "engine":
            assert row.cold is not None
            assert row.memory is not None
            parts = row.cold.import_seconds + row.cold.load_seconds + row.cold.first_seconds
            assert parts == pytest.approx(row.cold.seconds)
            assert 0 < row.memory.base_mib < row.memory.resident_mib <= row.memory.peak_mib + 1


def test_one_row_of_each_scope_is_the_fastest(report: BenchReport) -> None:
    for scope in ("engine", "frame"):
        rows = [row for row in report.rows if row.scope == scope]
        assert [r.standing.verdict == "fastest" for r in rows if r.standing].count(True) == 1
        assert rows[0].standing
        assert rows[0].standing.verdict == "fastest"


def test_absent_backends_are_listed_with_what_installs_them(report: BenchReport) -> None:
    absent = {each.backend: each for each in report.absent}
    assert {"tensorrt", "onnxruntime-cuda"} <= absent.keys()
    for each in report.absent:
        if each.why == "not installed":
            assert each.install.startswith("pip install")
        elif "NVIDIA" in each.why:
            assert not each.install  # a package does not replace the GPU or its driver


def test_a_clip_gives_a_stream_and_its_own_frames(make_bundle: MakeBundle, tmp_path: Path) -> None:
    import cv2
    import numpy as np

    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for shade in range(0, 250, 25):
        writer.write(np.full((48, 64, 3), shade, np.uint8))
    writer.release()
    report = bench([make_bundle()], quick(source=str(clip)))
    assert report.settings.frame == "64x48 clip.avi"
    stream = next(row for row in report.rows if row.scope == "stream")
    assert stream.stages_ms.keys() == {"capture", "prepare", "engine", "decode"}
    assert stream.latency.n > 10  # more than the clip has: it starts again


def test_a_stream_needs_a_source(make_bundle: MakeBundle) -> None:
    with pytest.raises(UsageError, match="--source"):
        bench([make_bundle()], quick(scopes=("stream",)))


def test_two_bundles_of_one_name_are_told_apart(make_bundle: MakeBundle) -> None:
    one, other = make_bundle(), make_bundle()
    names = [each.name for each in open_bundles([one, other, other])]
    assert len(set(names)) == 3
    assert names[1] == str(other).removesuffix(".edge")
    report = bench([one, other], quick(scopes=("engine",)))
    assert len(report.models) == len(report.rows) == 2


def test_a_bundle_that_fails_its_self_test_is_refused(make_bundle: MakeBundle) -> None:
    with pytest.raises(SelfTestError, match="--unverified"):
        bench([make_bundle(wrong=True)], quick())


def test_unverified_it_is_timed_and_marked(make_bundle: MakeBundle) -> None:
    report = bench([make_bundle(wrong=True)], quick(unverified=True))
    assert report.rows
    assert not any(row.verified for row in report.rows)
    assert "dB" in report.rows[0].self_test
    assert "FAILED" in report.remarks[0]


def test_a_sustained_run_follows_the_fastest_row(make_bundle: MakeBundle) -> None:
    report = bench([make_bundle()], quick(sustained=0.01))
    (run,) = report.sustained
    assert run.key in {row.key for row in report.rows if row.scope == "frame"}


def test_a_damaged_bundle_is_never_timed(make_bundle: MakeBundle) -> None:
    folder = make_bundle("damaged")
    graph = folder / "model.fp32.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    with pytest.raises(BundleError, match=r"model\.fp32\.onnx"):
        bench([folder], quick(unverified=True))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"backends": ("openvin",)}, UsageError, "did you mean 'openvino'"),
        ({"backends": ("tensorrt",)}, BackendMissingError, "tensorrt: .*(NVIDIA|pip install)"),
        ({"backends": ("torch",)}, BackendMissingError, "--checkpoint|pip install"),
        ({"precisions": ("f8",)}, UsageError, "f32"),
        ({"artifacts": ("int3",)}, UsageError, "fp32"),
        ({"source": "absent.mp4"}, Exception, "absent.mp4"),
    ],
)
def test_what_cannot_be_meant_is_said(
    make_bundle: MakeBundle, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        bench([make_bundle()], quick(**changes))


def test_ctrl_c_in_the_rounds_leaves_a_partial_report(make_bundle: MakeBundle) -> None:
    def interrupt(phase: str, done: float, _total: float) -> None:
        if phase == "measuring" and done == 3:
            raise KeyboardInterrupt

    report = bench([make_bundle()], quick(rounds=20, starts=1), progress=interrupt)
    assert report.partial
    assert all(len(row.slots) == 3 for row in report.rows)
    assert all(row.cold is None for row in report.rows)
    assert any("Interrupted after 3 rounds" in remark for remark in report.remarks)


def test_ctrl_c_before_the_first_slot_leaves_no_report(make_bundle: MakeBundle) -> None:
    def interrupt(phase: str, done: float, _total: float) -> None:
        if phase == "opening" and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench([make_bundle()], quick(), progress=interrupt)


@pytest.mark.slow
def test_a_checkpoint_is_timed_in_torch_beside_its_bundle(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    from edgecnn.models.mnist_cnn2 import MnistCnn2
    from edgecnn_export.checkpoint import save_checkpoint

    checkpoint, arguments = tmp_path / "model.pt", {"channels": 3, "size": 32}
    network, arch = MnistCnn2(**arguments).eval(), "edgecnn.models.mnist_cnn2:MnistCnn2"
    save_checkpoint(checkpoint, network, arch=arch, arch_args=arguments)
    config = quick(checkpoint=str(checkpoint), backends=("onnxruntime", "torch"))
    report = bench([make_bundle()], config)
    rows = [row for row in report.rows if row.artifact == "checkpoint"]
    assert [(row.backend, row.scope, row.cold) for row in rows] == [("torch", "engine", None)]


def test_what_was_exported_where_int8_saturates_has_the_accuracy_of_exact_sums() -> None:
    def run(engine: str, agreement: float) -> Run:
        return Run(engine=engine, version="1", parity={}, golden_snr_db={}, agreement=agreement)

    def of(*runs: Run) -> Accuracy | None:
        artifact = Artifact(
            file="model.int8-cpu.onnx", precision="int8", target="cpu", sha256="0" * 64,
            bytes=1, runs=runs,
        )  # fmt: skip
        return accuracy(artifact, "openvino/f32")

    exact, own = run("onnxruntime-exact/f32", 0.99), run("openvino/f32", 0.98)
    assert of(exact, run("openvino/bf16", 0.5)) == Accuracy(metric="agreement", value=0.99)
    assert of(exact, own) == Accuracy(metric="agreement", value=0.98)
    assert of(run("onnxruntime/f32", 0.99)) is None


def test_the_float_model_stands_with_its_own_accuracy(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    """Where INT8 was judged on labels, float was measured on the same, and agrees with itself."""
    path = Path(shutil.copytree(make_bundle("judged"), tmp_path / "judged.edge"))
    manifest = json.loads((path / "manifest.json").read_text())
    float_artifact = manifest["artifacts"][0]
    quality = {"metric": "top-1", "value": 0.93, "reference": 0.94, "low": 0.9, "high": 0.96,
               "samples": 500, "data": "labeled"}  # fmt: skip
    shutil.copy(path / float_artifact["file"], path / "model.int8-cpu.onnx")
    manifest["artifacts"].append(
        float_artifact
        | {"file": "model.int8-cpu.onnx", "precision": "int8", "target": "cpu", "quality": quality}
    )
    (path / "manifest.json").write_text(json.dumps(manifest))
    report = bench([path], quick(scopes=("engine",)))
    accuracies = {row.artifact: row.accuracy for row in report.rows}
    assert accuracies == {
        "fp32": Accuracy(metric="top-1", value=0.94),
        "int8-cpu": Accuracy(metric="top-1", value=0.93),
    }
