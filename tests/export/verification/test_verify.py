"""What passes the gate, and what must not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from torch import nn

import edgecnn_export.pipeline as pipeline
from edgecnn_export.config import ExportConfig
from edgecnn_export.pipeline import ExportResult, export
from edgecnn_export.progress import Timed
from edgecnn_export.verification.gate import Gate, applicable_gate
from edgecnn_export.verification.output_slices import output_slices, paired_slices
from edgecnn_export.verification.verify import engines, engines_for
from edgecnn_runtime.bundle.manifest import Classify, Yolo
from edgecnn_runtime.errors import BackendMissingError, UsageError, VerificationError
from edgecnn_runtime.parity import parity
from edgecnn_runtime.types import Box, Detection
from edgecnn_runtime.verification.row_matching import match_rows

SIDE = 64
CELLS = 84  # of strides 8, 16 and 32 together


class Detector(nn.Module):
    """A YOLO v8 head in miniature: boxes in pixels, scores 0..1, [N,4+C,A]."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.boxes = nn.Conv2d(3, 4, 8, 8)
        self.scores = nn.Conv2d(3, classes, 8, 8)
        self.scores.weight.data *= 6

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        levels = []
        for stride in (1, 2, 4):
            small = nn.functional.avg_pool2d(x, stride)
            table = torch.cat([self.boxes(small).abs() * 30 + 20, self.scores(small).sigmoid()], 1)
            levels.append(table.flatten(2))
        return torch.cat(levels, 2)


class Suppressed(Detector):
    """The same with its ten best boxes as rows: x1, y1, x2, y2, score, class."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        table = super().forward(x)
        scores, classes = table[:, 4:].max(1)
        best = scores.topk(10).indices
        center, size = table[:, :2], table[:, 2:4]
        rows = [center - size / 2, center + size / 2, scores[:, None], classes[:, None].float()]
        return torch.cat(rows, 1).gather(2, best[:, None].expand(-1, 6, -1)).transpose(1, 2)


Exported = Callable[..., ExportResult]


@pytest.fixture
def exported(tmp_path: Path) -> Exported:
    """Save a module whole and export it."""

    def make(module: type[nn.Module], **settings: Any) -> ExportResult:
        torch.manual_seed(3)
        torch.save(module().eval(), tmp_path / "model.pt")
        defaults = {"input": f"{SIDE}x{SIDE}", "preset": "unit", "color": "rgb"}
        place = {"model": str(tmp_path / "model.pt"), "out": str(tmp_path / "out.edge")}
        return export(ExportConfig(**{**place, **defaults, "trust_pickle": True, **settings}))

    return make


def tamper(monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[Any], Any]) -> None:
    """Let one weight of what is emitted be changed."""
    optimize = pipeline.optimize

    def wrong(model: onnx.ModelProto) -> onnx.ModelProto:
        model = optimize(model)
        (weight,) = [tensor for tensor in model.graph.initializer if tensor.name == name]
        changed = change(numpy_helper.to_array(weight)).astype(np.float32)
        weight.CopyFrom(numpy_helper.from_array(changed, name))
        return model

    monkeypatch.setattr(pipeline, "optimize", wrong)


def test_a_detector_is_verified_and_decoded(exported: Exported) -> None:
    result = exported(Detector, labels=("a", "b", "c"))
    assert result.bundle.manifest.model.decode == Yolo(output="output", layout="v8", classes=3)
    assert result.bundle.manifest.model.outputs[0].shape == (None, 7, CELLS)
    for check in result.checks:
        assert check.comparison.parity["output"].cosine > 0.9999
        assert check.comparison.agreement == 1.0


def test_wrong_scores_do_not_hide_behind_right_boxes(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    tamper(monkeypatch, "scores.bias", lambda bias: bias + 0.5)
    with pytest.raises(VerificationError, match="first layer that diverges: scores"):
        exported(Detector)


def test_parts_of_a_yolo_table() -> None:
    rng = np.random.default_rng(0)
    table = rng.random((16, 7, CELLS)) * ([[600]] * 4 + [[1]] * 3)
    wrong = table.copy()
    wrong[:, 4:] = rng.random((16, 3, CELLS))
    assert parity(table, wrong).cosine > 0.9999
    decode = Yolo(output="o", layout="v8", classes=3)
    boxes, scores = zip(
        output_slices(decode, "o", table), output_slices(decode, "o", wrong), strict=True
    )
    assert parity(*boxes).cosine == 1.0
    assert parity(*scores).cosine < 0.5
    assert len(output_slices(decode, "other", table)) == 1
    v5 = Yolo(output="o", layout="v5", classes=1, points=1)
    assert [part.shape[-1] for part in output_slices(v5, "o", table.swapaxes(1, 2)[..., :6])] == [
        4,
        2,
    ]
    assert len(output_slices(Classify(output="o"), "o", table)) == 1


def test_rows_that_may_swap_are_judged_by_what_they_decode_to(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = exported(Suppressed, labels=("a", "b", "c"))
    decode = result.bundle.manifest.model.decode
    assert isinstance(decode, Yolo)
    assert decode.layout == "nms"
    assert all(check.comparison.agreement >= 0.99 for check in result.checks)
    tamper(monkeypatch, "scores.weight", lambda weight: -weight)
    with pytest.raises(VerificationError, match="of the decoded results agree"):
        exported(Suppressed, labels=("a", "b", "c"), overwrite=True)


def test_a_detector_below_full_precision_is_judged_by_its_boxes(exported: Exported) -> None:
    manifest = exported(Detector, labels=("a", "b", "c")).bundle.manifest.model
    box = Detection(Box(0, 0, 9, 9), 0.9, "a", 0)
    lower, exact = Gate(0.99, 0.98), Gate(0.9999, 0.0)
    assert applicable_gate(lower, manifest, [[box] * 10] * 3) == Gate(-1.0, 0.98)
    assert applicable_gate(lower, manifest, [[box] * 29, []]) == lower  # too few to prove anything
    assert applicable_gate(exact, manifest, [[box] * 10] * 3) == exact


class Quiet(Suppressed):
    """The same, sure of nothing."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = super().forward(x)
        return torch.cat([rows[..., :4], rows[..., 4:5] * 0.1, rows[..., 5:]], 2)


