"""A trained model's file → a model in memory, without running what came with the file.

What can run code (a pickle, an exported program, TorchScript) is scanned first and refused
unless it holds only tensors and plain data, or the person says --trust-pickle.
"""

import contextlib
import io
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn
from torch.export import ExportedProgram

from edgecnn_export.arch import build, is_own, timm_spec
from edgecnn_export.archive import read_archive, write_archive
from edgecnn_export.checkpoint import is_checkpoint, parse_checkpoint
from edgecnn_export.config import ExportConfig
from edgecnn_export.foreign import framework_of
from edgecnn_export.kinds import Kind, detect
from edgecnn_export.load_onnx import read_onnx
from edgecnn_export.loaded import Loaded, first_conv_channels, input_channels, input_shape
from edgecnn_export.scan import SuspectError, check_torchscript, imports_of
from edgecnn_export.scan_pt2 import clean_pt2
from edgecnn_export.weights import check_finite, find_state_dict, load_into
from edgecnn_runtime.bundle import sha256_file
from edgecnn_runtime.errors import (
    CheckpointError,
    UnsupportedModelError,
    UntrustedError,
    UsageError,
)

__all__ = ["Loaded", "first_conv_channels", "input_channels", "input_shape", "load_model"]


def load_model(config: ExportConfig) -> Loaded:
    """Load ``config.model``, whatever it is; its name does not matter.

    Uses ``arch``, ``arch_args`` and ``trust_pickle`` of the configuration. Raises UsageError
    for a missing file or architecture, CheckpointError for a file that is damaged or does not
    fit, UntrustedError for one that could run code, UnsupportedModelError for another
    framework's.
    """
    path = Path(config.model)
    kind = detect(path)
    if config.arch and kind not in {"weights", "safetensors"}:
        raise UsageError(f"{path} brings its own architecture: leave --arch out")
    return LOADERS[kind](path, config)


def _load_weights(path: Path, config: ExportConfig) -> Loaded:
    content = _unpickle(path, trust=config.trust_pickle)
    if is_checkpoint(content):
        return _load_checkpoint(path, config, content)
    if module := _module_in(content):
        return _loaded(path, "weights", _at_rest(module, path))
    return _load_state_dict(path, config, "weights", content)


def _load_safetensors(path: Path, config: ExportConfig) -> Loaded:
    try:
        content = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(f"{path} is damaged: {error}; copy or download it again") from None
    return _load_state_dict(path, config, "safetensors", content)


def _load_checkpoint(path: Path, config: ExportConfig, content: Mapping[str, Any]) -> Loaded:
    checkpoint = parse_checkpoint(content, path)
    arch = config.arch or checkpoint.arch
    if not config.arch and not is_own(arch):
        raise UntrustedError(
            f"{path} asks to be built by {arch}, code outside edgecnn: if you know it, repeat it: "
            f"edgecnn export {path} --arch {arch}"
        )
    same = arch == checkpoint.arch
    module = build(arch, config.arch_args or (checkpoint.arch_args if same else {}))
    load_into(module, checkpoint.state_dict, path)
    spec = timm_spec(module) | checkpoint.spec
    said = {"mean", "std", "preset"} & checkpoint.spec.keys()
    return _loaded(
        path,
        "weights",
        _at_rest(module, path),
        spec=spec,
        origin="checkpoint" if said else "timm" if "mean" in spec else None,
        samples=checkpoint.samples,
    )


def _load_state_dict(path: Path, config: ExportConfig, kind: Kind, content: object) -> Loaded:
    state = find_state_dict(content, path)
    if not config.arch:
        raise UsageError(
            f"{path} holds weights only ({len(state)} tensors, the first is {next(iter(state))}): "
            "say which network they belong to with --arch package.module:factory, "
            "e.g. --arch timm.models:resnet18"
        )
    module = build(config.arch, config.arch_args)
    load_into(module, state, path)
    spec = timm_spec(module)
    return _loaded(path, kind, _at_rest(module, path), spec=spec, origin="timm" if spec else None)


def _load_torchscript(path: Path, config: ExportConfig) -> Loaded:
    members = read_archive(path)
    if not config.trust_pickle:
        with _refusal(path):
            check_torchscript(members)
    with _damage(path):
        module: nn.Module = torch.jit.load(write_archive(members), map_location="cpu")  # type: ignore[no-untyped-call]
    _refuse_training(path, _scripted_training(module), "torch.jit.trace")
    return _loaded(path, "torchscript", _at_rest(module, path))


