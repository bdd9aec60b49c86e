"""Who said what: flag > YAML > the checkpoint itself."""

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
NOT_FROM_A_CHECKPOINT = frozenset(
    {
        "model", "spec", "out", "overwrite", "images", "trust_pickle", "arch", "arch_args",
        "backends", "int8", "calib", "eval_data", "targets", "max_drop", "method", "work_dir",
    }
)  # fmt: skip
"""What a file may not decide about itself, about this disk, or about how far it is trusted."""
NORMALIZATION = ("mean", "std", "preset")


@dataclass(frozen=True)
class ExportSettings:
    """One export's settings after merging; ``normalization``: who said mean and std."""

    config: ExportConfig
    normalization: Origin = "assumed"


def read_settings(flags: ExportConfig) -> ExportSettings:
    """Flags over the YAML file they name. Raises ConfigError naming file, line and key."""
    if not flags.spec:
        return _with_model(_layer(flags, "flag", under=ExportSettings(ExportConfig())))
    said = load_yaml(flags.spec, ExportConfig)
    if said.spec:
        raise ConfigError(f"{flags.spec}: spec: a spec file cannot name another one")
    folder = Path(flags.spec).parent
    paths = {name: str(folder / getattr(said, name)) for name in PATHS if getattr(said, name)}
    if isinstance(said.labels, str):
        paths["labels"] = str(folder / said.labels)
    said = msgspec.structs.replace(said, **paths)
    below = _layer(said, "spec", under=ExportSettings(ExportConfig()))
    return _with_model(_layer(flags, "flag", under=below))


def with_checkpoint_defaults(
    settings: ExportSettings, spec: Mapping[str, Any], origin: Origin
) -> ExportSettings:
    """``settings`` over what the model file says of itself, with ExportConfig's keys.

    Raises CheckpointError where the file says what no file may decide, or nonsense.
    """
    where = f"{settings.config.model}: its spec"
    plain = {key: value for key, value in spec.items() if value is not None}
    if refused := sorted(NOT_FROM_A_CHECKPOINT & plain.keys()):
        raise CheckpointError(f"{where}: {refused[0]} cannot be set by the file itself")
    if isinstance(plain.get("labels"), str):
        raise CheckpointError(f"{where}: labels must be a list of names, not a path")
    try:
        said: ExportConfig = from_plain(plain, ExportConfig, where)
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    below = _layer(said, origin, under=ExportSettings(ExportConfig()))
    return _layer(settings.config, settings.normalization, under=below)


def _with_model(settings: ExportSettings) -> ExportSettings:
    if not settings.config.model:
        raise UsageError("which model? edgecnn export model.pt (--help has examples)")
    for value in msgspec.structs.asdict(settings.config).values():
        try:
            str(value).encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"{value}: this name is no UTF-8, and the bundle has to tell it; rename it"
            ) from None
    return settings


def _layer(top: ExportConfig, origin: Origin, *, under: ExportSettings) -> ExportSettings:
    said, below = _said(top), _said(under.config)
    if "preset" in said and ("mean" in said or "std" in said):
        raise UsageError("--preset and --mean/--std say the same thing twice: keep one of them")
    if "preset" in said:
        below = {key: value for key, value in below.items() if key not in {"mean", "std"}}
    if "mean" in said or "std" in said:
        below.pop("preset", None)
    if said.get("head", below.get("head")) != below.get("head"):
        below.pop("decode", None)
    for key in ("decode", "arch_args"):
        if key in said and key in below:
            said[key] = {**below[key], **said[key]}
    spoke = any(key in said for key in NORMALIZATION)
    if origin == "flag" and "preset" in said:
        origin = "preset"
    return ExportSettings(
        ExportConfig(**{**below, **said}), origin if spoke else under.normalization
    )


def _said(config: ExportConfig) -> dict[str, Any]:
    default = ExportConfig()
    values = msgspec.structs.asdict(config)
    return {key: value for key, value in values.items() if value != getattr(default, key)}
