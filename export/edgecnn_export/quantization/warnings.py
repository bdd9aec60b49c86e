"""The warnings of an INT8 export."""

import math
from collections.abc import Sequence

from edgecnn_export.config import ExportConfig
from edgecnn_export.quantization.accuracy_gate import GATE_OFF, is_uninformative
from edgecnn_export.quantization.report import TargetResult
from edgecnn_export.quantization.schemes import SCHEMES
from edgecnn_export.verification.gate import MIN_FINDINGS
from edgecnn_runtime.backends import onnxruntime_exact
from edgecnn_runtime.bundle.manifest import REDUCED_RANGE, Int8Target
from edgecnn_runtime.evaluation.dataset import list_names
from edgecnn_runtime.evaluation.metrics import Score

NAMED = 3
MOSTLY = 0.9
"""Of the operations: with so many in float, a graph is INT8 in name only."""
HARDLY = (
    ": it will hardly be faster. Where equal results are too strict a demand, labeled pictures "
    "(--eval-data) let the gate count right results instead"
)


def gate_warnings(
    config: ExportConfig, reference: Score | None, max_drop: float, example: str = ""
) -> list[str]:
    """Warnings about a gate that proves less than it seems to.

    Args:
        config: What the user set.
        reference: The float model's score on the evaluation data; None without any.
        max_drop: The points that may be lost.
        example: A result that is not its label, in words.
    """
    if reference is None:
        if config.max_drop is None:
            return []
        return [
            f"--max-drop {config.max_drop:g} has no effect without --eval-data: INT8 had to agree "
            "with the float model instead"
        ]
    warnings = []
    weight = 100 / reference.samples
    if weight > max_drop > 0:
        warnings.append(
            f"each of the {reference.samples} labeled pictures weighs {weight:.2g} points, and "
            f"{max_drop:g} may be lost: only {math.ceil(100 / max_drop):,} or more could tell"
        )
    if max_drop >= GATE_OFF:
        warnings.append(f"--max-drop {max_drop:g} switches the gate off: INT8 may lose everything")
    elif is_uninformative(reference):
        shown = f" ({example})" if example else ""
        warnings.append(
            f"the float model itself reaches {reference.metric} {reference.value:.1%} on "
            f"{config.eval_data}: its labels may belong to other files, or to another "
            f"model{shown}. Losing little of that proves nothing, so INT8 had to agree with the "
            "float model as well"
        )
    return warnings


def few_findings_warnings(findings: int | None, *, labeled: bool) -> list[str]:
    """A warning where too little is found to compare results.

    Args:
        findings: What the float model finds in the measured pictures; None where nothing is to be
            found.
        labeled: Whether labeled pictures decide.
    """
    if labeled or findings is None or findings >= MIN_FINDINGS:
        return []
    what = "found nothing" if not findings else f"found only {findings} objects"
    return [
        f"the float model {what} in the pictures INT8 was measured on, and {MIN_FINDINGS} are the "
        "fewest that prove something: INT8 was judged by all of its outputs instead. Give --calib "
        "pictures that show what the model was made for"
    ]


def unreadable_file_warnings(skipped: Sequence[str]) -> list[str]:
    """A warning about files in the calibration folder that could not be read as images."""
    if not skipped:
        return []
    what = (
        "file is not a readable picture" if len(skipped) == 1 else "files are not readable pictures"
    )
    return [f"{len(skipped)} {what} in the calibration folder: {list_names(skipped)}"]


def left_out_targets(targets: Sequence[Int8Target], results: Sequence[TargetResult]) -> list[str]:
    """Warnings about targets that were named by the user and left out."""
    quantized = {result.target for result in results}
    return [
        f"int8-{target} was left out: it would be nearly the same as "
        f"int8-{SCHEMES[target].variant_of}, which its engine takes too"
        for target in targets
        if target not in quantized
    ]


def exact_sums_warnings(results: Sequence[TargetResult]) -> list[str]:
    """A warning about targets for other processors than this one, on which they would overflow."""
    exact = onnxruntime_exact.ENGINE.name
    names = [
        f"int8-{result.target}"
        for result in results
        if any(measurement.engine == exact for measurement in result.measurements)
    ]
    if not names:
        return []
    return [
        f"full-range INT8 saturates on this processor: {', '.join(names)} "
        f"{'was' if len(names) == 1 else 'were'} judged by exact sums ({exact}), as other "
        f"processors compute them; this processor runs int8-{REDUCED_RANGE}"
    ]


def outcome_warnings(results: Sequence[TargetResult]) -> list[str]:
    """Warnings about targets that failed, layers that went back to float, and dead layers."""
    warnings = []
    for result in results:
        name, layers = f"int8-{result.target}", result.layers
        floats = [layer for layer in layers if layer.in_float]
        if not result.passed:
            loudest = sorted(layers, key=lambda layer: -(layer.noise or 0.0))[:NAMED]
            count = len(result.trials)
            best = f"the nearest of {count} tries" if count > 1 else "the only try"
            warnings.append(
                f"{name} was not made: {best} still misses the gate ({result.best.verdict.text}); "
                f"the worst layers are {', '.join(layer.name for layer in loudest)}. More and more "
                "varied --calib pictures help, or a larger --max-drop with --eval-data"
            )
        elif floats:
            share = sum(layer.cost for layer in floats)
            all_int8 = result.all_int8.get(result.method)
            passed = all_int8 is not None and all_int8.passed
            purpose = "for a margin beyond the gate" if passed else "to pass the gate"
            warnings.append(
                f"{name}: {len(floats)} of {len(layers)} layers ({100 * share:.3g}% of the "
                f"operations) went back to float {purpose}"
                + (HARDLY if share > MOSTLY and not result.measurements[0].quality else "")
            )
    constant = sorted({name for result in results for name in result.constant})
    if constant:
        warnings.append(
            f"{len(constant)} tensors were 0 in every calibration picture ({list_names(constant)}):"
            " a dead layer, or pictures that never excite it"
        )
    return warnings