def _load_pt2(path: Path, config: ExportConfig) -> Loaded:
    members = read_archive(path)
    if not config.trust_pickle:
        with _refusal(path):
            members = clean_pt2(members)
    with _damage(path):
        program: ExportedProgram = torch.export.load(write_archive(members))
        module = program.module()
    _refuse_training(path, _exported_training(program), "torch.export.export")
    check_finite(module, path)
    return _loaded(path, "pt2", module.requires_grad_(False), program=program)


def _load_onnx(path: Path, _: ExportConfig) -> Loaded:
    return Loaded(path=path, sha256=sha256_file(path), kind="onnx", onnx=read_onnx(path))


LOADERS: Mapping[Kind, Callable[[Path, ExportConfig], Loaded]] = {
    "weights": _load_weights,
    "safetensors": _load_safetensors,
    "torchscript": _load_torchscript,
    "pt2": _load_pt2,
    "onnx": _load_onnx,
}


def _loaded(path: Path, kind: Kind, module: nn.Module, **rest: Any) -> Loaded:
    return Loaded(path=path, sha256=sha256_file(path), kind=kind, module=module, **rest)


def _at_rest(module: nn.Module, path: Path) -> nn.Module:
    check_finite(module, path)
    return module.float().cpu().eval().requires_grad_(False)


def _unpickle(path: Path, *, trust: bool) -> object:
    """What torch.save wrote. Only with ``trust`` is anything read that could run code."""
    content = path.read_bytes()
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        imports = imports_of(content)
    except Exception as error:
        raise _damaged(path, error) from None
    if message := framework_of(imports, path):
        raise UnsupportedModelError(message)
    if not trust:
        raise _untrusted(path, f"it imports {', '.join(imports[:4]) or 'what cannot be read'}")
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=False)
    except (ImportError, AttributeError) as error:
        raise CheckpointError(
            f"{path} needs code that is not here: {error}. Make it importable (pip install it, or "
            "PYTHONPATH=folder edgecnn export …), or save the state dict and use --arch"
        ) from error
    except Exception as error:
        raise _damaged(path, error) from error


def _module_in(content: object) -> nn.Module | None:
    """A pickled network: the object itself, or the only one in a dict of training state."""
    values = content.values() if isinstance(content, Mapping) else [content]
    modules = [value for value in values if isinstance(value, nn.Module)]
    return modules[0] if len(modules) == 1 else None


def _exported_training(program: ExportedProgram) -> list[str]:
    return [
        str(node.target)
        for node in program.graph.nodes
        for position in [TRAINING_ARGUMENT.get(str(node.target).removesuffix(".default"))]
        if position is not None and len(node.args) > position and node.args[position] is True
    ]


def _scripted_training(module: Any) -> list[str]:
    graph = module.inlined_graph
    return [
        operator
        for operator, position in TRAINING_ARGUMENT.items()
        for node in graph.findAllNodes(operator.replace(".", "::"))
        if node.inputsAt(position).toIValue() is True
    ]


TRAINING_ARGUMENT = {"aten.batch_norm": 5, "aten.dropout": 2}
"""Which argument of these operators says that the network was in training mode."""


def _refuse_training(path: Path, operators: list[str], maker: str) -> None:
    if operators:
        raise UnsupportedModelError(
            f"{path} was made in training mode ({len(operators)} x {operators[0]}): its results "
            f"change from run to run. Call model.eval() before {maker}, and make it again"
        )


@contextlib.contextmanager
def _refusal(path: Path) -> Iterator[None]:
    try:
        yield
    except SuspectError as error:
        raise _untrusted(path, str(error)) from None


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _damaged(path, error) from error


def _untrusted(path: Path, reason: str) -> UntrustedError:
    return UntrustedError(
        f"{path} could run code that came with it: {reason}. Take its weights alone: "
        "torch.save(model.state_dict(), 'weights.pt') where it was trained, then "
        "edgecnn export weights.pt --arch package.module:factory. Only if you made this file "
        "yourself: add --trust-pickle"
    )


def _damaged(path: Path, error: Exception) -> CheckpointError:
    first = str(error).strip().splitlines()
    return CheckpointError(
        f"{path} is damaged or not what it seems ({first[0] if first else type(error).__name__}): "
        "copy or download it again"
    )
