"""Changes to site.yaml that pages and API ask for, as texts of it; comments stay."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgecnn_runtime.bundle.atomic import atomic_file
from edgecnn_runtime.config import from_plain, read_text
from edgecnn_runtime.daemon.cameras import AREAS
from edgecnn_runtime.daemon.check import local_source
from edgecnn_runtime.daemon.edit import set_value
from edgecnn_runtime.daemon.site import CameraConfig, SiteFile, parse_site
from edgecnn_runtime.errors import ConfigError, EdgecnnError
from edgecnn_runtime.source import parse_address
from edgecnn_runtime.web.operations import CameraAreas

HARMLESS_KINDS = {"network", "device", "csi"}
"""Sources that may be added through the API: no pipeline of programs, and no file."""


def with_areas(file: SiteFile, camera: str, areas: CameraAreas) -> str:
    """The text with other zones, lines and masks of a camera."""
    text = file.text
    for field in AREAS:
        text = set_value(text, ("cameras", camera, field), _plain(getattr(areas, field)) or None)
    return text


def with_camera(file: SiteFile, name: str, config: Mapping[str, Any]) -> str:
    """The text with one more camera.

    Raises:
        ConfigError: It cannot be right, or may not be added from afar.
    """
    where = f"camera {name}"
    camera: CameraConfig = from_plain(dict(config), CameraConfig, where)
    if name in file.site.cameras:
        raise ConfigError(f"{where}: there is one of this name already")
    for source in filter(None, (camera.source, camera.detect_source)):
        try:
            kind = parse_address(local_source(file, source)).kind
        except EdgecnnError as error:
            raise ConfigError(f"{where}: {error}") from None
        if kind not in HARMLESS_KINDS:
            raise ConfigError(
                f"{where}: only cameras and network streams can be added here; files and "
                f"GStreamer pipelines are added in {file.path}"
            )
    for pipeline in camera.pipelines:
        if Path(pipeline).is_absolute() or ".." in Path(pipeline).parts:
            raise ConfigError(f"{where}: pipeline: must lie in the folder of site.yaml")
    return set_value(file.text, ("cameras", name), dict(config))


def without_camera(file: SiteFile, name: str) -> str:
    """The text without a camera."""
    return set_value(file.text, ("cameras", name), None)


def write_site(file: SiteFile, text: str, use: Callable[[SiteFile], None]) -> SiteFile:
    """Use another text of site.yaml, and write it where that works.

    Args:
        file: The site as it is served.
        text: What it is from now on.
        use: Serves another site; raises EdgecnnError where it cannot.

    Returns:
        The new site.

    Raises:
        EdgecnnError: It cannot be right or written, or somebody else has changed the file.
    """
    path = file.path
    if read_text(path) != file.text:
        raise ConfigError(
            f"{path}: was changed meanwhile, and is not in use as it stands there: wait a "
            "second, or correct what the log says"
        )
    new = parse_site(text, path)
    try:
        # It is there whole before anything is changed; where path is a link, it stays one.
        with atomic_file(path.resolve()) as scratch:
            scratch.touch(0o600)  # there may be passwords in it
            scratch.write_text(text, encoding="utf-8")
            scratch.chmod(path.stat().st_mode)
            use(new)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
    return new


def _plain(value: Any) -> Any:
    """Areas as lists and mappings."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    return value
