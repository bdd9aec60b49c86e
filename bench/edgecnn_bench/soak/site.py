"""A site.yaml for the soak: the same cameras and pipelines, with clips for cameras."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from edgecnn_runtime.errors import UsageError

SINK = "soak"
"""The only sink: nobody outside is told of what a soak makes up."""
OF_REAL_CAMERAS = ("credentials", "detect_source", "transport", "paused", "loop")


def read_cameras(text: str) -> dict[str, dict[str, Any]]:
    """The cameras of a valid site.yaml, by name, as they stand there."""
    return dict(yaml.safe_load(text).get("cameras") or {})


def largest(text: str, key: str, default: float) -> float:
    """The largest value of a camera's key in seconds, such as ``max_age``."""
    return max(float(camera.get(key, default)) for camera in read_cameras(text).values())


def clip_of(camera: Mapping[str, Any], folder: Path) -> Path | None:
    """The video that a camera plays already; None where it is a real one."""
    source = camera["source"]
    path = folder / source if isinstance(source, str) else folder
    return path if path.is_file() else None


def soak_site(
    text: str, addresses: Mapping[str, str], *, state: Path, port: int, webhook: str
) -> str:
    """Put clips in the place of cameras, and one webhook in the place of all sinks.

    Args:
        text: A valid site.yaml.
        addresses: Of each camera's clip.
        state: Where state goes.
        port: Of the pages, on loopback.
        webhook: The address that is told of events.

    Returns:
        The new site.yaml, for the same folder.

    Raises:
        UsageError: There is no camera.
    """
    site = yaml.safe_load(text)
    if not site.get("cameras"):
        raise UsageError("this site has no cameras to soak")
    for name, camera in site["cameras"].items():
        for key in OF_REAL_CAMERAS:
            camera.pop(key, None)
        camera["source"] = addresses[name]
    site["sinks"] = {SINK: {"kind": "webhook", "url": webhook}}
    site["http"] = {"listen": f"127.0.0.1:{port}"}
    site["state"] = str(state)
    return yaml.safe_dump(site, sort_keys=False)
