"""Return the worst layers to float until the gate holds, and as few of them as it takes.

The order comes from the sensitivity of each layer and from what it costs in float; how far down
that order to go is found by bisection, because each question means building a graph and running
it on every engine.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from edgecnn_export.quantization.layers import Layer
from edgecnn_export.quantization.sensitivity import LayerSensitivity

TRIES = 12
"""Graphs that are built and measured at most, the first included."""
LAST_TRIES = 4
"""More of them for a last search, in which what a layer costs no longer counts."""
FIRST, MOST = 0.25, 0.75
"""Of the layers, what the first and the last search begin with in float: usually a few do, and
where those that save most work do not, most of them are too loud."""


class GateResult(msgspec.Struct, frozen=True):
    """What a gate says about a graph.

    Attributes:
        passed: Whether it may be emitted.
        ample: Whether it passed with something in hand for other images.
        score: How far above the gate it is; negative where it fails.
        text: The figures of the worst engine, in words.
    """

    passed: bool
    ample: bool
    score: float
    text: str


class Trial(msgspec.Struct, frozen=True):
    """A graph that was built and measured.

    Attributes:
        floats: The names of the layers that were in float, the worst first.
        verdict: What the gate said about it.
    """

    floats: tuple[str, ...]
    verdict: GateResult


class Restoration(msgspec.Struct, frozen=True):
    """How a search ended.

    Attributes:
        best: The graph that passes amply with the least in float, else the most accurate one.
        attempts: Every graph that was measured.
    """

    best: Trial
    attempts: tuple[Trial, ...]


Gate: TypeAlias = Callable[[tuple[str, ...]], GateResult]
"""Builds the graph with these layers in float, and measures it."""


def restore_accuracy(
    layers: Sequence[Layer], measure_sensitivity: Callable[[], LayerSensitivity], gate: Gate
) -> Restoration:
    """Find the fewest layers that have to be float.

    An all-float graph is never asked for: a gate that only this one would pass is not met.

    Args:
        layers: Those that may return to float.
        measure_sensitivity: Called only if layers have to.
        gate: Judges the graph with some layers in float.
    """
    attempts = [Trial((), gate(()))]
    if not attempts[0].verdict.ample:
        sensitivity = measure_sensitivity()
        _bisect(rank_layers(layers, sensitivity), gate, attempts, TRIES, FIRST)
        if not any(attempt.verdict.ample for attempt in attempts):
            loudest = sorted(layers, key=sensitivity.error_of, reverse=True)
            steps = [(layer.name,) for layer in loudest]
            _bisect(steps, gate, attempts, TRIES + LAST_TRIES, MOST)
    ample = [attempt for attempt in attempts if attempt.verdict.ample]
    best = min(ample, key=lambda attempt: len(attempt.floats), default=None)
    best = best or max(attempts, key=lambda attempt: attempt.verdict.score)
    return Restoration(best, tuple(attempts))


def _bisect(
    steps: Sequence[tuple[str, ...]], gate: Gate, attempts: list[Trial], tries: int, share: float
) -> None:
    """Bisect for the fewest steps that pass with a margin, from this share of them on.

    Trials are appended to ``attempts``.
    """
    low, high = 0, len(steps)  # none fails; all would be the float graph, which is not asked for
    guess = int(high * share)
    while high - low > 1 and len(attempts) < tries:
        count = min(max(guess, low + 1), high - 1)
        floats = tuple(name for step in steps[:count] for name in step)
        attempts.append(Trial(floats, gate(floats)))
        low, high = (low, count) if attempts[-1].verdict.ample else (count, high)
        guess = (low + high) // 2


def rank_layers(layers: Sequence[Layer], sensitivity: LayerSensitivity) -> list[tuple[str, ...]]:
    """Layers in the order in which to give them back to float; some only help together.

    Greedy by error removed for what it costs. A tensor stays quantized as long as any layer that
    touches it is INT8, so beside single layers all layers around one tensor are a choice.
    """
    left = {layer.name: layer for layer in layers}
    groups: set[tuple[str, ...]] = {(name,) for name in left}
    for tensor in {name for layer in layers for name in layer.tensors}:
        groups.add(tuple(layer.name for layer in layers if tensor in layer.tensors))
    steps: list[tuple[str, ...]] = []
    while left:
        choices = {tuple(name for name in group if name in left) for group in groups} - {()}
        best = max(choices, key=lambda group: (_worth(group, left, sensitivity), group))
        steps.append(best)
        for name in best:
            del left[name]
    return steps


def _worth(group: tuple[str, ...], left: dict[str, Layer], sensitivity: LayerSensitivity) -> float:
    """Error power that goes when a group returns to float, for each operation that comes back."""
    members = [left[name] for name in group]
    others = [layer for name, layer in left.items() if name not in group]
    freed = {name for layer in members for name in layer.quantizers}
    freed -= {name for layer in others for name in layer.quantizers}
    removed = math.fsum(sensitivity.errors.get(name, 0.0) for name in freed)
    return removed / (sum(layer.cost for layer in members) + 1.0)
