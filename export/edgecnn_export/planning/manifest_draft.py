"""The manifest of a bundle in the making: everything but what verification measures."""

import datetime
import json
import platform
import shlex
from importlib import metadata
from typing import Any

import msgspec

from edgecnn_export.config import ExportConfig
from edgecnn_export.loading.loaded import LoadedModel
from edgecnn_export.planning.resolve import Plan
from edgecnn_runtime.bundle.manifest import (
    SCHEMA_VERSION,
    Artifact,
    Golden,
    Manifest,
    Provenance,
)
from edgecnn_runtime.decode import make_decoder
from edgecnn_runtime.errors import BundleError, UsageError

PACKAGES = ("edgecnn", "torch", "onnx", "onnxscript", "onnxruntime", "openvino", "numpy",
            "opencv-python-headless")  # fmt: skip


NO_GOLDEN = Golden(file="golden.npz", sha256="0" * 64, bytes=0, count=1, pictures="synthetic")


def draft_manifest(
    plan: Plan, loaded: LoadedModel, artifact: Artifact, config: ExportConfig
) -> Manifest:
    """Put a manifest together; its golden data is still to come.

    config: as it was typed, for the command that makes the bundle again.
    Raises UsageError where these outputs cannot be decoded as planned.
    """
    manifest = Manifest(
        schema=SCHEMA_VERSION,
        name=plan.name,
        task=plan.task,
        input=plan.input,
        outputs=plan.outputs,
        decode=plan.decode,
        labels=plan.labels,
        batch=plan.batch,
        artifacts=(artifact,),
        golden=NO_GOLDEN,
        provenance=Provenance(
            source=loaded.path.name,
            source_sha256=loaded.sha256,
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            command=command_line(config),
            versions=_versions(),
        ),
    )
    try:
        make_decoder(manifest)
    except BundleError as error:
        raise UsageError(f"this head does not fit the model: {error}") from None
    return manifest


def command_line(config: ExportConfig) -> str:
    """The command that says what ``config`` says."""
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
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
