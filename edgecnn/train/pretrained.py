"""Transfer learning: weights to start from, and weights that are not trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from edgecnn_export.checkpoint import is_checkpoint, parse_checkpoint
from edgecnn_export.loading.file_format import detect_format
from edgecnn_export.loading.weights import TOP, WeightSets, choose_weights, find_weight_sets
from edgecnn_runtime.errors import CheckpointError, UsageError

SHOWN = 6


@dataclass(frozen=True, slots=True)
class Pretrained:
    """Where a network's first weights come from.

    Attributes:
        matching: Names of the weights that came from the file; empty without a file.
        new: Names of the others, which the file lacks or has in another shape; likewise.
        frozen: Names of the weights that are not trained.
    """

    matching: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()


def load_pretrained(
    model: nn.Module, file: str, freeze: Sequence[str], key: str = ""
) -> Pretrained:
    """Copy the weights that fit from a file, and freeze weights by prefix; in place.

    Args:
        model: The network.
        file: A checkpoint, state dict or ``.safetensors``; "" for none.
        freeze: Prefixes of the names of weights that are not trained.
        key: The set of weights to take where the file has several; "" for the only one.

    Raises:
        CheckpointError: No weight fits, or the file has several sets.
        UsageError: No weight begins with a prefix, one that does is not from the file, or nothing
            is left to train.
    """
    own = model.state_dict()
    matching: tuple[str, ...] = ()
    if file:
        weights = choose_weights(_read_weights(Path(file)), own, Path(file), key)
        fitting = {n: w for n, w in weights.items() if n in own and w.shape == own[n].shape}
        if not fitting:
            problem = f"it has {_list(weights)}; the network has {_list(own)}"
            raise CheckpointError(f"{file} has no weight that fits: {problem}")
        model.load_state_dict(fitting, strict=False)
        matching = tuple(fitting)
    frozen = []
    for prefix in freeze:
        names = [name for name, _ in model.named_parameters() if name.startswith(prefix)]
        if not names:
            known = ", ".join(own)
            raise UsageError(f"--freeze {prefix}: no weight begins with it; there are {known}")
        if random := [name for name in names if name not in matching]:
            raise UsageError(_unlearned(prefix, random, file))
        frozen += names
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    if len(set(frozen)) == len(list(model.parameters())):
        raise UsageError("--freeze names every weight: nothing is left to train")
    new = tuple(name for name in own if name not in matching) if file else ()
    return Pretrained(matching, new, tuple(dict.fromkeys(frozen)))


def _unlearned(prefix: str, names: Sequence[str], file: str) -> str:
    listed = ", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")
    remedy = (
        f"{file} has none of that name and shape: leave these out of --freeze"
        if file
        else "name the file they come from with --init-from"
    )
    return f"--freeze {prefix}: {listed} would stay at random values; {remedy}"


def _read_weights(path: Path) -> WeightSets:
    kind = detect_format(path)
    if kind not in {"weights", "safetensors"}:
        raise UsageError(f"--init-from {path} is {kind}: give a checkpoint or a state dict")
    try:
        if kind == "safetensors":
            from safetensors.torch import load_file

            return {TOP: load_file(path)}
        content = torch.load(path, map_location="cpu", weights_only=True)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # exceptions of the unpickler and the zip reader share no base class
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"--init-from {path} contains more than tensors: {reason}") from None
    if is_checkpoint(content):
        return {TOP: parse_checkpoint(content, path).state_dict}
    return find_weight_sets(content, path)


def _list(weights: dict[str, Tensor]) -> str:
    return ", ".join(f"{name} {list(weight.shape)}" for name, weight in weights.items())
