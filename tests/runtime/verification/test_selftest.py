"""The golden pictures replayed: what passes, what fails, what is remembered."""

import json

import msgspec
import numpy as np
import pytest

from edgecnn_runtime.backends import Options, fake, get_engine, installed
from edgecnn_runtime.bundle import manifest as m
from edgecnn_runtime.bundle.bundle import load_golden, open_bundle
from edgecnn_runtime.device.cache import read_entry, write_entry
from edgecnn_runtime.errors import SelfTestError, UsageError
from edgecnn_runtime.parity import snr_db
from edgecnn_runtime.verification import selftest
from edgecnn_runtime.verification.row_matching import comparable
from edgecnn_runtime.verification.selftest import (
    ensure_selftest,
    required_db,
    run_batches,
    run_selftest,
)


@pytest.fixture
def opened(bundle):
    return open_bundle(bundle)


def golden_backend(opened, change=lambda scores: scores, batch=1):
    """A backend that gives the golden outputs, changed."""
    golden = load_golden(opened)

    def answer(pixels):
        scores = np.zeros((len(pixels), 4), np.float32)
        for row, picture in zip(scores, pixels, strict=True):
            for known, output in zip(golden.pixels, golden.outputs["scores"], strict=True):
                if np.array_equal(picture, known):
                    row[:] = output
        return {"scores": change(scores)}

    return fake.Fake((batch, 24, 32, 3), answer)


def plain(found):
    return msgspec.to_builtins(found)


def artifact(opened, *runs):
    entry = opened.manifest.artifacts[0]
    made = tuple(
        m.Run(engine=engine, version="1", parity={}, golden_snr_db={"scores": snr})
        for engine, snr in runs
    )
    return msgspec.structs.replace(entry, runs=made)


@pytest.mark.parametrize("engine", installed())
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_every_engine_here_reproduces_the_golden_outputs(opened, engine, batch):
    entry = opened.manifest.artifacts[0]
    backend = get_engine(engine).open(opened.file(entry), Options(batch=batch))
    found = run_selftest(opened, entry, f"{engine}/f32", backend)
    assert found.passed
    assert found.snr_db["scores"] > 80


def test_outputs_come_back_in_the_order_of_the_pictures(opened):
    golden = load_golden(opened)
    found = run_batches(golden_backend(opened, batch=2), golden.pixels, opened.manifest.model)
    assert np.array_equal(found["scores"], golden.outputs["scores"])


def test_noise_fails_and_says_by_how_much(opened):
    rng = np.random.default_rng(0)
    backend = golden_backend(opened, lambda scores: scores + rng.normal(0, 0.3, scores.shape))
    found = run_selftest(opened, artifact(opened, ("onnxruntime/f32", 100.0)), "fake/f32", backend)
    assert not found.passed
    assert found.shortfall["scores"] == pytest.approx(60.0 - found.snr_db["scores"])


@pytest.mark.parametrize(("noise", "passed"), [(1e-5, True), (0.1, False)])
def test_rows_of_a_head_that_suppresses_may_swap_and_may_not_be_wrong(noise, passed):
    """Even where no row is over the threshold, so that the decoded results prove nothing."""
    rng = np.random.default_rng(0)
    rows = rng.uniform(0, 100, (4, 40, 6)).astype(np.float32)
    rows[..., 4] = np.sort(rng.uniform(0, 0.2, (4, 40)))[:, ::-1]
    rows[..., 5] = rng.integers(0, 3, (4, 40))
    decode = m.Yolo(output="rows", layout="nms", classes=3)
    wrong = (rows * (1 + rng.normal(0, noise, rows.shape))).astype(np.float32)
    swapped = wrong[:, rng.permutation(40)]
    assert snr_db(rows, swapped) < 10
    first, second = {"rows": rows, "others": rows}, {"rows": swapped, "others": swapped}
    assert (snr_db(*comparable(decode, "rows", first, second)) > 60) == passed
    assert comparable(decode, "others", first, second)[1] is swapped
    assert comparable(decode, "rows", first, {"rows": swapped * np.nan})[0] is rows


@pytest.mark.parametrize("head", ["detr", "detr in one table", "ranked"])
def test_rows_swap_in_all_outputs_alike(head):
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0, 1, (3, 40, 4)).astype(np.float32)
    scores = rng.normal(-2, 2, (3, 40, 5)).astype(np.float32)
    joined = np.concatenate((boxes, scores), axis=2)
    decode, outputs = {
        "detr": (m.Detr(boxes="b", scores="s", classes=5), {"b": boxes, "s": scores}),
        "detr in one table": (m.Detr(boxes="t", scores="t", classes=5), {"t": joined}),
        "ranked": (
            m.Ranked(boxes="b", scores="s", labels="l", classes=5),
            {"b": boxes, "s": scores.max(2), "l": scores.argmax(2).astype(np.float32)},
        ),
    }[head]
    order = rng.permutation(40)
    swapped = {name: values[:, order] * np.float32(1.00001) for name, values in outputs.items()}
    for name, values in outputs.items():
        assert snr_db(values, swapped[name]) < 10
        assert snr_db(*comparable(decode, name, outputs, swapped)) > 60
    wrong = {**swapped, decode.boxes: swapped[decode.boxes][:, ::-1]}
    if len(outputs) > 1:
        assert snr_db(*comparable(decode, decode.scores, outputs, wrong)) < 20


