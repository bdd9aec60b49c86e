"""What could run a bundle, on processors of every kind, and in which order."""

import msgspec
import pytest

from edgecnn_runtime.backends import get_engine
from edgecnn_runtime.backends.candidate import Candidate
from edgecnn_runtime.bundle import manifest as m
from edgecnn_runtime.bundle.bundle import Bundle
from edgecnn_runtime.device.cpu import usable_cores
from edgecnn_runtime.errors import BackendMissingError, UsageError
from edgecnn_runtime.selection.candidates import Choice, candidates
from edgecnn_runtime.verification.selftest import SelfTest

VNNI = frozenset({"avx2", "avx512f", "avx512_vnni"})
AVX2 = frozenset({"avx2"})
DOTPROD = frozenset({"neon", "dotprod"})
OLD_ARM = frozenset({"neon"})
SSE = frozenset({"sse41"})


@pytest.fixture
def bundle(build, tmp_path):
    """One artifact of every kind; the files are not read."""
    made = build.manifest(m.Embed(output="f"), {"f": (None, 4)}, task="embed")
    targets = ["cpu", "openvino", "cpu-rr", "trt"]
    kinds = [("fp32", "any"), *(("int8", target) for target in targets)]
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
        (SSE, "model.fp32.onnx"),
        (frozenset(), "model.fp32.onnx"),
    ],
)
def test_the_processor_decides_which_form_comes_first(bundle, features, first):
    found = files(bundle, features)
    assert found[0] == first
    assert sorted(found) == ["model.fp32.onnx", "model.int8-cpu-rr.onnx", "model.int8-cpu.onnx"]


@pytest.mark.parametrize("features", [AVX2, SSE])
def test_the_full_range_comes_last_where_it_saturates(bundle, features):
    assert files(bundle, features)[-1] == "model.int8-cpu.onnx"


def test_every_engine_is_a_candidate_and_the_reason_is_said(bundle):
    found = candidates(bundle, features=VNNI, engines=["onnxruntime", "openvino"], threads=3)
    assert [c.backend for c in found[:2]] == ["onnxruntime", "openvino"]
    assert {c.precision for c in found} == {"f32"}
    assert {c.threads for c in found} == {3}
    assert "avx512_vnni" in found[0].reason
    assert str(found[0]) == "model.int8-cpu.onnx on onnxruntime/f32, 3 threads"


@pytest.mark.parametrize("features", [VNNI, DOTPROD])
def test_openvino_takes_its_own_form_before_the_other(bundle, features):
    found = candidates(bundle, features=features, engines=["onnxruntime", "openvino"])
    assert [(c.artifact.target, c.backend) for c in found[:3]] == [
        ("cpu", "onnxruntime"),
        ("openvino", "openvino"),
        ("cpu", "openvino"),
    ]


def test_openvinos_form_saturates_as_the_other_does(bundle):
    found = candidates(bundle, features=AVX2, engines=["openvino"])
    assert [c.artifact.target for c in found] == ["cpu-rr", "any", "openvino", "cpu"]


def test_threads_default_to_the_cores_this_process_may_use(bundle):
    assert candidates(bundle, engines=["onnxruntime"])[0].threads == usable_cores()


def test_all_precisions_on_request(bundle):
    offered = get_engine("openvino").precisions()
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
    with pytest.raises(BackendMissingError, match=r"computes in 'f99'; .* offer .*f32"):
        candidates(bundle, artifact="fp32", precision="f99")


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


def test_only_what_export_saw_pass_is_proven(bundle):
    """A reduced precision needs a run of the same precision; the exact one needs none."""
    run = m.Run(engine="openvino/bf16", version="1", parity={}, golden_snr_db={})
    float_, *_ = bundle.manifest.artifacts
    seen = msgspec.structs.replace(float_, runs=(run,))
    for artifact, precision, proven in (
        (float_, "f32", True),
        (float_, "bf16", False),
        (seen, "bf16", True),
        (seen, "f16", False),
    ):
        candidate = Candidate(artifact, "openvino", precision, 1, "")
        assert candidate.verified_at_export is proven, candidate
        assert candidate.exact is (precision == "f32")
