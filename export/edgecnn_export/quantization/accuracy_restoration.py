"""Return the worst layers to float until the gate holds, and as few of them as it takes.

The order comes from the sensitivity of each layer and from what it costs in float; how far down
that order to go is found by bisection, because each question means building a graph and running
it on every engine. Some more may follow for a margin, as long as they cost hardly any time.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from edgecnn_export.quantization.layers import Layer
from edgecnn_export.quantization.sensitivity import LayerSensitivity

TRIES = 12
"""Graphs that are built and measured at most before one passes, the first included."""
LAST_TRIES = 4
"""More of them for a last search, in which what a layer costs no longer counts."""
MARGIN_TRIES = 4
"""Graphs that are measured at most for a margin, after one has passed."""
MARGIN_TIME = 1.03
"""How much longer a graph with a margin may take than the fastest one that passes."""
FIRST, MOST = 0.25, 0.75
"""Of the layers, what the first and the last search begin with in float: usually a few do, and
where those that save most work do not, most of them are too loud."""
INT8_TIME = 0.5
"""Time of a layer in INT8 over its time in float, where nothing here can measure it."""


class GateResult(msgspec.Struct, frozen=True):
    """What a gate says about a graph.

    Attributes:
        passed: Whether it may be emitted.
        ample: Whether it passed with a margin for other images.
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
        best: Of the graphs that pass and take at most MARGIN_TIME times as long as the one with
            the fewest layers in float: that with a margin, or the most accurate. Where none
            passes, the most accurate of all.
        attempts: Every graph that was measured.
    """

    best: Trial
    attempts: tuple[Trial, ...]


Gate: TypeAlias = Callable[[tuple[str, ...]], GateResult]
"""Builds the graph with these layers in float, and measures it."""
Slowdown: TypeAlias = Callable[[tuple[str, ...], tuple[str, ...]], float]
"""The time of the graph with the first layers in float, over that with the second."""


def restore_accuracy(
    layers: Sequence[Layer],
    measure_sensitivity: Callable[[], LayerSensitivity],
    gate: Gate,
    slowdown: Slowdown | None = None,
) -> Restoration:
    """Find the fewest layers that have to be float.

    An all-float graph is never asked for: a gate that only this one would pass is not met.

    Args:
        layers: Those that may return to float.
        measure_sensitivity: Called only if layers have to.
        gate: Judges the graph with some layers in float.
        slowdown: Compares the time of two graphs; None estimates it from the layers' costs.
    """
    attempts = [Trial((), gate(()))]
    if attempts[0].verdict.ample:
        return Restoration(attempts[0], tuple(attempts))
    sensitivity = measure_sensitivity()
    steps = rank_layers(layers, sensitivity)
    if not attempts[0].verdict.passed:
        _bisect(steps, gate, attempts, TRIES, FIRST)
        if not any(attempt.verdict.passed for attempt in attempts):
            loudest = sorted(layers, key=sensitivity.error_of, reverse=True)
            steps = [(layer.name,) for layer in loudest]
            _bisect(steps, gate, attempts, TRIES + LAST_TRIES, MOST)
    passed = [attempt for attempt in attempts if attempt.verdict.passed]
    if not passed:
        best = max(attempts, key=lambda attempt: attempt.verdict.score)
    else:
        fewest = min(passed, key=lambda attempt: len(attempt.floats))
        estimate = _estimate(layers)
        best = _with_margin(
            fewest, steps, gate, attempts, slowdown=slowdown or estimate, estimate=estimate
        )
    return Restoration(best, tuple(attempts))


def _bisect(
    steps: Sequence[tuple[str, ...]], gate: Gate, attempts: list[Trial], tries: int, share: float
) -> None:
    """Bisect for the fewest steps that pass, from this share of them on.

    Trials are appended to ``attempts``.
    """
    low, high = 0, len(steps)  # none fails; all would be the float graph, which is not asked for
    guess = int(high * share)
    while high - low > 1 and len(attempts) < tries:
        count = min(max(guess, low + 1), high - 1)
        attempts.append(_try(steps, count, gate))
        low, high = (low, count) if attempts[-1].verdict.passed else (count, high)
        guess = (low + high) // 2


def _with_margin(
    fewest: Trial,
    steps: Sequence[tuple[str, ...]],
    gate: Gate,
    attempts: list[Trial],
    *,
    slowdown: Slowdown,
    estimate: Slowdown,
) -> Trial:
    """Bisect for the fewest further steps that give a margin, of those that cost little time.

    Trials are appended to ``attempts``. Begins where operations say that the price is reached.
    """
    if fewest.verdict.ample:
        return fewest
    known = {attempt.floats: attempt for attempt in attempts}
    low = next(n for n in range(len(steps) + 1) if len(_floats(steps, n)) >= len(fewest.floats))
    high, best, tries = len(steps), fewest, 0
    affordable = [
        count
        for count in range(low + 1, high)
        if estimate(_floats(steps, count), fewest.floats) <= MARGIN_TIME
    ]
    guess = max(affordable, default=low + 1)
    while high - low > 1 and tries < MARGIN_TRIES:
        count = min(max(guess, low + 1), high - 1)
        floats = _floats(steps, count)
        if slowdown(floats, fewest.floats) > MARGIN_TIME:
            high, guess = count, (low + count) // 2
            continue
        if floats not in known:
            tries += 1
            attempts.append(_try(steps, count, gate))
            known[floats] = attempts[-1]
        trial = known[floats]
        if trial.verdict.ample:
            best, high = trial, count
        else:
            low = count
            if not best.verdict.ample and trial.verdict.score > best.verdict.score:
                best = trial
        guess = (low + high) // 2
    return best


def _try(steps: Sequence[tuple[str, ...]], count: int, gate: Gate) -> Trial:
    floats = _floats(steps, count)
    return Trial(floats, gate(floats))


def _floats(steps: Sequence[tuple[str, ...]], count: int) -> tuple[str, ...]:
    return tuple(name for step in steps[:count] for name in step)


def _estimate(layers: Sequence[Layer]) -> Slowdown:
    """A slowdown by what layers cost in float, and the share of it that INT8 takes."""
    costs = {layer.name: layer.cost for layer in layers}
    total = math.fsum(costs.values())

    def time(floats: tuple[str, ...]) -> float:
        return INT8_TIME * total + (1 - INT8_TIME) * math.fsum(costs[name] for name in floats)

    return lambda floats, others: time(floats) / (time(others) or 1.0)


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
        users = Counter(name for layer in left.values() for name in set(layer.quantizers))
        best = max(choices, key=lambda group: (_worth(group, left, users, sensitivity), group))
        steps.append(best)
        for name in best:
            del left[name]
    return steps


def _worth(
    group: tuple[str, ...],
    left: Mapping[str, Layer],
    users: Mapping[str, int],
    sensitivity: LayerSensitivity,
) -> float:
    """Error power that goes when a group returns to float, for each operation that comes back.

    A quantizer goes with the last of its users.
    """
    members = [left[name] for name in group]
    own = Counter(name for layer in members for name in set(layer.quantizers))
    freed = [name for name, count in own.items() if count == users[name]]
    removed = math.fsum(sensitivity.errors.get(name, 0.0) for name in freed)
    return removed / (sum(layer.cost for layer in members) + 1.0)
