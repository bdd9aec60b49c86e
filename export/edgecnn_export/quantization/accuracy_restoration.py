"""Return the worst layers to float until the gate holds, and as few of them as it takes.

The order comes from the sensitivity of each layer and from what it costs in float; how far down
that order to go is found by bisection, because each question means building a graph and running
it on every engine.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgecnn_export.quantization.layers import Layer
from edgecnn_export.quantization.sensitivity import LayerSensitivity

TRIES = 12
"""Graphs that are built and measured at most, the first included."""
LAST_TRIES = 4
"""More of them for a last search, in which what a layer costs no longer counts."""
FIRST, MOST = 0.25, 0.75
"""Of the layers, what the first and the last search begin with in float: usually a few do, and
where those that save most work do not, most of them are too loud."""


@dataclass(frozen=True)
class GateResult:
    """What a gate says of a candidate.

    ample: passed, with something in hand for pictures nobody has seen. score: how far above the
    gate; negative where it fails.
    """

    passed: bool
    ample: bool
    score: float
    text: str


@dataclass(frozen=True)
class Trial:
    """floats: names of the layers that were in float. verdict: of the graph made so."""

    floats: tuple[str, ...]
    verdict: GateResult


@dataclass(frozen=True)
class Restoration:
    """best: the one that passes amply with the least in float, else the most accurate one."""

    best: Trial
    attempts: tuple[Trial, ...]


def restore_accuracy(
    layers: Sequence[Layer],
    noise: Callable[[], LayerSensitivity],
    judge: Callable[[tuple[str, ...]], GateResult],
    tries: int = TRIES,
) -> Restoration:
    """Find the fewest layers that have to be float.

    noise: measured only if needed. judge: builds the graph with these layers in float and
    measures it. A gate that nothing but an all-float graph passes is not met.
    """
    attempts = [Trial((), judge(()))]
    if attempts[0].verdict.ample:
        return Restoration(attempts[0], tuple(attempts))
    measured = noise()
    _search(rank_layers(layers, measured), judge, attempts, tries, FIRST)
    if not any(attempt.verdict.ample for attempt in attempts):
        quiet = sorted(layers, key=measured.sqnr_of, reverse=True)
        steps = [(layer.name,) for layer in quiet]
        _search(steps, judge, attempts, tries + LAST_TRIES, MOST)
    return Restoration(_best(attempts), tuple(attempts))


def _search(
    steps: Sequence[tuple[str, ...]],
    judge: Callable[[tuple[str, ...]], GateResult],
    attempts: list[Trial],
    tries: int,
    share: float,
) -> None:
    """Bisect for the fewest steps that pass amply; tries go to the end of ``attempts``.

    share: of the steps, to begin with.
    """
    low, high = 0, len(steps)  # none fails; all would be the float graph, which is not asked for
    guess = int(high * share)
    while high - low > 1 and len(attempts) < tries:
        at = min(max(guess, low + 1), high - 1)
        floats = tuple(name for step in steps[:at] for name in step)
        attempts.append(Trial(floats, judge(floats)))
        if attempts[-1].verdict.ample:
            high = at
        else:
            low = at
        guess = (low + high) // 2


def rank_layers(layers: Sequence[Layer], noise: LayerSensitivity) -> list[tuple[str, ...]]:
    """Layers in the order in which to give them back to float; some only help together.

    Greedy by error removed for what it costs. A tensor stays quantized as long as any layer that
    touches it is INT8, so beside single layers all layers around one tensor are a choice.
    """
    left = {layer.name: layer for layer in layers}
    groups: dict[tuple[str, ...], None] = {(name,): None for name in left}
    for tensor in dict.fromkeys(name for layer in layers for name in layer.tensors):
        groups[tuple(layer.name for layer in layers if tensor in layer.tensors)] = None
    steps: list[tuple[str, ...]] = []
    while left:
        choices = {tuple(name for name in group if name in left) for group in groups} - {()}
        best = max(choices, key=lambda group: (_worth(group, left, noise), group))
        steps.append(best)
        for name in best:
            del left[name]
    return steps


def _worth(group: tuple[str, ...], left: dict[str, Layer], noise: LayerSensitivity) -> float:
    """Error power that goes when a group returns to float, for each operation that comes back."""
    others = [layer for name, layer in left.items() if name not in group]
    still = {tensor for layer in others for tensor in layer.tensors}
    still |= {weight for layer in others for weight in layer.weights}
    members = [left[name] for name in group]
    tensors = {tensor for layer in members for tensor in layer.tensors} - still
    weights = {weight for layer in members for weight in layer.weights} - still
    removed = sum(noise.tensors.get(name, 0.0) for name in tensors)
    removed += sum(noise.weights.get(name, 0.0) for name in weights)
    return removed / (sum(layer.cost for layer in members) + 1.0)


def _best(attempts: Sequence[Trial]) -> Trial:
    ample = [attempt for attempt in attempts if attempt.verdict.ample]
    if ample:
        return min(ample, key=lambda attempt: len(attempt.floats))
    return max(attempts, key=lambda attempt: attempt.verdict.score)
