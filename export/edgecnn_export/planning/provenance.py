"""Where a bundle came from: its source, the command that makes it again, the versions."""

import contextlib
import datetime
import json
import platform
import shlex
from importlib import metadata
from typing import Any

import msgspec

from edgecnn_export.config import ExportConfig
from edgecnn_export.loading.loaded import LoadedModel
from edgecnn_runtime.backends import distributions
from edgecnn_runtime.bundle.manifest import Provenance

PACKAGES = ("edgecnn", "torch", "onnx", "onnxscript", "numpy", "opencv-python-headless")


def provenance(loaded: LoadedModel, config: ExportConfig) -> Provenance:
    """Where a bundle comes from.

    Args:
        loaded: The model file.
        config: As it was typed, for the command that makes the bundle again.
    """
    return Provenance(
        source=loaded.path.name,
        source_sha256=loaded.sha256,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        command=command_line(config),
        versions=_versions(),
    )


def command_line(config: ExportConfig) -> str:
    """The shell command that is equal to ``config``."""
    words = ["edgecnn", "export", *([config.model] if config.model else [])]
    for field in msgspec.structs.fields(config):
        value, default = getattr(config, field.name), getattr(ExportConfig(), field.name)
        if field.name != "model" and value != default:
            flag = "--" + field.name.replace("_", "-")
            words += [flag] if value is True else [flag, _text(value)]
    return shlex.join(words)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _versions() -> dict[str, str]:
    versions = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    for package in (*PACKAGES, *distributions()):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions
