"""State dicts: found in a file's content, loaded into their architecture, checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard

import torch
from torch import Tensor, nn

from edgecnn_runtime.errors import CheckpointError

SHOWN = 12
COUNTER = "num_batches_tracked"
RUNNING = ("running_mean", "running_var")


def find_state_dict(content: object, path: Path) -> dict[str, Tensor]:
    """The one state dict in a file's content: the content itself, or the only value that is one.

    Raises:
        CheckpointError: There is none, or more than one.
    """
    if _is_state_dict(content):
        return dict(content)
    values = content if isinstance(content, Mapping) else {}
    states = {str(key): value for key, value in values.items() if _is_state_dict(value)}
    if len(states) == 1:
        return dict(next(iter(states.values())))
    if states:
        key = next(iter(states))
        raise CheckpointError(
            f"{path} holds several sets of weights ({', '.join(states)}): save the one you mean, "
            f"e.g. python -c \"import torch; torch.save(torch.load('{path}')['{key}'], "
            "'weights.pt')\""
        )
    keys = ", ".join(str(key) for key in list(values)[:SHOWN])
    summary = f"its keys are {keys}" if keys else f"it is a {type(content).__name__}"
    raise CheckpointError(f"{path} holds no weights: {summary}")


def load_into(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Copy weights into a module, which keeps its own dtype.

    One prefix that every key has and the module has not (``module.`` of DataParallel,
    ``_orig_mod.`` of torch.compile, ``model.`` of Lightning) is removed.

    Args:
        module: Where the weights go.
        state: The weights by name.
        path: The file, for messages.

    Raises:
        CheckpointError: Keys are missing, unexpected or of another shape; the message lists them.
    """
    own = module.state_dict()
    weights = _without_wrapper(state, own)
    missing = [key for key in own if key not in weights and not key.endswith(COUNTER)]
    unexpected = [key for key in weights if key not in own]
    misshapen = [
        f"{key}: {_shape(weights[key])} in the file, {_shape(own[key])} in the architecture"
        for key in own
        if key in weights and weights[key].shape != own[key].shape
    ]
    if missing or unexpected or misshapen:
        raise CheckpointError(
            f"{path} does not fit its architecture {type(module).__name__}"
            + _section("missing from the file", missing)
            + _section("unexpected in the file", unexpected)
            + _section("of another shape", misshapen)
            + "\nCheck --arch and --arch-args (the number of classes, the width)"
        )
    module.load_state_dict(weights, strict=False)


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


def _is_state_dict(value: object) -> TypeGuard[Mapping[str, Tensor]]:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(key, str) for key in value)
        and all(isinstance(tensor, Tensor) for tensor in value.values())
    )


def _without_wrapper(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    inner = state
    while not inner.keys() & own.keys():
        heads = {key.partition(".")[0] for key in inner}
        if len(heads) != 1 or any("." not in key for key in inner):
            return state
        inner = {key.partition(".")[2]: value for key, value in inner.items()}
    return inner


def _shape(value: Tensor) -> str:
    return "x".join(str(size) for size in value.shape) or "a single value"


def _section(title: str, lines: list[str]) -> str:
    if not lines:
        return ""
    shown = "".join(f"\n  {line}" for line in lines[:SHOWN])
    more = f"\n  … and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return f"\n{len(lines)} {title}:{shown}{more}"
