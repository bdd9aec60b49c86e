"""What an INT8 export has to remark, in plain words."""

import math
from collections.abc import Sequence

from edgecnn_export.config import ExportConfig
from edgecnn_export.int8.metrics import Score
from edgecnn_export.int8.workbench import TargetResult

NAMED = 3
POOR = 0.2
"""A metric under which the labels are doubted before the model is."""
CHANCES = 1.2
"""So many times what guessing a class reaches is as poor."""


def doubts(
    config: ExportConfig, reference: Score | None, classes: int, max_drop: float
) -> list[str]:
    """Of a gate that proves less than it seems to.

    reference: the float model's score on the evaluation data. classes: the model tells apart.
    max_drop: the points that may be lost.
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
            f"each of the {reference.samples} labelled pictures weighs {weighs:.2g} points, and "
            f"{max_drop:g} may be lost: {math.ceil(100 / max_drop):,} or more can tell"
        )
    guessed = 1 / classes if reference.metric == "top-1" and classes > 1 else 0.0
    if reference.value < max(POOR, CHANCES * guessed):
        notes.append(
            f"the float model itself reaches {reference.metric} {reference.value:.1%} on "
            f"{config.eval_data}: its labels may belong to other files, or to another model. That "
            "INT8 loses little of that proves nothing"
        )
    return notes


def unread(skipped: Sequence[str]) -> list[str]:
    """Of files in the calibration folder that are no pictures."""
    if not skipped:
        return []
    names = ", ".join(skipped[:NAMED]) + (" …" if len(skipped) > NAMED else "")
    return [f"{len(skipped)} files in the calibration folder are no readable pictures: {names}"]


def outcomes(results: Sequence[TargetResult]) -> list[str]:
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
                f"({share:.0%} of the operations) went back to float to pass the gate"
            )
    constant = {name for result in results for name in result.constant}
    if constant:
        listed = ", ".join(sorted(constant)[:NAMED])
        notes.append(
            f"{len(constant)} tensors were 0 in every calibration picture ({listed}): a dead "
            "layer, or pictures that never excite it"
        )
    return notes