def test_another_result_fails(opened):
    backend = golden_backend(opened, lambda scores: np.roll(scores, 1, axis=1))
    found = run_selftest(opened, artifact(opened), "fake/f32", backend)
    assert found.agreement == 0
    assert not found.passed


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_no_numbers_fail(opened, value):
    backend = golden_backend(opened, lambda scores: np.full_like(scores, value))
    found = run_selftest(opened, artifact(opened), "fake/f32", backend)
    assert found.snr_db["scores"] == -200
    assert not found.passed


@pytest.mark.parametrize(
    ("runs", "engine", "needs"),
    [
        ([("onnxruntime/f32", 40.0)], "onnxruntime/f32", 34.0),
        ([("onnxruntime/f32", 40.0), ("openvino/f32", 25.0)], "onnxruntime/f32", 34.0),
        ([("onnxruntime/f32", 40.0), ("openvino/f32", 25.0)], "tensorrt/f32", 19.0),
        ([("onnxruntime/f32", 120.0), ("openvino/bf16", 40.0)], "openvino/bf16", 34.0),
        ([("onnxruntime/f32", 120.0)], "onnxruntime/f32", 60.0),
        ([("onnxruntime/f32", 120.0)], "openvino/bf16", 30.0),
        ([], "onnxruntime/f32", 30.0),
    ],
)
def test_what_is_asked_of_a_device(opened, runs, engine, needs):
    found = required_db(artifact(opened, *runs), engine, opened.manifest.model)
    assert found == {"scores": needs}


def test_a_gpu_may_add_in_half_precision_what_export_added_in_float(opened):
    entry = artifact(opened, ("onnxruntime-exact/f32", 60.0))
    half = msgspec.structs.replace(entry, precision="fp16")
    assert required_db(half, "tensorrt/f32", opened.manifest.model) == {"scores": 48.0}


# --- remembered -------------------------------------------------------------------------------


def test_a_pass_is_remembered_and_a_failure_is_not(opened, tmp_path, monkeypatch):
    entry = opened.manifest.artifacts[0]
    calls = []
    real = run_selftest
    monkeypatch.setattr(selftest, "run_selftest", lambda *args: calls.append(1) or real(*args))
    bad = golden_backend(opened, lambda scores: -scores)
    for _ in range(2):
        with pytest.raises(SelfTestError, match=r"model\.fp32\.onnx on fake/f32"):
            ensure_selftest(opened, entry, "fake/f32", bad, tmp_path)
    assert len(calls) == 2
    good = golden_backend(opened)
    first = ensure_selftest(opened, entry, "fake/f32", good, tmp_path)
    again = ensure_selftest(opened, entry, "fake/f32", bad, tmp_path)
    assert again == first
    assert len(calls) == 3
    ensure_selftest(opened, entry, "fake/f32", golden_backend(opened, batch=2), tmp_path)
    monkeypatch.setattr(selftest, "numerics_key", lambda: ("another processor",))
    ensure_selftest(opened, entry, "fake/f32", good, tmp_path)
    assert len(calls) == 5, "another batch and another machine are tested for themselves"


def test_a_damaged_memory_is_learnt_again(opened, tmp_path):
    entry = opened.manifest.artifacts[0]
    ensure_selftest(opened, entry, "fake/f32", golden_backend(opened), tmp_path)
    (kept,) = (tmp_path / "selftest").iterdir()
    for damage in (b"", b"{}", b'{"snr_db": 1}', b"\xff\xfe", b"[" * 100_000):
        kept.write_bytes(damage)
        assert ensure_selftest(opened, entry, "fake/f32", golden_backend(opened), tmp_path).passed


def test_a_failure_in_the_folder_is_tested_again(opened, tmp_path):
    entry = opened.manifest.artifacts[0]
    passed = ensure_selftest(opened, entry, "fake/f32", golden_backend(opened), tmp_path)
    (kept,) = (tmp_path / "selftest").iterdir()
    forged = json.loads(kept.read_bytes()) | {"value": {**plain(passed), "agreement": 0.0}}
    kept.write_text(json.dumps(forged))
    assert ensure_selftest(opened, entry, "fake/f32", golden_backend(opened), tmp_path).passed


def test_what_was_kept_without_an_output_is_tested_again(opened, tmp_path):
    entry = opened.manifest.artifacts[0]
    passed = ensure_selftest(opened, entry, "fake/f32", golden_backend(opened), tmp_path)
    (kept,) = (tmp_path / "selftest").iterdir()
    for part in ("snr_db", "required_db"):
        forged = json.loads(kept.read_bytes()) | {"value": {**plain(passed), part: {}}}
        kept.write_text(json.dumps(forged))
        assert (
            ensure_selftest(opened, entry, "fake/f32", golden_backend(opened), tmp_path) == passed
        )


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    write_entry(blocked, "kind", ("key",), 5)
    assert read_entry(blocked, "kind", ("key",), int) is None
    assert read_entry(tmp_path, "kind", ("key",), int) is None
    write_entry(tmp_path, "kind", ("key",), 5)
    assert read_entry(tmp_path, "kind", ("key",), int) == 5
    assert read_entry(tmp_path, "kind", ("key", ""), int) is None
    assert read_entry(tmp_path, "kind", ("key",), str) is None


def test_the_state_folder_follows_systemd_and_xdg(monkeypatch):
    from edgecnn_runtime.device.cache import default_cache_dir

    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/a/state")
    assert str(default_cache_dir()) == "/home/a/state/edgecnn"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/edgecnn:/var/lib/other")
    assert str(default_cache_dir()) == "/var/lib/edgecnn"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    from edgecnn_runtime.device.cache import default_cache_dir

    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def nobody(uid):
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(UsageError, match=r"no home directory .* set HOME, or XDG_STATE_HOME"):
        default_cache_dir()
