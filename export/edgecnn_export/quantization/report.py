"""What report.json and report.html say about INT8, as plain values."""

import math

import msgspec

from edgecnn_export.config import Method
from edgecnn_export.quantization.accuracy_gate import GateMeasurement
from edgecnn_export.quantization.accuracy_restoration import GateResult, Trial
from edgecnn_export.quantization.calibration_audit import Audit
from edgecnn_runtime.backends.candidate import FULL_PRECISION
from edgecnn_runtime.bundle.manifest import Artifact, Int8Target


class LayerReport(msgspec.Struct, frozen=True, kw_only=True):
    """One layer.

    Attributes:
        index: Its place in the network.
        name: Its node's name.
        operator: Its ONNX operator.
        in_float: Whether it went back to float.
        cost: Its share of the network's operations.
        noise: Error power at the network's outputs while only this layer is INT8, as a share of the
            signal's; None where nothing had to be repaired.
        before_db: SQNR of its output with everything in INT8.
        after_db: The same in the graph that was chosen.
    """

    index: int
    name: str
    operator: str
    in_float: bool
    cost: float
    noise: float | None
    before_db: float
    after_db: float

    @property
    def rank(self) -> float:
        """Sorts the most sensitive layer first, where nothing was measured the noisiest."""
        return self.before_db if self.noise is None else -self.noise


class TargetResult(msgspec.Struct, frozen=True, kw_only=True):
    """One target's graph and how it was found.

    Attributes:
        target: What it is for.
        passed: Whether it passed the gate and is emitted.
        method: How its ranges were estimated.
        methods: By method, the error power at the outputs with everything in INT8, as a share of
            the signal's.
        all_int8: What the gate said about everything in INT8, by the methods that were tried.
        bias_corrected: Whether correcting biases helped.
        best: The graph that was chosen.
        attempts: Every graph with ranges by ``method`` that was measured.
        measurements: The best graph on every engine.
        layers: By ``LayerReport.rank``.
        float_operators: What stays in float, by how often.
        constant: Tensors that were 0 in every calibration image.
    """

    target: Int8Target
    passed: bool
    method: Method
    methods: dict[Method, float]
    all_int8: dict[Method, GateResult]
    bias_corrected: bool
    best: Trial
    attempts: tuple[Trial, ...]
    measurements: tuple[GateMeasurement, ...]
    layers: tuple[LayerReport, ...]
    float_operators: dict[str, int]
    constant: tuple[str, ...]

    @property
    def methods_db(self) -> dict[Method, float]:
        """The signal-to-noise ratio of the outputs by method.

        For a detector that is judged by its boxes: how far they are from being other boxes.
        """
        return {name: -10 * math.log10(max(e, 1e-20)) for name, e in self.methods.items()}

    @property
    def trials(self) -> list[tuple[Method, Trial]]:
        """Every graph that was measured, with the method of its ranges."""
        others = [(name, Trial((), result)) for name, result in self.all_int8.items()]
        own = [(self.method, attempt) for attempt in self.attempts]
        return [pair for pair in others if pair[0] != self.method] + own


class Int8Report(msgspec.Struct, frozen=True, kw_only=True):
    """All targets, and the calibration images.

    Attributes:
        audit: What stands out about the calibration images.
        calibration: Their names.
        calibrated_on: How many of them the ranges come from.
        measured_on: On how many images graphs were measured: the verification images and the
            calibration images held out for it, or all of those where they are few.
        targets: One per target.
        processor: How the exporting processor sums INT8 products.
    """

    audit: Audit
    calibration: tuple[str, ...]
    calibrated_on: int
    measured_on: int
    targets: tuple[TargetResult, ...]
    processor: str = ""

    def measurement(self, artifact: Artifact, engine: str) -> GateMeasurement | None:
        """What the gate measured of an artifact; None for one that is not INT8.

        Args:
            artifact: The artifact.
            engine: ``backend/precision``; the gate measures at the exact precision alone.
        """
        if artifact.precision != "int8":
            return None
        measurements = [
            measurement
            for result in self.targets
            if result.target == artifact.target
            for measurement in result.measurements
            if f"{measurement.engine}/{FULL_PRECISION}" == engine
        ]
        return measurements[0] if measurements else None
