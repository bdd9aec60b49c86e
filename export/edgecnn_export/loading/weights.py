"""State dicts: the sets of weights in a file, one of them loaded into its architecture."""

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from edgecnn_export.loading.quantized import check_weights
from edgecnn_runtime.errors import CheckpointError, UsageError

SHOWN = 12
COUNTER = "num_batches_tracked"
BOOKKEEPING = (COUNTER, "n_averaged", "total_ops", "total_params")
"""What training and profilers leave beside weights; results do not depend on it."""
RUNNING = ("running_mean", "running_var")
TRAINING_STATE = ("optim", "sched", "scaler")
"""How the keys begin that hold the rest of a training's state, also in tensors."""
WRAPPERS = frozenset(["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"])
"""Names that DataParallel, torch.compile and others put into the names of what they wrap."""
OUTER_WRAPPER = "model"
"""The same of Lightning, but only as the first word: networks have modules of this name too."""
MAX_DEPTH = 8
TOP = "."
"""The place of tensors that are not below any key."""

WeightSets: TypeAlias = Mapping[str, Mapping[str, Tensor]]
"""Sets of weights by their place in a file: the keys that lead to it, joined by dots."""


def find_weight_sets(content: object, path: Path) -> WeightSets:
    """Every set of weights in a file's content, at any depth.

    Args:
        content: What torch.load returned.
        path: The file, for messages.

    Raises:
        CheckpointError: There is none.
        UnsupportedModelError: Weights are quantized already.
    """
    check_weights(content, path)
    sets = {".".join(keys) or TOP: tensors for keys, tensors in _search(content, ())}
    if sets:
        return sets
    keys = [str(key) for key in list(content)[:SHOWN]] if isinstance(content, Mapping) else []
    summary = f"its keys are {', '.join(keys)}" if keys else f"it is a {type(content).__name__}"
    raise CheckpointError(f"{path} holds no weights: {summary}")


def choose_weights(
    sets: WeightSets, own: Mapping[str, Tensor], path: Path, key: str = ""
) -> dict[str, Tensor]:
    """The set whose names a network has, under the network's names.

    A prefix that the file puts before them is removed (``module.`` of DataParallel, ``model.`` of
    Lightning). Names under two such prefixes are two sets. Wrappers of parts of a network
    (``_orig_mod.`` of torch.compile) are removed where they are.

    Args:
        sets: Of the file.
        own: The network's state dict.
        path: The file, for messages.
        key: The place of the set to take, or a key above it; "" for the only one that fits best.

    Returns:
        All of the set. Names that do not begin with the prefix are as in the file.

    Raises:
        CheckpointError: Several sets fit equally well.
        UsageError: The file has no set of that key.
    """
    return _choose(sets, own, path, key)[0].weights()


def _choose(
    sets: WeightSets, own: Mapping[str, Tensor], path: Path, key: str
) -> "tuple[_View, list[_View]]":
    """The view of ``choose_weights``, and the others that the key does not rule out."""
    views = _views(sets, own)
    wanted = sum(not name.endswith(COUNTER) for name in own)
    if max(view.matching for view in views) < wanted:
        bare = {
            place: {_without_wrappers(name): tensor for name, tensor in tensors.items()}
            for place, tensors in sets.items()
        }
        views = max(views, _views(bare, own), key=lambda each: max(v.matching for v in each))
    if key:
        views = _below(views, key, path)
    most = max(view.matching for view in views)
    best = [view for view in views if view.matching == most]
    if len(best) > 1 and most:
        names = " or ".join(f"--weights-key {shlex.quote(view.name)}" for view in best[:SHOWN])
        raise CheckpointError(
            f"{path} holds several sets of weights: name the one to take with {names}"
        )
    return best[0], [view for view in views if view is not best[0]]


