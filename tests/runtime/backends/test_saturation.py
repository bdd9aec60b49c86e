"""INT8 that is right on one processor and wrong on the next, on a real engine that saturates.

oneDNN, which OpenVINO computes with, can be told to leave VNNI alone; then products of u8 and s8
are added in 16 bits, as on any x86 without VNNI, and full-range weights overflow.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper

from edgecnn_runtime.bundle import manifest as m
from edgecnn_runtime.device.cpu import SATURATING, cpu_features

LOAD = """
import json, logging, sys
logging.basicConfig(level=logging.WARNING)
from edgecnn_runtime import load
with load(sys.argv[1], backend="openvino", cache_dir=sys.argv[2]) as model:
    refused = [(one.artifact.file, why) for one, why in model.choice.refused]
    print(json.dumps({"file": model.choice.candidate.artifact.file, "refused": refused}))
"""


def network(build, *, scale=0, full=True):
    """A 1x1 convolution to 32 channels and a 3x3 one with heavy weights, float or QDQ.

    Weights are 1.26 or 0: 126 steps of 0.01, or 63 of 0.02 in the reduced range; both are exact.
    """
    steps = 126 if full else 63
    copy = np.zeros((32, 3, 1, 1), np.float32)
    heavy = np.zeros((16, 32, 3, 3), np.int8)
    for channel in range(32):
        copy[channel, channel % 3] = 1
        for out in range(16):
            heavy[out, channel] = steps * (out % 4 == 3 or channel % 3 != out % 4)
    size = np.full(16, scale, np.float32)
    weights = {"copy": copy, "axes": np.array([2, 3]), "pick": np.eye(16, 4, dtype=np.float32)}
    node = helper.make_node
    start = [
        node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        node("Transpose", ["floats"], ["image"], perm=[0, 3, 1, 2]),
        node("Conv", ["image", "copy"], ["wide"], kernel_shape=[1, 1]),
    ]
    if scale:
        weights |= {
            "one": np.array(1, np.float32), "zero": np.array(0, np.uint8),
            "heavy": heavy, "size": size, "zeros": np.zeros(16, np.int8),
        }  # fmt: skip
        middle = [
            node("QuantizeLinear", ["wide", "one", "zero"], ["bytes"]),
            node("DequantizeLinear", ["bytes", "one", "zero"], ["input"]),
            node("DequantizeLinear", ["heavy", "size", "zeros"], ["kernel"], axis=0),
        ]
    else:
        weights["kernel"] = heavy.astype(np.float32) * np.float32(0.01)
        middle = [node("Identity", ["wide"], ["input"])]
    end = [
        node("Conv", ["input", "kernel"], ["features"], strides=[2, 2]),
        node("ReduceMean", ["features", "axes"], ["pooled"], keepdims=0),
        node("MatMul", ["pooled", "pick"], ["scores"]),
    ]
    nodes = [*start, *middle, *end]
    return build.graph(nodes, {"scores": ("N", 4)}, weights, width=32, height=24)


@pytest.fixture(scope="module")
def path(build, tmp_path_factory):
    pytest.importorskip("openvino")
    if not cpu_features() & SATURATING:
        pytest.skip("needs an x86 processor")
    models = {
        "model.fp32.onnx": network(build),
        "model.int8-cpu.onnx": network(build, scale=0.01),
        "model.int8-cpu-rr.onnx": network(build, scale=0.02, full=False),
    }
    pictures = np.random.default_rng(3).integers(0, 60, (3, 24, 32, 3)).astype(np.uint8)
    for picture, bright in zip(pictures, ([0, 1], [1, 2], [0, 2]), strict=True):
        picture[..., bright] += 190
    template = build.manifest(
        m.Classify(output="scores"), {"scores": (None, 4)}, size=build.input(32, 24),
        task="classify", labels=tuple("abcd"),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("saturating")
    return build.bundle(folder / "a.edge", models, template, pictures)


def run(*words, saturating=True):
    environment = dict(os.environ)
    if saturating:
        environment["ONEDNN_MAX_CPU_ISA"] = "AVX2"
    return subprocess.run(
        [sys.executable, *map(str, words)], env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_the_full_range_is_refused_and_says_by_how_much(path, tmp_path):
    done = run("-c", LOAD, path, tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    if "avx512_vnni" in cpu_features():  # the rule trusts the processor; the self-test does not
        ((file, why),) = found["refused"]
        assert file == "model.int8-cpu.onnx"
        assert "dB on 'scores' (needs 60.0)" in why
        assert "refused: model.int8-cpu.onnx on openvino/f32" in done.stderr
    assert found["file"] != "model.int8-cpu.onnx"


def test_verify_ends_with_three_and_names_only_the_full_range(path):
    done = run("-m", "edgecnn", "verify", path, "--backend", "openvino", "--json")
    assert done.returncode == 3
    verdicts = json.loads(done.stdout)["verdicts"]
    passed = {verdict["artifact"]: verdict["passed"] for verdict in verdicts}
    assert passed == {
        "model.fp32.onnx": True, "model.int8-cpu.onnx": False, "model.int8-cpu-rr.onnx": True,
    }  # fmt: skip


def test_exact_sums_take_every_form_on_every_processor(path):
    done = run("-m", "edgecnn", "verify", path, "--backend", "onnxruntime-exact", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["verdicts"]) == 3


@pytest.mark.skipif("avx512_vnni" not in cpu_features(), reason="needs VNNI")
def test_with_vnni_all_of_them_pass(path):
    assert run("-m", "edgecnn", "verify", path, saturating=False).returncode == 0


def test_a_choice_leaves_the_full_range_out_where_it_saturates(path, tmp_path, monkeypatch):
    autotune = pytest.importorskip("edgecnn_bench.autotune")
    host = replace(autotune.fingerprint(), features=("avx2", "fma"))
    monkeypatch.setattr(autotune, "fingerprint", lambda: host)
    settings = autotune.BenchConfig(seconds=0.05, warmup=0.0, precisions=("f32",), threads=(1,))
    selection = autotune.select(path, settings, tmp_path)
    timed = {(each.artifact, each.backend) for each in selection.record.standings}
    assert ("model.int8-cpu-rr.onnx", "openvino") in timed
    assert not {file for file, _ in timed} & {"model.int8-cpu.onnx"}
    reasons = [row.why for row in selection.skipped if row.key.startswith("int8-cpu on ")]
    assert reasons
    assert all("saturate" in why or "does not reproduce" in why for why in reasons)
