"""From the name of a source to what has to be opened, and to the name without its password."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.idx import idx_files, is_idx_picture
from edgecnn_runtime.image_file import SUFFIXES
from edgecnn_runtime.redaction import encodable, redact

Kind: TypeAlias = Literal["device", "network", "csi", "gst", "video", "pictures"]

NETWORK = ("rtsp", "rtsps", "http", "https", "rtmp", "srt", "udp", "tcp", "rtp")
PICTURES = (*SUFFIXES, ".heic", ".heif")
"""Endings of picture files. No OpenCV of pip's reads HEIC: such a file is named, not ignored."""


@dataclass(frozen=True, slots=True)
class Address:
    """What a source's name means.

    Attributes:
        kind: What it is.
        target: What is opened: a device path or index, a URL, a pipeline, a file or a folder.
        name: ``target`` without any password, as text that UTF-8 can hold, to be shown.
        files: The pictures and folders of a source of pictures, in order.
        settings: Width, height and fps requested of a device or CSI camera
            (``0?width=1280&height=720``).
    """

    kind: Kind
    target: str
    name: str
    files: tuple[Path, ...] = ()
    settings: dict[str, int] = field(default_factory=dict)


def parse_address(spec: str | int | Path) -> Address:
    """Read the name of a source.

    Args:
        spec: Device index (0, "0"), /dev/video0, /dev/v4l/by-id/…, rtsp:// or another network
            scheme, csi://0, gst:PIPELINE, a video file, a picture or a folder of pictures.

    Raises:
        UsageError: It is none of these.
    """
    text = str(spec)
    if not text.removeprefix("gst:").strip():
        raise UsageError("a source without a name: type 0, a file, rtsp://… or gst:PIPELINE")
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if text.startswith("gst:"):
        return Address("gst", text[4:].strip(), redact(text))
    if separator and scheme == "csi":
        sensor, settings = _settings(rest, text)
        return Address(
            "csi", str(_index(sensor or "0", text)), f"csi://{sensor or 0}", settings=settings
        )
    if separator and scheme in NETWORK:
        if not _is_url(text):
            raise UsageError(
                f"{redact(text)}: not an address such as {scheme}://192.0.2.10:554/main; "
                "if the password contains / ? # or @, write %2F %3F %23 or %40 for it"
            )
        return Address("network", text, redact(text))
    if separator and scheme != "file":
        known = ", ".join(f"{name}://" for name in (*NETWORK, "csi", "file"))
        raise UsageError(f"{redact(text)}: no such kind of source {scheme}://; known: {known}")
    device, settings = _settings(text, text) if _is_device(text) else (text, {})
    if _is_device(text):
        return Address("device", device, device, settings=settings)
    return _file(Path(rest if separator else text))


def join_pictures(addresses: Sequence[Address]) -> Address:
    """One source of several pictures and folders, in their order.

    Args:
        addresses: At least one, all of kind ``pictures``.
    """
    if len(addresses) == 1:
        return addresses[0]
    files = tuple(file for address in addresses for file in address.files)
    return Address(
        "pictures", str(files[0]), encodable(f"{files[0]} and {len(files) - 1} more"), files
    )


def _is_url(text: str) -> bool:
    """Whether an address has a host, and a port that can be one; a password may hold anything."""
    scheme, _, rest = text.partition("://")
    host = rest.rpartition("@")[2] if "@" in rest.partition("/")[0] else rest
    try:
        url = urlsplit(f"{scheme}://{host}")
        return bool(url.netloc) and url.port != 0
    except ValueError:
        return False


def _is_device(text: str) -> bool:
    device = r"[0-9]{1,3}|/dev/video[0-9]+|/dev/v4l/by-(id|path)/[^/?]+"
    return re.fullmatch(rf"({device})(\?.*)?", text) is not None


def _settings(text: str, where: str) -> tuple[str, dict[str, int]]:
    target, _, query = text.partition("?")
    settings: dict[str, int] = {}
    for pair in query.split("&") if query else ():
        key, _, value = pair.partition("=")
        if key not in {"width", "height", "fps"} or not re.fullmatch("[1-9][0-9]{0,4}", value):
            raise UsageError(
                f"{where}: {pair!r} is not a camera setting; "
                f"type `{target}?width=1280&height=720&fps=30`"
            )
        settings[key] = int(value)
    return target, settings


def _index(text: str, where: str) -> int:
    if not re.fullmatch("[0-9]{1,3}", text):
        raise UsageError(f"{where}: a CSI camera is named by its number: csi://0")
    return int(text)


def _file(path: Path) -> Address:
    try:
        folder, file, exists = path.is_dir(), path.is_file(), path.exists()
    except PermissionError:
        raise UsageError(
            f"{path}: this user (uid {os.getuid()}) may not enter {path.parent}"
        ) from None
    except (OSError, ValueError):  # a name too long, or with a null in it
        folder = file = exists = False
    is_picture = file and (path.suffix.lower() in PICTURES or idx_files(path, training=False))
    if folder or is_picture or (is_idx_picture(path) and path.parent.is_file()):
        return Address("pictures", str(path), encodable(str(path)), (path,))
    if file:
        return Address("video", str(path), encodable(str(path)))
    if exists:
        raise UsageError(f"{path}: neither a file nor a folder; cameras are /dev/video0 or 0")
    raise UsageError(
        f"{redact(str(path))}: no such file; a source is a video, a picture, a folder of pictures, "
        "a camera (0, /dev/video0, csi://0), rtsp://…, http://… or gst:PIPELINE"
    )