def load_into(module: nn.Module, sets: WeightSets, path: Path, key: str = "") -> tuple[str, ...]:
    """Copy weights into a module, which keeps its own dtype.

    Args:
        module: Where the weights go.
        sets: Of the file.
        path: The file, for messages.
        key: As for ``choose_weights``.

    Returns:
        What a person has to know about tensors that the module has no place for.

    Raises:
        CheckpointError: Names are missing or of another shape, and the message lists them; or there
            are several sets of weights.
        UsageError: The file has no set of that key.
    """
    own = module.state_dict()
    view, others = _choose(sets, own, path, key)
    weights = view.weights()
    missing = [name for name in own if name not in weights and not name.endswith(COUNTER)]
    unexpected = [n for n in weights if n not in own and not n.endswith(BOOKKEEPING)]
    misshapen = [
        f"{name}: {_shape(weights[name])} in the file, {_shape(own[name])} in the architecture"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if missing or misshapen:
        advice = (
            "Check --arch and --arch-args (the number of classes, the width)"
            if misshapen
            else "--arch has to build the network that was saved, with the same names in it"
        )
        raise CheckpointError(
            f"{path} does not fit its architecture {type(module).__name__}"
            + _section("missing from the file", missing)
            + _section("unexpected in the file", unexpected)
            + _section("of another shape", misshapen)
            + f"\n{advice}"
        )
    module.load_state_dict({name: weights[name] for name in own if name in weights}, strict=False)
    partial = [other.name for other in others if 2 * other.matching > view.matching]
    return (*_other_sets(view.name, partial), *_warnings(module, unexpected))


def check_finite(module: nn.Module, path: Path) -> None:
    """Check that all weights are finite; buffers such as attention masks may contain infinity.

    Raises:
        CheckpointError: A weight or a running statistic is NaN or infinite; the message names it.
    """
    parameters = {name for name, _ in module.named_parameters()}
    for name, value in module.state_dict().items():
        if not value.is_floating_point():
            continue
        strict = name in parameters or name.endswith(RUNNING)
        bad = ~torch.isfinite(value) if strict else torch.isnan(value)
        if count := int(bad.sum()):
            raise CheckpointError(
                f"{path}: NaN or infinity in the weight {name}, {count:,} of {value.numel():,} "
                "values: training diverged; give a checkpoint from before that"
            )


@dataclass(frozen=True)
class _View:
    """A set of weights under one prefix.

    Attributes:
        place: The set's place in the file.
        prefix: What stands before the network's names; it ends with a dot, or is empty.
        tensors: The whole set, by the names in the file.
        matching: How many of the network's names are in it.
    """

    place: str
    prefix: str
    tensors: Mapping[str, Tensor]
    matching: int

    @property
    def name(self) -> str:
        """Its key for ``--weights-key``."""
        words = (self.place, self.prefix.rstrip("."))
        return ".".join(word for word in words if word not in {TOP, ""}) or TOP

    def weights(self) -> dict[str, Tensor]:
        """The set, without the prefix where it is; of two equal names the one that had it."""
        length = len(self.prefix)
        has = {name: name.startswith(self.prefix) for name in self.tensors}
        others = {name: tensor for name, tensor in self.tensors.items() if not has[name]}
        return others | {n[length:]: tensor for n, tensor in self.tensors.items() if has[n]}


def _search(
    content: object, keys: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """Every mapping with tensors that have an extent, and the keys that lead to it."""
    if not isinstance(content, Mapping) or len(keys) > MAX_DEPTH:
        return
    # an optimizer numbers its tensors
    named = {key: value for key, value in content.items() if isinstance(key, str)}
    tensors = {key: value for key, value in named.items() if isinstance(value, Tensor)}
    if any(tensor.ndim for tensor in tensors.values()):
        yield keys, tensors
    for key, value in named.items():
        if not key.startswith(TRAINING_STATE):
            yield from _search(value, (*keys, key))


def _views(sets: WeightSets, own: Mapping[str, Tensor]) -> list[_View]:
    """Every set under every prefix with which it has names of the network."""
    views = []
    for place, tensors in sets.items():
        counts = Counter(
            name[:at]
            for name in tensors
            for at in _word_starts(name)
            if name[at:] in own and not name.endswith(COUNTER)
        )
        for prefix, count in (counts or {"": 0}).items():
            views.append(_View(place, prefix, tensors, count))
    return views


def _below(views: list[_View], key: str, path: Path) -> list[_View]:
    """The views that a key names: one of that name, else those of its place or below it."""
    tests: tuple[Callable[[_View], bool], ...] = (
        lambda view: view.name == key and view.matching > 0,
        lambda view: view.place == key or f"{view.name}.".startswith(f"{key}."),
    )
    for test in tests:
        if named := [view for view in views if test(view)]:
            return named
    names = ", ".join(dict.fromkeys(view.name for view in views[:SHOWN]))
    raise UsageError(f"--weights-key {key}: {path} has no such set of weights; it has {names}")


def _word_starts(name: str) -> Iterator[int]:
    yield 0
    yield from (at + 1 for at, letter in enumerate(name) if letter == ".")


def _without_wrappers(name: str) -> str:
    words = [word for word in name.split(".") if word not in WRAPPERS]
    return ".".join(words[1:] if words[:1] == [OUTER_WRAPPER] else words)


def _other_sets(taken: str, names: list[str]) -> tuple[str, ...]:
    """A warning about sets that have most of the network's names, such as averaged parameters."""
    if not names:
        return ()
    return (
        f"the weights are those of {taken} in the file; {_list(names)} has weights of this network "
        "too, but not all",
    )


def _warnings(module: nn.Module, unexpected: list[str]) -> tuple[str, ...]:
    """One warning on other tensors, and one on those that parts of the network should have."""
    parts = {name for name, _ in module.named_children()}
    inside = [name for name in unexpected if name.partition(".")[0] in parts]
    beside = [name for name in unexpected if name not in inside]
    warnings = []
    if inside:
        warnings.append(
            f"the file has {_list(inside)}, for which {type(module).__name__} has no place: if the "
            "network that was trained is larger than the one --arch builds, all results are wrong"
        )
    if beside:
        warnings.append(f"not part of the network and left out: {_list(beside)}")
    return tuple(warnings)


def _list(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _shape(value: Tensor) -> str:
    return "x".join(str(size) for size in value.shape) or "a single value"


def _section(title: str, lines: list[str]) -> str:
    if not lines:
        return ""
    shown = "".join(f"\n  {line}" for line in lines[:SHOWN])
    more = f"\n  … and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return f"\n{len(lines)} {title}:{shown}{more}"
