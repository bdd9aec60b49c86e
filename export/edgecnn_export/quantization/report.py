"""What report.json and report.html tell of INT8: plain values, layers ranked by what they cost."""

import math
from collections.abc import Iterator

import msgspec

from edgecnn_export.config import Method, Target
from edgecnn_export.quantization.accuracy_restoration import GateResult
from edgecnn_export.quantization.calibration_audit import Audit
from edgecnn_export.quantization.search import LayerReport, TargetResult
from edgecnn_export.quantization.step import Int8


class TrialReport(msgspec.Struct, frozen=True, kw_only=True):
    """One graph that was built and measured. in_float: how many layers were."""

    method: Method
    in_float: int
    passed: bool
    text: str


class EngineReport(msgspec.Struct, frozen=True, kw_only=True):
    """The best graph on one engine, against the float graph. quality: the metric, if evaluated."""

    engine: str
    cosine: float
    snr_db: float
    agreement: float
    quality: float | None


class TargetReport(msgspec.Struct, frozen=True, kw_only=True):
    """One target. methods_db: SNR of the output by method, with everything in INT8; of a detector
    that is judged by its boxes, how far they stay under what makes another box.

    layers: the most sensitive first where sensitivity was measured, else the noisiest first.
    float_operators: what stays in float, by how often.
    """

    target: Target
    passed: bool
    verdict: str
    method: Method
    methods_db: dict[str, float]
    bias_corrected: bool
    tries: tuple[TrialReport, ...]
    engines: tuple[EngineReport, ...]
    layers: tuple[LayerReport, ...]
    float_operators: dict[str, int]


class Int8Report(msgspec.Struct, frozen=True, kw_only=True):
    """All targets, and the calibration pictures.

    calibrated_on, measured_on: how many pictures. Those measured on are the verification pictures
    and the calibration pictures kept back for it, or all of them where they are few.
    """

    audit: Audit
    calibration: tuple[str, ...]
    calibrated_on: int
    measured_on: int
    targets: tuple[TargetReport, ...]


def make_int8_report(made: Int8) -> Int8Report:
    """The report's part on INT8."""
    return Int8Report(
        audit=made.audit,
        calibration=made.calibration.names,
        calibrated_on=made.calibrated,
        measured_on=made.measured,
        targets=tuple(_target(result) for result in made.results),
    )


def _target(result: TargetResult) -> TargetReport:
    return TargetReport(
        target=result.target,
        passed=result.passed,
        verdict=result.best.verdict.text,
        method=result.method,
        methods_db={name: _decibel(error) for name, error in result.methods.items()},
        bias_corrected=result.bias_corrected,
        tries=tuple(
            TrialReport(method=method, in_float=floats, passed=verdict.passed, text=verdict.text)
            for method, floats, verdict in _tries(result)
        ),
        engines=tuple(
            EngineReport(
                engine=one.engine,
                cosine=one.cosine,
                snr_db=one.snr_db,
                agreement=one.agreement,
                quality=one.quality.value if one.quality else None,
            )
            for one in result.measured
        ),
        layers=tuple(sorted(result.layers, key=_rank)),
        float_operators=dict(result.float_operators),
    )


def _tries(result: TargetResult) -> Iterator[tuple[Method, int, GateResult]]:
    """Every graph that was measured: method, layers in float, verdict."""
    for method, verdict in result.tried.items():
        if method != result.method:
            yield method, 0, verdict
    for attempt in result.attempts:
        yield result.method, len(attempt.floats), attempt.verdict


def _rank(layer: LayerReport) -> float:
    return layer.before_db if layer.noise is None else -layer.noise


def _decibel(error: float) -> float:
    return -10 * math.log10(max(error, 1e-20))
