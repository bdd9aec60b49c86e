"""The project's own checkpoint: weights, how to build the network, and how to feed it.

``edgecnn export model.pt`` needs no flag with it. It is a plain dict written by torch.save, and
``torch.load(path, weights_only=True)`` reads it: nothing in it can run.

    format       "edgecnn.checkpoint"
    version      1
    arch         "package.module:factory"
    arch_args    the factory's keyword arguments: numbers, strings, booleans, lists of them
    spec         keys of ExportConfig: input, task, mean, std, color, resize, labels, …
    state_dict   the weights
    samples      uint8[N,h,w,3] BGR pictures for verification and golden data, or None
"""

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgecnn_export.config import ARCH, ExportConfig
from edgecnn_runtime.bundle.atomic import atomic_file
from edgecnn_runtime.errors import CheckpointError, EdgecnnError, UsageError

FORMAT = "edgecnn.checkpoint"
VERSION = 1
SPEC_KEYS = {
    "name", "input", "task", "head", "mean", "std", "preset", "color", "resize", "interpolation",
    "crop_pct", "pad", "pad_position", "labels", "score", "iou", "decode", "batch",
}  # fmt: skip
"""The settings a checkpoint may contain: none that names a file or a folder of this machine."""
SAMPLES_LIMIT = 64
SAMPLES_BYTES_LIMIT = 64 << 20


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's content, validated.

    Attributes:
        arch: ``package.module:factory``.
        arch_args: The factory's keyword arguments.
        spec: The ExportConfig keys it sets, and no others.
        state_dict: The weights.
        samples: uint8[N,h,w,3] BGR images; None without any.
    """

    arch: str
    arch_args: dict[str, Any]
    spec: dict[str, Any]
    state_dict: dict[str, Tensor]
    samples: NDArray[np.uint8] | None


def save_checkpoint(
    path: str | Path,
    model: nn.Module | Mapping[str, Tensor],
    *,
    arch: str,
    arch_args: Mapping[str, Any] | None = None,
    spec: Mapping[str, Any] | None = None,
    samples: NDArray[np.uint8] | None = None,
) -> None:
    """Write a checkpoint that ``edgecnn export`` takes without a flag.

    The file is written beside ``path`` and renamed, so that it is complete or absent.

    Args:
        path: The file to write.
        model: The network or its state dict.
        arch: ``package.module:factory``; calling that factory with ``arch_args`` gives the network
            again.
        arch_args: The factory's keyword arguments.
        spec: ExportConfig keys, such as ``{"input": "224x224", "task": "classify",
            "mean": (123.7, 116.3, 103.5), "labels": [...]}``.
        samples: uint8[N,h,w,3] BGR, at most 64 images of any one size; export verifies with them.

    Raises:
        UsageError: Export would refuse the arch, the spec or the samples.
        EdgecnnError: The file cannot be written.
    """
    state = model.state_dict() if isinstance(model, nn.Module) else model
    content = {
        "format": FORMAT,
        "version": VERSION,
        "arch": arch,
        "arch_args": dict(arch_args or {}),
        "spec": dict(spec or {}),
        "state_dict": {key: value.detach().cpu().clone() for key, value in state.items()},
        "samples": None if samples is None else torch.from_numpy(np.array(samples)),
    }
    if arch.startswith("__main__:"):
        raise UsageError(
            f"arch {arch!r} cannot be found again: put the network into a module of its own, "
            "such as my_models.py, and name it as my_models:factory"
        )
    try:
        content["spec"] = msgspec.to_builtins(parse_checkpoint(content, Path(path)).spec)
    except CheckpointError as error:
        raise UsageError(str(error)) from None
    file = io.BytesIO()
    torch.save(content, file)
    _write(Path(path), file.getbuffer())


def is_checkpoint(content: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether the content of a file is a checkpoint of this format."""
    return isinstance(content, Mapping) and content.get("format") == FORMAT


def parse_checkpoint(content: Mapping[str, Any], path: Path) -> Checkpoint:
    """Validate the content of a checkpoint.

    Args:
        content: What torch.load returned.
        path: The file, for messages.

    Raises:
        CheckpointError: A key is missing or invalid; the message names the file and the key.
    """
    version = content.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise CheckpointError(
            f"{path}: checkpoint version {version} is not one this edgecnn understands "
            f"({VERSION}): `pip install` the wheel of a newer edgecnn"
        )
    arch, arch_args = content.get("arch"), content.get("arch_args")
    if not isinstance(arch, str) or not ARCH.fullmatch(arch):
        raise CheckpointError(f"{path}: arch: {arch!r} is not written package.module:factory")
    if not _is_plain_dict(arch_args):
        raise CheckpointError(
            f"{path}: arch_args: only numbers, strings, booleans and lists of them, by name"
        )
    state = content.get("state_dict")
    if not isinstance(state, dict) or not state or not _all_tensors(state):
        raise CheckpointError(f"{path}: state_dict: not a dict of tensors")
    return Checkpoint(
        arch=arch,
        arch_args=arch_args,
        spec=_parse_spec(content.get("spec"), path),
        state_dict=state,
        samples=_parse_samples(content.get("samples"), path),
    )


def _parse_spec(spec: object, path: Path) -> dict[str, Any]:
    if not isinstance(spec, dict):
        raise CheckpointError(f"{path}: spec: not a dict")
    if others := [key for key in spec if key not in SPEC_KEYS]:
        allowed = ", ".join(sorted(SPEC_KEYS))
        raise CheckpointError(
            f"{path}: spec.{others[0]}: not a key that a checkpoint may set; it may set {allowed}"
        )
    if isinstance(spec.get("labels"), str):
        raise CheckpointError(f"{path}: spec.labels: give the class names themselves, in a list")
    try:
        config = msgspec.convert({"model": str(path), **spec}, ExportConfig)
    except msgspec.ValidationError as error:
        raise CheckpointError(f"{path}: spec: {error}") from None
    return {key: getattr(config, key) for key in spec}


def _parse_samples(samples: object, path: Path) -> NDArray[np.uint8] | None:
    if samples is None:
        return None
    pictures = isinstance(samples, Tensor) and samples.dtype == torch.uint8 and samples.numel() > 0
    if not isinstance(samples, Tensor) or not pictures or samples.shape[3:] != (3,):
        raise CheckpointError(f"{path}: samples: not uint8[N,h,w,3] BGR pictures")
    if len(samples) > SAMPLES_LIMIT or samples.numel() > SAMPLES_BYTES_LIMIT:
        raise CheckpointError(
            f"{path}: samples: {len(samples)} pictures of {samples.numel() >> 20} MiB; at most "
            f"{SAMPLES_LIMIT} of {SAMPLES_BYTES_LIMIT >> 20} MiB: give a few, e.g. samples[:16]"
        )
    return samples.contiguous().numpy()


def _is_plain_dict(value: object) -> TypeGuard[dict[str, Any]]:
    return (
        isinstance(value, dict)
        and all(isinstance(key, str) and key.isidentifier() for key in value)
        and all(_is_plain(item) for item in value.values())
    )


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    if isinstance(value, dict):
        return _is_plain_dict(value)
    return value is None or isinstance(value, bool | int | float | str)


def _all_tensors(state: dict[Any, Any]) -> bool:
    return all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())


def _write(path: Path, content: memoryview) -> None:
    try:
        with atomic_file(path) as scratch, scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise EdgecnnError(f"cannot write {path}: {error.strerror or error}") from None
