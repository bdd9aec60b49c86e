"""The warnings about an INT8 graph."""

import pytest
from msgspec.structs import replace

from edgecnn_export.quantization.accuracy_gate import GateMeasurement
from edgecnn_export.quantization.accuracy_restoration import GateResult, Trial
from edgecnn_export.quantization.report import LayerReport, TargetResult
from edgecnn_export.quantization.warnings import outcome_warnings
from edgecnn_runtime.evaluation.metrics import Score

SCORE = Score("exact match", 0.9, 0.8, 0.95, 100)


def result(costs: list[float], floats: int, quality: Score | None = None) -> TargetResult:
    """A result with the first ``floats`` layers in float; costs are shares of the operations."""
    layers = tuple(
        LayerReport(
            index=index, name=f"conv{index}", operator="Conv", in_float=index < floats,
            cost=cost, noise=0.1, before_db=20.0, after_db=30.0,
        )
        for index, cost in enumerate(costs)
    )  # fmt: skip
    best = Trial(tuple(layer.name for layer in layers[:floats]), GateResult(True, True, 0.1, ""))
    return TargetResult(
        target="cpu", passed=True, method="mse", methods={}, all_int8={},
        bias_corrected=False, best=best, attempts=(best,),
        measurements=(GateMeasurement("onnxruntime", 1.0, 1.0, 1.0, 40.0, quality),), layers=layers,
        float_operators={}, constant=(),
    )  # fmt: skip


def test_there_is_no_warning_where_all_is_int8() -> None:
    assert outcome_warnings([result([0.5, 0.5], 0)]) == []


def test_what_went_back_to_float_is_counted() -> None:
    (warning,) = outcome_warnings([result([0.25, 0.75], 1)])
    assert warning == (
        "int8-cpu: 1 of 2 layers (25% of the operations) went back to float to pass the gate"
    )


def test_a_margin_is_not_called_what_the_gate_asks_for() -> None:
    passed = replace(result([0.25, 0.75], 1), all_int8={"mse": GateResult(True, False, 0.0, "")})
    (warning,) = outcome_warnings([passed])
    assert warning.endswith("went back to float for a margin beyond the gate")


@pytest.mark.parametrize("quality", [None, SCORE])
def test_a_graph_that_is_int8_in_name_is_called_that(quality: Score | None) -> None:
    (warning,) = outcome_warnings([result([0.9994, 0.0006], 1, quality)])
    assert "1 of 2 layers (99.9% of the operations)" in warning
    assert ("hardly be faster" in warning) == (quality is None), "labels were given"
    assert ("--eval-data" in warning) == (quality is None)
