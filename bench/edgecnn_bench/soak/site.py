"""A site.yaml for the soak: the same cameras and pipelines, with clips for cameras."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from edgecnn_runtime.daemon.edit import set_value
from edgecnn_runtime.errors import UsageError

SINK = "soak"
"""The only sink: nobody outside is told of what a soak makes up."""
OF_REAL_CAMERAS = ("credentials", "detect_source", "transport", "paused", "loop")


def read_cameras(text: str) -> dict[str, dict[str, Any]]:
    """The cameras of a site.yaml, by name, as they stand there; their secrets are not read.

    Raises:
        UsageError: There is none, or this is not a site.
    """
    try:
        # Plain text only, as the daemon reads names: to YAML 1.1, a camera "on" is a truth value.
        site = yaml.load(text, Loader=yaml.BaseLoader) or {}  # noqa: S506  (it constructs nothing else)
        cameras = {name: dict(each) for name, each in (site.get("cameras") or {}).items()}
    except (yaml.YAMLError, AttributeError, TypeError, ValueError):
        cameras = {"": {}}
    if not all("source" in camera for camera in cameras.values()):
        raise UsageError("this is not a site: `edgecnn serve --check` says why")
    if not cameras:
        raise UsageError("this site has no cameras to soak")
    return cameras


def largest(text: str, key: str, default: float) -> float:
    """The largest value of a camera's key in seconds; one that a file holds counts as default."""
    values = [camera.get(key, default) for camera in read_cameras(text).values()]
    return max(default if isinstance(value, dict) else float(value) for value in values)


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
        UsageError: There is no camera, or this is not a site.
    """
    for name in read_cameras(text):
        for key in OF_REAL_CAMERAS:
            text = set_value(text, ("cameras", name, key), None)
        text = set_value(text, ("cameras", name, "source"), addresses[name])
    text = set_value(text, ("sinks",), {SINK: {"kind": "webhook", "url": webhook}})
    text = set_value(text, ("http",), {"listen": f"127.0.0.1:{port}"})
    return set_value(text, ("state",), str(state))
