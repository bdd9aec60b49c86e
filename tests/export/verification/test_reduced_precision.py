"""bf16 and f16 as candidates: recorded where they pass, left out with a word where not."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecnn_export.progress import NullProgress
from edgecnn_export.verification.compare import decode_reference, infer
from edgecnn_export.verification.gate import LOWER
from edgecnn_export.verification.reduced_precision import check_reduced
from edgecnn_export.verification.verify import Check, Verifier
from edgecnn_runtime.backends import get_engine
from edgecnn_runtime.backends.candidate import Candidate
from edgecnn_runtime.bundle.bundle import Bundle, load_golden, open_bundle, sha256_file

ENGINE = "openvino"


@pytest.fixture(scope="module")
def offered() -> tuple[str, ...]:
    """The reduced precisions of this machine."""
    pytest.importorskip("openvino")
    precisions = get_engine(ENGINE).precisions()[1:]
    if not precisions:
        pytest.skip("this processor computes in float only")
    return precisions


@pytest.fixture
def bundle(make_bundle: Callable[..., Path]) -> Bundle:
    return open_bundle(make_bundle("reduced"))


def verified(bundle: Bundle) -> tuple[Verifier, list[Check]]:
    manifest, pixels = bundle.manifest, load_golden(bundle).pixels
    path = bundle.file(manifest.artifacts[0])
    spec = manifest.model
    outputs = infer(path, spec, "onnxruntime", pixels)
    verifier = Verifier(bundle.path, spec, decode_reference(spec, pixels, outputs))
    return verifier, verifier.run(manifest.artifacts, ["onnxruntime", ENGINE], NullProgress())


def test_what_passes_becomes_a_candidate(bundle: Bundle, offered: tuple[str, ...]) -> None:
    verifier, exact = verified(bundle)
    reduced = check_reduced(verifier, exact, NullProgress())
    assert {check.engine for check in reduced.passed} == {f"{ENGINE}/{one}" for one in offered}
    assert reduced.warnings == ()
    for check in reduced.passed:
        (parity,) = check.comparison.parity.values()
        assert LOWER.cosine <= parity.cosine
        assert parity.snr_db < 80, "float in disguise would not be worth a word"
    runs = tuple(check.run(verifier.spec, verifier.truth, [0]) for check in reduced.passed)
    artifact = msgspec.structs.replace(exact[0].artifact, runs=runs)
    assert Candidate(artifact, ENGINE, offered[0], 1, "").verified_at_export
    assert not Candidate(exact[0].artifact, ENGINE, offered[0], 1, "").verified_at_export


def test_what_fails_is_left_out_and_fails_nothing(
    bundle: Bundle, offered: tuple[str, ...], tmp_path: Path
) -> None:
    """A small signal on a large offset: eight bits of mantissa do not hold it."""
    path = tmp_path / "model.fp32.onnx"
    path.write_bytes(small_signal().SerializeToString())
    entry = msgspec.structs.replace(bundle.manifest.artifacts[0], sha256=sha256_file(path))
    manifest = msgspec.structs.replace(bundle.manifest, artifacts=(entry,))
    (tmp_path / "golden.npz").write_bytes((bundle.path / "golden.npz").read_bytes())
    verifier, exact = verified(Bundle(tmp_path, manifest, bundle.digest))
    assert not any(check.failed for check in exact)
    reduced = check_reduced(verifier, exact, NullProgress())
    assert reduced.passed == ()
    for precision, words in zip(offered, reduced.warnings, strict=True):
        assert f"model.fp32.onnx is not a candidate in {ENGINE}/{precision}" in words
        assert "at least 0.99" in words


def small_signal() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weights = {
        "kernel": rng.normal(0, 0.002, (4, 3, 3, 3)), "offset": np.full(4, 3000.0),
        "one": np.eye(4)[..., None, None], "back": np.full(4, -3000.0),
    }  # fmt: skip
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("GlobalAveragePool", ["planes"], ["small"]),
        helper.make_node("Resize", ["small", "", "grow"], ["wide"], mode="nearest"),
        helper.make_node("Conv", ["wide", "kernel", "offset"], ["features"]),
        helper.make_node("Relu", ["features"], ["active"]),
        helper.make_node("Conv", ["active", "one", "back"], ["result"]),
        helper.make_node("Flatten", ["result"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 32, 32, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()]
        + [numpy_helper.from_array(np.array([1, 1, 3, 3], np.float32), "grow")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
