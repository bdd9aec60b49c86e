"""One export's settings, merged: flags over the YAML file over what the model file declares."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from edgecnn_export.config import ExportConfig
from edgecnn_runtime.config import from_plain, load_yaml
from edgecnn_runtime.errors import CheckpointError, ConfigError, UsageError

Origin = Literal["checkpoint", "preset", "flag", "spec", "timm", "graph", "assumed"]

PATHS = ("model", "out", "images", "calib", "eval_data", "work_dir")
NOT_FROM_A_CHECKPOINT = {
    "model", "spec", "out", "overwrite", "images", "trust_pickle", "arch", "arch_args",
    "weights_key", "backends", "int8", "calib", "eval_data", "targets", "max_drop", "method",
    "work_dir",
}  # fmt: skip
"""Keys a model file may not set: they concern files of this machine, or how far it is trusted."""
NORMALIZATION = ("mean", "std", "preset")


@dataclass(frozen=True)
class ExportSettings:
    """One export's settings after merging.

    Attributes:
        config: The merged settings.
        normalization: Where mean and std come from.
    """

    config: ExportConfig
    normalization: Origin = "assumed"


def read_settings(flags: ExportConfig) -> ExportSettings:
    """Merge flags over the YAML file that ``flags.spec`` names.

    Args:
        flags: As they were typed.

    Raises:
        ConfigError: The YAML file is wrong; the message names file, line and key.
        UsageError: No model is named, or two flags contradict each other.
    """
    if not flags.spec:
        return _with_model(_merge(flags, "flag", over=ExportSettings(ExportConfig())))
    spec = load_yaml(flags.spec, ExportConfig)
    if spec.spec:
        raise ConfigError(f"{flags.spec}: spec: a spec file cannot name another one")
    folder = Path(flags.spec).parent
    paths = {name: str(folder / getattr(spec, name)) for name in PATHS if getattr(spec, name)}
    if ".py:" in spec.arch:
        paths["arch"] = str(folder / spec.arch)
    if isinstance(spec.labels, str):
        paths["labels"] = str(folder / spec.labels)
    spec = msgspec.structs.replace(spec, **paths)
    defaults = _merge(spec, "spec", over=ExportSettings(ExportConfig()))
    return _with_model(_merge(flags, "flag", over=defaults))


def with_checkpoint_defaults(
    settings: ExportSettings, spec: Mapping[str, Any], origin: Origin
) -> ExportSettings:
    """Merge settings over what the model file declares.

    Args:
        settings: The user's.
        spec: ExportConfig keys and values from the model file.
        origin: Where mean and std of ``spec`` come from.

    Raises:
        CheckpointError: The file sets a key that no file may set, or an invalid value.
    """
    where = f"{settings.config.model}: its spec"
    plain = {key: value for key, value in spec.items() if value is not None}
    if refused := sorted(NOT_FROM_A_CHECKPOINT & plain.keys()):
        raise CheckpointError(f"{where}: {refused[0]} cannot be set by the file itself")
    if isinstance(plain.get("labels"), str):
        raise CheckpointError(f"{where}: labels must be a list of names, not a path")
    for key, value in plain.items():
        if not _is_utf8(value):
            raise CheckpointError(
                f"{where}: {key} holds half of a character (a lone surrogate), which no text can "
                f"have: give {key} yourself, or write the file again with whole names"
            )
    try:
        config: ExportConfig = from_plain(plain, ExportConfig, where)
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    defaults = _merge(config, origin, over=ExportSettings(ExportConfig()))
    return _merge(settings.config, settings.normalization, over=defaults)


def _with_model(settings: ExportSettings) -> ExportSettings:
    if not settings.config.model:
        raise UsageError("which model? edgecnn export model.pt (--help has examples)")
    for value in msgspec.structs.asdict(settings.config).values():
        if not _is_utf8(value):
            raise UsageError(
                f"{value}: this name is not UTF-8, and the bundle has to record it; rename it"
            )
    return settings


def _is_utf8(value: Any) -> bool:
    """Whether a setting, with all that is in it, can be written into the manifest."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True


def _merge(top: ExportConfig, origin: Origin, *, over: ExportSettings) -> ExportSettings:
    """Lay the keys that ``top`` sets over others; ``origin``: where those keys come from."""
    values, defaults = _set_keys(top), _set_keys(over.config)
    if "preset" in values and ("mean" in values or "std" in values):
        raise UsageError("--preset and --mean/--std both set the normalization: use one of them")
    if "preset" in values:
        defaults = {key: value for key, value in defaults.items() if key not in {"mean", "std"}}
    if "mean" in values or "std" in values:
        defaults.pop("preset", None)
    if values.get("head", defaults.get("head")) != defaults.get("head"):
        defaults.pop("decode", None)
    for key in ("decode", "arch_args"):
        if key in values and key in defaults:
            values[key] = {**defaults[key], **values[key]}
    if not any(key in values for key in NORMALIZATION):
        origin = over.normalization
    elif origin == "flag" and "preset" in values:
        origin = "preset"
    return ExportSettings(ExportConfig(**{**defaults, **values}), origin)


def _set_keys(config: ExportConfig) -> dict[str, Any]:
    """The keys that are not at their defaults."""
    default = ExportConfig()
    values = msgspec.structs.asdict(config)
    return {key: value for key, value in values.items() if value != getattr(default, key)}
