"""Transfer learning: weights to start from, and weights that are not trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from edgecnn_export.checkpoint import is_checkpoint, parse_checkpoint
from edgecnn_export.loading.file_format import detect_format
from edgecnn_export.loading.weights import find_state_dict
from edgecnn_runtime.errors import CheckpointError, UsageError


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


def load_pretrained(model: nn.Module, file: str, freeze: Sequence[str]) -> Pretrained:
    """Copy the weights that fit from a file, and freeze weights by prefix; in place.

    Args:
        model: The network.
        file: A checkpoint, state dict or ``.safetensors``; "" for none.
        freeze: Prefixes of the names of weights that are not trained.

    Raises:
        CheckpointError: No weight fits.
        UsageError: No weight begins with a prefix, or nothing is left to train.
    """
    own = model.state_dict()
    matching: tuple[str, ...] = ()
    if file:
        weights = _read_weights(Path(file))
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
        frozen += names
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    if len(set(frozen)) == len(list(model.parameters())):
        raise UsageError("--freeze names every weight: nothing is left to train")
    new = tuple(name for name in own if name not in matching) if file else ()
    return Pretrained(matching, new, tuple(dict.fromkeys(frozen)))


def _read_weights(path: Path) -> dict[str, Tensor]:
    kind = detect_format(path)
    if kind not in {"weights", "safetensors"}:
        raise UsageError(f"--init-from {path} is {kind}: give a checkpoint or a state dict")
    try:
        if kind == "safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # exceptions of the unpickler and the zip reader share no base class
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"--init-from {path} contains more than tensors: {reason}") from None
    if is_checkpoint(content):
        return parse_checkpoint(content, path).state_dict
    return find_state_dict(content, path)


def _list(weights: dict[str, Tensor]) -> str:
    return ", ".join(f"{name} {list(weight.shape)}" for name, weight in weights.items())
