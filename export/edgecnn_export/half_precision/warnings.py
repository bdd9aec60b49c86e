"""The warnings of an export in half precision."""

from edgecnn_export.half_precision.exclusions import CONSTANT, OVERFLOW
from edgecnn_export.half_precision.report import HalfReport
from edgecnn_export.half_precision.search import LOSES

MOSTLY = 0.5
"""Of the layers: with so many in float32, the artifact is half precision in name only."""


def half_warnings(report: HalfReport) -> tuple[str, ...]:
    """A warning where the artifact was not made, or computes mostly in float32.

    Args:
        report: How the artifact was made.
    """
    if not report.passed:
        count = len(report.attempts)
        best = f"the nearest of {count} tries" if count > 1 else "the only try"
        return (
            f"fp16 was not made: {best} misses the gate ({report.best.verdict.text}); GPUs use the "
            "float artifact",
        )
    forced = [layer for layer in report.float32 if layer.reason in {CONSTANT, OVERFLOW, LOSES}]
    if len(forced) <= MOSTLY * report.layers:
        return ()
    return (
        f"fp16: {len(forced)} of {report.layers} layers stay in float32, because they overflow or "
        "lose too much: it will hardly be faster than the float artifact",
    )
