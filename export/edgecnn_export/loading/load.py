"""A trained model's file → a model in memory, without running code that came with the file.

A file that can run code (a pickle, an exported program, TorchScript) is scanned first and refused
unless it contains only tensors and plain data, or --trust-pickle is set.
"""

import contextlib
import dataclasses
import pickle
import shlex
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn
from torch.export import ExportedProgram

from edgecnn_export.checkpoint import is_checkpoint, parse_checkpoint
from edgecnn_export.config import ExportConfig
from edgecnn_export.exporter_metadata import read_json_metadata, read_metadata
from edgecnn_export.loading.arch_name import module_arch
from edgecnn_export.loading.architecture import (
    build_architecture,
    is_builtin,
    timm_spec,
)
from edgecnn_export.loading.archive import check_size, read_archive, write_archive
from edgecnn_export.loading.file_format import Kind
from edgecnn_export.loading.image_input import check_arguments
from edgecnn_export.loading.load_onnx import SIZE_LIMIT, read_onnx
from edgecnn_export.loading.loaded import LoadedModel, declared_size
from edgecnn_export.loading.model_file import check_model_file
from edgecnn_export.loading.onnx_input import with_image_input
from edgecnn_export.loading.pickle_scan import (
    SuspectError,
    check_torchscript,
    imports_of,
    unsafe_imports,
)
from edgecnn_export.loading.program import ProgramModule, check_program_input
from edgecnn_export.loading.quantized import check_archive, check_pickle
from edgecnn_export.loading.scan_pt2 import clean_pt2
from edgecnn_export.loading.third_party import framework_of
from edgecnn_export.loading.weights import TOP, check_finite, find_weight_sets, load_into
from edgecnn_runtime.bundle.bundle import sha256_file
from edgecnn_runtime.errors import (
    CheckpointError,
    UnsupportedModelError,
    UntrustedError,
    UsageError,
)

NORMALIZATION = {"mean", "std", "preset"}
GRAPH_BYTES = 16 << 20
"""Room for everything in an ONNX file that is not a weight."""


def load_model(config: ExportConfig) -> LoadedModel:
    """Load ``config.model``, of any kind; its name does not matter.

    Args:
        config: ``model``, ``arch``, ``arch_args``, ``weights_key`` and ``trust_pickle`` are used.

    Raises:
        UsageError: The file or its architecture is missing.
        CheckpointError: The file is damaged, or does not fit its architecture.
        UntrustedError: The file could run code.
        UnsupportedModelError: The file belongs to another framework, the model reads something else
            than one image, or its weights do not fit into an ONNX file.
    """
    return LOADERS[check_model_file(config)](Path(config.model), config)


def _load_weights(path: Path, config: ExportConfig) -> LoadedModel:
    content = _unpickle(path, trust=config.trust_pickle)
    if is_checkpoint(content):
        return _load_checkpoint(path, config, content)
    if (module := _module_in(content, path, config.weights_key)) is not None:
        if config.arch:
            raise UsageError(f"{path} holds a whole network: leave --arch out")
        return _loaded(path, "weights", _at_rest(module, path))
    return _load_state_dict(path, config, "weights", content)


def _load_safetensors(path: Path, config: ExportConfig) -> LoadedModel:
    try:
        content = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(f"{path} is damaged: {error}; copy or download it again") from None
    return _load_state_dict(path, config, "safetensors", content)


def _load_checkpoint(path: Path, config: ExportConfig, content: Mapping[str, Any]) -> LoadedModel:
    checkpoint = parse_checkpoint(content, path)
    arch = config.arch or checkpoint.arch
    if not config.arch and not is_builtin(arch):
        raise UntrustedError(
            f"{path} asks to be built by {arch}, code outside edgecnn: if you know it, repeat it: "
            f"edgecnn export {path} --arch {arch}"
        )
    same = module_arch(arch) == checkpoint.arch
    module = build_architecture(arch, config.arch_args or (checkpoint.arch_args if same else {}))
    warnings = load_into(module, {TOP: checkpoint.state_dict}, path, config.weights_key)
    spec, origin = checkpoint.spec, "checkpoint" if NORMALIZATION & checkpoint.spec.keys() else None
    if origin is None and (declared := timm_spec(module)):
        spec, origin = declared | spec, "timm"
    rest = {"spec": spec, "origin": origin, "samples": checkpoint.samples, "warnings": warnings}
    return _loaded(path, "weights", _at_rest(module, path), **rest)


def _load_state_dict(path: Path, config: ExportConfig, kind: Kind, content: object) -> LoadedModel:
    sets = find_weight_sets(content, path)
    if not config.arch:
        state = max(sets.values(), key=len)
        raise UsageError(
            f"{path} holds weights only ({len(state)} tensors, the first is {next(iter(state))}): "
            "name the network they belong to with --arch package.module:factory or "
            "--arch file.py:factory, e.g. --arch timm.models:resnet18"
        )
    module = build_architecture(config.arch, config.arch_args)
    warnings = load_into(module, sets, path, config.weights_key)
    spec = timm_spec(module)
    rest = {"spec": spec, "origin": "timm" if spec else None, "warnings": warnings}
    return _loaded(path, kind, _at_rest(module, path), **rest)


def _load_torchscript(path: Path, config: ExportConfig) -> LoadedModel:
    members = read_archive(path)
    check_archive(members, path)
    with _typed_errors(path):
        if not config.trust_pickle:
            check_torchscript(members)
        module: nn.Module = torch.jit.load(write_archive(members), map_location="cpu")  # type: ignore[no-untyped-call] # torch does not say what it takes
    check_arguments(module, path)
    with _typed_errors(path):
        training = _scripted_training(module)
    _refuse_training(path, training, "torch.jit.trace")
    metadata = read_json_metadata(members.get("extra/config.txt", b""))
    module = _at_rest(module, path)
    return _loaded(path, "torchscript", module, metadata=metadata, spec=metadata.spec)


