"""What could run a bundle, on processors of every kind, and in which order."""

import msgspec
import pytest

from edgecnn_runtime import manifest as m
from edgecnn_runtime.backends import backend_module
from edgecnn_runtime.bundle import Bundle
from edgecnn_runtime.cpu import cpu_features, cpu_model, usable_cores
from edgecnn_runtime.errors import BackendMissingError, UsageError
from edgecnn_runtime.select import Choice, candidates
from edgecnn_runtime.selftest import SelfTest

VNNI = frozenset({"avx2", "avx512f", "avx512_vnni"})
AVX2 = frozenset({"avx2"})
DOTPROD = frozenset({"neon", "dotprod"})
OLD_ARM = frozenset({"neon"})


@pytest.fixture
def bundle(build, tmp_path):
    """One artifact of every kind; the files are not read."""
    made = build.manifest(m.Embed(output="f"), {"f": (None, 4)}, task="embed")
    kinds = [("fp32", "any"), ("int8", "cpu"), ("int8", "cpu-rr"), ("int8", "trt")]
    entries = tuple(
        m.Artifact(
            file=f"model.{kind}{'' if target == 'any' else '-' + target}.onnx",
            precision=kind,
            target=target,
            sha256="0" * 64,
            bytes=0,
        )
        for kind, target in kinds
    )
    return Bundle(tmp_path, msgspec.structs.replace(made, artifacts=entries), "0" * 64)


def files(bundle, features, **wishes):
    found = candidates(bundle, features=features, engines=["onnxruntime"], **wishes)
    return [candidate.artifact.file for candidate in found]


@pytest.mark.parametrize(
    ("features", "first"),
    [
        (VNNI, "model.int8-cpu.onnx"),
        (DOTPROD, "model.int8-cpu.onnx"),
        (AVX2, "model.int8-cpu-rr.onnx"),
        (OLD_ARM, "model.fp32.onnx"),
        (frozenset(), "model.fp32.onnx"),
    ],
)
def test_the_processor_decides_which_form_comes_first(bundle, features, first):
    found = files(bundle, features)
    assert found[0] == first
    assert sorted(found) == ["model.fp32.onnx", "model.int8-cpu-rr.onnx", "model.int8-cpu.onnx"]


def test_the_full_range_comes_last_where_it_saturates(bundle):
    assert files(bundle, AVX2)[-1] == "model.int8-cpu.onnx"


def test_every_engine_is_a_candidate_and_the_reason_is_said(bundle):
    found = candidates(bundle, features=VNNI, engines=["onnxruntime", "openvino"], threads=3)
    assert [c.backend for c in found[:2]] == ["onnxruntime", "openvino"]
    assert {c.precision for c in found} == {"f32"}
    assert {c.threads for c in found} == {3}
    assert "avx512_vnni" in found[0].reason
    assert str(found[0]) == "model.int8-cpu.onnx on onnxruntime/f32, 3 threads"


def test_threads_default_to_the_cores_this_process_may_use(bundle):
    assert candidates(bundle, engines=["onnxruntime"])[0].threads == usable_cores()


def test_all_precisions_on_request(bundle):
    offered = backend_module("openvino").precisions()
    found = candidates(bundle, artifact="fp32", precision="all", engines=["openvino"])
    assert [c.precision for c in found] == list(offered)
    if "bf16" in offered:
        (only,) = candidates(bundle, artifact="fp32", precision="bf16", engines=["openvino"])
        assert only.engine == "openvino/bf16"


@pytest.mark.parametrize("name", ["int8-cpu-rr", "model.int8-cpu-rr.onnx"])
def test_an_artifact_by_its_name(bundle, name):
    assert files(bundle, VNNI, artifact=name) == ["model.int8-cpu-rr.onnx"]


def test_what_does_not_exist_is_refused(bundle):
    with pytest.raises(UsageError, match="has no artifact 'int4'; it has fp32, int8-cpu"):
        files(bundle, VNNI, artifact="int4")
    with pytest.raises(UsageError, match="no backend 'tensorflow'"):
        files(bundle, VNNI, backend="tensorflow")
    with pytest.raises(BackendMissingError, match="no backend here takes int8-trt"):
        files(bundle, VNNI, artifact="int8-trt")


def test_without_any_engine_the_install_lines_are_listed(bundle):
    with pytest.raises(BackendMissingError) as caught:
        candidates(bundle, engines=[])
    assert "pip install 'edgecnn-runtime[cpu]'" in str(caught.value)
    assert "pip install 'edgecnn-runtime[openvino]'" in str(caught.value)


def test_a_choice_prints_as_a_person_would_say_it(bundle):
    first, second, *_ = candidates(bundle, features=VNNI, engines=["onnxruntime"])
    test = SelfTest(snr_db={"f": 41.24}, required_db={"f": 35.0}, agreement=1.0)
    assert str(Choice(second, test, ((first, "it is wrong by 20 dB"),))).splitlines() == [
        "model.fp32.onnx on onnxruntime/f32, "
        + (f"{second.threads} threads" if second.threads > 1 else "1 thread")
        + ": float, exact on every processor",
        "self-test: 41.2 dB on 'f' (needs 35.0), 100% of the decoded results equal",
        f"refused: {first}: it is wrong by 20 dB",
    ]


# --- the processor ----------------------------------------------------------------------------


def test_x86(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text(
        "processor\t: 0\nmodel name\t: Intel(R)  Core(TM) i5\nflags\t\t: fpu avx2 avx_vnni ht\n"
    )
    assert cpu_features(path) == {"avx2", "avx_vnni"}
    assert cpu_model(path) == "Intel(R) Core(TM) i5"


def test_arm(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text(
        "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\nCPU implementer\t: 0x41\n"
        "CPU part\t: 0xd42\n"
    )
    assert cpu_features(path) == {"neon", "dotprod", "i8mm"}
    assert cpu_model(path) == "Cortex-A78AE"


def test_where_the_kernel_says_nothing(tmp_path):
    assert cpu_features(tmp_path / "absent") == frozenset()
    assert cpu_model(tmp_path / "absent") == "unknown"


def test_cores_are_at_least_one_and_no_more_than_there_are():
    import os

    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
