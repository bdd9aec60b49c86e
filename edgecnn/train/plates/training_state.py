"""What both trainings of plate models share: a device, and a state that they go on from."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from edgecnn_runtime.bundle.atomic import atomic_file
from edgecnn_runtime.errors import CheckpointError, UsageError


def choose_device(name: str) -> torch.device:
    """A device by its flag: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        UsageError: There is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("torch finds no CUDA device here: --device cpu")
    return torch.device(name)


def prefers_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is faster there; on a CPU without matrix units it is slower."""
    return device.type == "cuda" or torch.cpu._is_amx_tile_supported()


def save_state(
    path: Path, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, step: int
) -> None:
    """Write what a training goes on from.

    Args:
        path: The file, replaced at once.
        network: What learns.
        average: The mean of its weights.
        optimizer: Of the network.
        step: How many steps are done.
    """
    state = {
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
    }
    with atomic_file(path) as scratch:
        torch.save(state, scratch)


def restore_state(
    path: Path,
    network: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
) -> int:
    """Read what ``save_state`` wrote.

    Args:
        path: The file.
        network: Takes its weights.
        average: Takes its weights.
        optimizer: Takes its state.
        device: Where all of them are.

    Returns:
        How many steps are done.

    Raises:
        CheckpointError: It is of another network, or damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location=device)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])
    except (RuntimeError, KeyError, ValueError, TypeError, EOFError, UnpicklingError) as error:
        raise CheckpointError(
            f"{path}: a training cannot go on from it: {error}. Remove it to begin anew, or choose "
            "another --out"
        ) from None