def _load_pt2(path: Path, config: ExportConfig) -> LoadedModel:
    members = read_archive(path)
    check_archive(members, path)
    with _typed_errors(path):
        if not config.trust_pickle:
            members = clean_pt2(members)
        program: ExportedProgram = torch.export.load(write_archive(members))
        module = program.module().requires_grad_(False)
    _refuse_training(path, _exported_training(program), "torch.export.export")
    check_program_input(program, path)
    _refuse_half(path, module)
    _refuse_large(module, path)
    check_finite(module, path)
    loaded = _loaded(path, "pt2", ProgramModule(program, module), program=program)
    return dataclasses.replace(loaded, spec=declared_size(loaded))


def _load_onnx(path: Path, config: ExportConfig) -> LoadedModel:
    original = read_onnx(path)
    metadata = read_metadata({entry.key: entry.value for entry in original.metadata_props})
    model = with_image_input(original, path, config.input)
    loaded = LoadedModel(
        path=path, sha256=sha256_file(path), kind="onnx", onnx=model, metadata=metadata
    )
    return dataclasses.replace(loaded, spec={**metadata.spec, **declared_size(loaded)})


LOADERS: Mapping[Kind, Callable[[Path, ExportConfig], LoadedModel]] = {
    "weights": _load_weights,
    "safetensors": _load_safetensors,
    "torchscript": _load_torchscript,
    "pt2": _load_pt2,
    "onnx": _load_onnx,
}


def _loaded(path: Path, kind: Kind, module: nn.Module, **rest: Any) -> LoadedModel:
    return LoadedModel(path=path, sha256=sha256_file(path), kind=kind, module=module, **rest)


def _at_rest(module: nn.Module, path: Path) -> nn.Module:
    check_arguments(module, path)
    _refuse_large(module, path)
    check_finite(module, path)
    module = module.float().cpu().eval()
    for parameter in module.parameters():  # a TorchScript module has no requires_grad_
        parameter.requires_grad_(False)
    return module


def _unpickle(path: Path, *, trust: bool) -> object:
    """What torch.save wrote; only ``trust`` reads a file that could run code."""
    if zipfile.is_zipfile(path):
        check_size(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about how older files store tensors
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        imports = imports_of(path.read_bytes())
        unsafe = unsafe_imports(imports)
        if not unsafe:
            raise _damaged(path, error) from None
    except Exception as error:
        raise _damaged(path, error) from None
    if message := framework_of(imports, path):
        raise UnsupportedModelError(message)
    check_pickle(imports, path)
    if not trust:
        raise _untrusted(path, f"it imports {', '.join(unsafe[:4])}")
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except (ImportError, AttributeError) as error:
        raise CheckpointError(
            f"{path} needs code that is not here: {error}. Make it importable (pip install it, or "
            "PYTHONPATH=folder edgecnn export …), or save the state dict and use --arch"
        ) from error
    except Exception as error:
        raise _damaged(path, error) from error


def _module_in(content: object, path: Path, name: str) -> nn.Module | None:
    """A pickled network: the object itself, the one of that name in a dict, or its only one."""
    values = content if isinstance(content, Mapping) else {"": content}
    modules = {str(key): value for key, value in values.items() if isinstance(value, nn.Module)}
    if name:
        return modules.get(name)
    if len(modules) > 1:
        names = " or ".join(f"--weights-key {shlex.quote(key)}" for key in modules)
        raise CheckpointError(f"{path} holds several networks: name the one to take with {names}")
    return next(iter(modules.values()), None)


def _exported_training(program: ExportedProgram) -> list[str]:
    return [
        str(node.target)
        for operator, position in TRAINING_ARGUMENT.items()
        for node in program.graph.nodes
        if str(node.target) == f"{operator}.default" and node.args[position:][:1] == (True,)
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
"""Which argument of these operators is True when the network was in training mode."""


def _refuse_training(path: Path, operators: list[str], maker: str) -> None:
    if operators:
        raise UnsupportedModelError(
            f"{path} was made in training mode ({len(operators)} x {operators[0]}): its results "
            f"change from run to run. Call model.eval() before {maker}, and make it again"
        )


def _refuse_large(module: nn.Module, path: Path) -> None:
    """An ONNX file, one protobuf message, ends at 2 GB; in it, the weights are float32."""
    tensors = [*module.parameters(), *module.buffers()]
    size = sum(t.numel() * (4 if t.is_floating_point() else t.element_size()) for t in tensors)
    if size + GRAPH_BYTES > SIZE_LIMIT:
        raise UnsupportedModelError(
            f"{path}: the weights are {size / 1e9:.1f} GB in float32, and an ONNX file ends at "
            "2 GB: export a smaller variant of the network"
        )


def _refuse_half(path: Path, module: nn.Module) -> None:
    """An exported program has its dtypes in the graph, so its weights cannot be converted."""
    for name, value in module.state_dict().items():
        if value.is_floating_point() and value.dtype != torch.float32:
            raise UnsupportedModelError(
                f"{path} was exported in {str(value.dtype).removeprefix('torch.')} ({name}): call "
                "model.float() before torch.export.export, and make it again"
            )


@contextlib.contextmanager
def _typed_errors(path: Path) -> Iterator[None]:
    """What a scan refuses is untrusted; whatever else fails in a loader means damage."""
    try:
        yield
    except SuspectError as error:
        raise _untrusted(path, str(error)) from None
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