def test_a_model_that_finds_nothing_is_no_proof(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = ("a", "b", "c")
    result = exported(Quiet, labels=labels)
    assert any("found nothing over a score of 0.25 in any" in text for text in result.warnings)
    assert all(check.gate.cosine == 0.9999 for check in result.checks)
    assert not any("found nothing" in text for text in exported(
        Suppressed, labels=labels, overwrite=True
    ).warnings)  # fmt: skip
    tamper(monkeypatch, "boxes.weight", lambda weight: -weight)
    with pytest.raises(VerificationError, match="does not follow the model"):
        exported(Quiet, labels=labels, overwrite=True)


def test_below_thirty_boxes_a_head_that_suppresses_is_held_to_its_rows(exported: Exported) -> None:
    manifest = exported(Suppressed, labels=("a", "b", "c")).bundle.manifest.model
    box = Detection(Box(0, 0, 9, 9), 0.9, "a", 0)
    exact, lower = Gate(0.9999, 0.0), Gate(0.99, 0.98)
    assert applicable_gate(exact, manifest, [[box] * 10] * 3) == Gate(-1.0, 0.99)
    for few in ([[box] * 29], [[], []]):
        assert applicable_gate(exact, manifest, few) == Gate(0.9999, 0.99)
        assert applicable_gate(lower, manifest, few) == lower


def ranked_rows(seed: int) -> np.ndarray:
    """float32[3,40,6]: boxes anywhere, scores that fall, classes."""
    rng = np.random.default_rng(seed)
    rows = rng.uniform(0, 640, (3, 40, 6))
    rows[..., 4] = np.sort(rng.uniform(0, 1, (3, 40)))[:, ::-1]
    rows[..., 5] = rng.integers(0, 3, (3, 40))
    return rows.astype(np.float32)


@given(seed=st.integers(0, 2**32 - 1), places=st.permutations(range(40)))
def test_the_order_of_rows_means_nothing(seed: int, places: list[int]) -> None:
    rows = ranked_rows(seed)
    noise = np.random.default_rng(seed).normal(0, 1e-4, rows.shape).astype(np.float32)
    best, partners = match_rows(rows, (rows + noise)[:, places])
    assert np.array_equal(best, np.tile(np.arange(20), (3, 1)))
    assert np.array_equal(np.array(places)[partners], best)
    decode = Yolo(output="o", layout="nms", classes=3)
    pairs = paired_slices(decode, "o", {"o": rows}, {"o": rows[:, places]})
    assert [pair[0].shape[-1] for pair in pairs] == [4, 1, 1]
    assert all(parity(*pair).cosine > 0.999999 for pair in pairs)


@given(seed=st.integers(0, 2**32 - 1), column=st.integers(0, 5))
def test_a_wrong_column_is_found_in_any_order(seed: int, column: int) -> None:
    rows, wrong = ranked_rows(seed), ranked_rows(seed)
    wrong[..., column] = ranked_rows(seed + 1)[:, ::-1, column]
    decode = Yolo(output="o", layout="nms", classes=3)
    pairs = paired_slices(decode, "o", {"o": rows}, {"o": wrong[:, ::-1]})
    assert min(parity(*pair).cosine for pair in pairs) < 0.99


def test_a_gate_says_what_was_reached() -> None:
    assert Gate(0.99, 0.99).requirement(0.98, 0.5) == (
        "centered cosine 0.9800 (at least 0.99), 50.0% of results equal (at least 99%)"
    )
    assert Gate(-1.0, 0.99).requirement(0.5, 1.0) == "100.0% of results equal (at least 99%)"
    assert Gate(0.99, 0.99).requirement(0.98996, 0.9896) == (
        "centered cosine 0.9899 (at least 0.99), 98.9% of results equal (at least 99%)"
    )
    assert (
        Gate(-1.0, 0.995)
        .requirement(0.5, 0.9949)
        .endswith("99.4% of results equal (at least 99.5%)")
    )
    assert Gate(0.5, 0.9).margin(0.75, 1.0) == pytest.approx(0.1)


def test_a_head_that_does_not_fit_is_a_usage_error(exported: Exported) -> None:
    with pytest.raises(UsageError, match="--head yolov5 takes the rows"):
        exported(Detector, head="yolov5", decode={"classes": 9})


def test_engines_are_those_installed_here() -> None:
    assert engines(None) == ["onnxruntime", "openvino"]
    assert engines(("openvino",)) == ["openvino"]
    with pytest.raises(UsageError, match="did you mean"):
        engines(("openvion",))
    with pytest.raises(BackendMissingError, match="TensorRT cannot be used here"):
        engines(("tensorrt",))


@pytest.mark.parametrize(
    ("features", "target", "expected"),
    [
        ({"avx2"}, "any", ["onnxruntime", "openvino"]),
        ({"avx2"}, "cpu-rr", ["onnxruntime", "openvino"]),
        ({"avx2"}, "cpu", ["onnxruntime-exact"]),
        ({"avx2"}, "openvino", ["onnxruntime-exact"]),
        ({"avx2"}, "trt", ["onnxruntime-exact"]),
        ({"avx2", "avx_vnni"}, "cpu", ["onnxruntime", "openvino"]),
        ({"avx2", "avx_vnni"}, "openvino", ["openvino"]),
        ({"avx2", "avx_vnni"}, "trt", ["onnxruntime"]),
        ({"neon"}, "cpu", ["onnxruntime", "openvino"]),
        (set(), "cpu", ["onnxruntime", "openvino"]),
    ],
)
def test_a_form_for_other_processors_is_judged_by_exact_sums_where_this_one_saturates(
    monkeypatch: pytest.MonkeyPatch, features: set[str], target: str, expected: list[str]
) -> None:
    here = frozenset(features)
    monkeypatch.setattr("edgecnn_export.verification.verify.cpu_features", lambda: here)
    assert engines_for(target, ["onnxruntime", "openvino"]) == expected
    assert engines_for("trt", ["onnxruntime", "tensorrt"]) == ["tensorrt"]
    assert engines_for("trt", ["onnxruntime", "onnxruntime-cuda"], "fp16") == ["onnxruntime-cuda"]
    assert engines_for("trt", ["onnxruntime"], "fp16") == ["onnxruntime"], "it has no integer sums"


def test_steps_are_timed_in_order(exported: Exported) -> None:
    class Recorder:
        """A progress that records its steps."""

        def __init__(self) -> None:
            self.steps: list[str] = []

        def step(self, name: str) -> Any:
            from contextlib import nullcontext

            self.steps.append(name)
            return nullcontext()

        def update(self, done: int, total: int) -> None:
            self.steps.append(f"{done} of {total}")

    recorder = Recorder()
    timed = Timed(recorder)
    with timed.step("one"), timed.step("two"):
        timed.update(1, 2)
    assert recorder.steps == ["one", "two", "1 of 2"]
    assert set(timed.seconds) == {"one", "two"}
    assert list(exported(Detector).seconds) == [
        "load", "trace", "run the reference", "fold", "optimize", "verify on onnxruntime",
        "verify on openvino", "pack",
    ]  # fmt: skip
