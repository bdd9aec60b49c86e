"""What an INT8 export has to remark, in plain words."""

import math
from collections.abc import Sequence

from edgecnn_export.config import ExportConfig, Target
from edgecnn_export.quantization.accuracy_gate import GATE_OFF, is_uninformative
from edgecnn_export.quantization.search import TargetResult
from edgecnn_runtime.backends import onnxruntime_exact
from edgecnn_runtime.evaluation.metrics import Score

NAMED = 3
MOSTLY = 0.9
"""Of the operations: with so many in float, INT8 is one in name."""
HARDLY = (
    ": it will hardly be faster. Where equal results ask too much, labeled pictures "
    "(--eval-data) let the gate count right ones instead"
)


def gate_warnings(
    config: ExportConfig, reference: Score | None, max_drop: float, example: str = ""
) -> list[str]:
    """Warnings of a gate that proves less than it seems to.

    Args:
        config: What the user set.
        reference: The float model's score on the evaluation data; None without any.
        max_drop: The points that may be lost.
        example: An answer that is not its label, in words.
    """
    if reference is None:
        if config.max_drop is None:
            return []
        return [
            f"--max-drop {config.max_drop:g} says nothing without --eval-data: INT8 was held to "
            "agree with the float model instead"
        ]
    notes = []
    weighs = 100 / reference.samples
    if weighs > max_drop > 0:
        notes.append(
            f"each of the {reference.samples} labeled pictures weighs {weighs:.2g} points, and "
            f"{max_drop:g} may be lost: {math.ceil(100 / max_drop):,} or more can tell"
        )
    if max_drop >= GATE_OFF:
        notes.append(f"--max-drop {max_drop:g} sets the gate aside: INT8 may do anything")
    elif is_uninformative(reference):
        shown = f" ({example})" if example else ""
        notes.append(
            f"the float model itself reaches {reference.metric} {reference.value:.1%} on "
            f"{config.eval_data}: its labels may belong to other files, or to another "
            f"model{shown}. That INT8 loses little of that proves nothing, so it had to agree with "
            "the float model as well"
        )
    return notes


def unreadable_file_warnings(skipped: Sequence[str]) -> list[str]:
    """Of files in the calibration folder that are no pictures."""
    if not skipped:
        return []
    names = ", ".join(skipped[:NAMED]) + (" …" if len(skipped) > NAMED else "")
    what = "file is no readable picture" if len(skipped) == 1 else "files are no readable pictures"
    return [f"{len(skipped)} {what} in the calibration folder: {names}"]


def left_out_targets(named: Sequence[Target], results: Sequence[TargetResult]) -> list[str]:
    """Of targets that were asked for by name and are no form of their own."""
    made = {result.target for result in results}
    return [
        f"int8-{target} would be int8-cpu over again, which {target} takes: it was left out"
        for target in named
        if target not in made
    ]


def exact_sums_warnings(results: Sequence[TargetResult]) -> list[str]:
    """Of targets for other processors than this one, on which they would overflow."""
    exact = onnxruntime_exact.ENGINE.name
    names = [
        f"int8-{result.target}"
        for result in results
        if any(measurement.engine == exact for measurement in result.measured)
    ]
    if not names:
        return []
    return [
        f"full-range INT8 saturates on this processor: {', '.join(names)} "
        f"{'was' if len(names) == 1 else 'were'} judged by exact sums ({exact}), as other "
        "processors compute them; what is for this one is int8-cpu-rr"
    ]


def outcome_warnings(results: Sequence[TargetResult]) -> list[str]:
    """Of targets that were not made, layers that went back to float, and layers that are dead."""
    notes = []
    for result in results:
        name = f"int8-{result.target}"
        if not result.passed:
            loudest = sorted(result.layers, key=lambda layer: -(layer.noise or 0.0))
            worst = ", ".join(layer.name for layer in loudest[:NAMED])
            tries = len(result.attempts) + len(result.tried) - 1
            tried = f"the nearest of {tries} tries" if tries > 1 else "the only try"
            notes.append(
                f"{name} was not made: {tried} still misses "
                f"the gate ({result.best.verdict.text}); the worst layers are {worst}. More and "
                "more varied --calib pictures help, or a larger --max-drop with --eval-data"
            )
        elif result.returned:
            share = sum(layer.cost for layer in result.layers if layer.in_float)
            notes.append(
                f"{name}: {len(result.returned)} of {len(result.layers)} layers "
                f"({100 * share:.3g}% of the operations) went back to float to pass the gate"
                + (HARDLY if share > MOSTLY and not result.measured[0].quality else "")
            )
    constant = {name for result in results for name in result.constant}
    if constant:
        listed = ", ".join(sorted(constant)[:NAMED])
        notes.append(
            f"{len(constant)} tensors were 0 in every calibration picture ({listed}): a dead "
            "layer, or pictures that never excite it"
        )
    return notes
