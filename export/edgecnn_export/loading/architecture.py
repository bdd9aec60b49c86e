"""``package.module:factory`` or ``file.py:factory`` → nn.Module, and what a timm model declares."""

import difflib
import importlib
import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgecnn_export.loading.arch_name import IN_FILE, check_arch
from edgecnn_export.loading.loaded import first_conv_channels
from edgecnn_export.loading.user_modules import running_user_code
from edgecnn_runtime.errors import UsageError

TIMM_RESIZE = {"center": "crop", "squash": "stretch", "border": "letterbox"}


def is_builtin(arch: str) -> bool:
    """Whether an architecture is one of edgecnn.models, which a checkpoint may name itself."""
    models = importlib.import_module("edgecnn.models")
    return arch in {*models.MODELS.values(), *models.PLATE_MODELS.values()}


def build_architecture(arch: str, arch_args: Mapping[str, Any]) -> nn.Module:
    """Import a factory and call it with keyword arguments. This runs the code that ``arch`` names.

    Args:
        arch: ``package.module:factory`` or ``path/file.py:factory``. The current folder is searched
            last, where ``python -m`` would search it first.
        arch_args: The factory's keyword arguments.

    Raises:
        UsageError: The factory cannot be imported or called, or returns something else.
    """
    check_arch(arch)
    name, _, attribute = arch.rpartition(":")
    factory = _attribute(_import(arch, name), arch, attribute)
    model = _call(factory, arch, arch_args)
    if not isinstance(model, nn.Module):
        raise UsageError(f"--arch {arch} gives a {type(model).__name__}, not a torch.nn.Module")
    return model


def _call(factory: Any, arch: str, arch_args: Mapping[str, Any]) -> Any:
    if isinstance(factory, nn.Module) and not arch_args:
        return factory
    if isinstance(factory, nn.Module) or not callable(factory):
        raise UsageError(
            f"--arch {arch} names a {type(factory).__name__}, which takes no arguments"
        )
    try:
        with running_user_code():
            return factory(**arch_args)
    except Exception as error:
        arguments = json.dumps(dict(arch_args)) if arch_args else "no arguments"
        raise UsageError(
            f"--arch {arch} called with {arguments} failed: {type(error).__name__}: {error}; "
            "give its keyword arguments with --arch-args '{\"name\": value}'"
        ) from error


def timm_spec(module: nn.Module) -> dict[str, Any]:
    """ExportConfig keys from a timm model's ``pretrained_cfg``.

    Empty for any other module, and for one built for another number of channels than its
    configuration is for. timm's mean and std are fractions of 1; here they are in 0..255 pixel
    units. Its bicubic and bilinear both become linear, the closest fast resize of uint8.
    """
    config = getattr(module, "pretrained_cfg", None)
    if not isinstance(config, dict) or len(config.get("mean") or ()) != 3:
        return {}
    if first_conv_channels(module) in {1, 2, 4}:
        return {}
    height, width = _timm_size(module, config)
    spec: dict[str, Any] = {
        "input": f"{width}x{height}",
        "mean": tuple(round(255.0 * value, 6) for value in config["mean"]),
        "std": tuple(round(255.0 * value, 6) for value in config["std"]),
        "color": "rgb",
        "resize": TIMM_RESIZE.get(config.get("crop_mode") or "center", "crop"),
        "interpolation": "linear",
        "crop_pct": float(config.get("crop_pct") or 0.875),
    }
    if isinstance(classes := getattr(module, "num_classes", None), int):
        spec["task"] = "classify" if classes > 0 else "embed"
    return spec


def _timm_size(module: nn.Module, config: Mapping[str, Any]) -> tuple[int, int]:
    """(height, width): those of a transformer's position embedding, else of the weights."""
    size = getattr(getattr(module, "patch_embed", None), "img_size", None)
    height, width = size or config["input_size"][-2:]
    return int(height), int(width)


def _import(arch: str, name: str) -> Any:
    try:
        if IN_FILE.fullmatch(arch):
            return _import_file(Path(name))
        with running_user_code():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        if error.name and error.name.partition(".")[0] == package:
            hint = (
                f"install it (pip install {package}), or type the command in the folder that "
                f"holds {package}.py"
            )
        else:
            hint = f"pip install {error.name}"
        raise UsageError(f"--arch {arch}: no module named {error.name}: {hint}") from None
    except Exception as error:
        raise UsageError(
            f"--arch {arch}: importing {name} failed: {type(error).__name__}: {error}"
            f"{_import_hint(str(error))}"
        ) from error


def _import_hint(message: str) -> str:
    """What helps against an error of an import; "" where that is not known."""
    if "torchvision::" in message:
        return (
            f"; this torchvision was built for another torch than {torch.__version__}: install "
            "the two together, from one index"
        )
    if "attempted relative import" in message:
        return (
            "; this file is part of a package: type the command in the folder above the package, "
            "and name the module, --arch package.module:factory"
        )
    return ""


def _import_file(path: Path) -> Any:
    """Run a file as a module of its own; its imports find its neighbors."""
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with running_user_code(path.resolve().parent):
        # dataclasses and pickles of the file look their module up by its name
        own = sys.modules.setdefault(path.stem, module) is module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            if own:
                del sys.modules[path.stem]
            raise
    return module


def _attribute(module: Any, arch: str, attribute: str) -> Any:
    value = module
    for name in attribute.split("."):
        if not hasattr(value, name):
            close = difflib.get_close_matches(name, dir(value), n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise UsageError(f"--arch {arch}: {module.__name__} has no {attribute}{hint}")
        value = getattr(value, name)
    return value
