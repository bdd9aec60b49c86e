"""What report.json and report.html say about half precision, as plain values."""

import msgspec

from edgecnn_export.quantization.accuracy_restoration import Trial


class Float32Layer(msgspec.Struct, frozen=True):
    """A layer that stays in float32.

    Attributes:
        name: Its node's name.
        operator: Its ONNX operator.
        reason: Why.
    """

    name: str
    operator: str
    reason: str


class HalfReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the half precision artifact was made.

    Attributes:
        passed: Whether it passed its gate and is emitted.
        layers: How many layers could compute in half precision.
        float32: Those of them that stay in float32.
        best: The graph that was chosen.
        attempts: Every graph that was measured.
        measured_on: The number of pictures that graphs were measured on.
    """

    passed: bool
    layers: int
    float32: tuple[Float32Layer, ...]
    best: Trial
    attempts: tuple[Trial, ...]
    measured_on: int
