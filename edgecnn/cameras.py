"""Cameras that are attached to this machine, and the file that serves what was found."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from edgecnn_bench.host import read_text_or_empty

NOT_CAMERAS = re.compile(r"codec|\bisp\b|hevc|pispbe|rp1-cfe|unicam|rpivid")
"""Video devices of a Raspberry Pi that are stages of its own pipeline."""
JETSON_CSI = "vi-output"
"""How the names of a Jetson's CSI cameras begin."""
LINKS = ("v4l/by-id", "v4l/by-path")
"""Folders of names that stay when a camera is plugged in again."""


class CameraDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A video device of the kernel.

    Attributes:
        device: Its file.
        name: What the driver calls it.
        usable: Whether this user may open it.
        source: What ``edgecnn run`` and site.yaml call it, a name that stays where there is one.
    """

    device: str
    name: str
    usable: bool
    source: str = ""


class NetworkCamera(msgspec.Struct, frozen=True, kw_only=True):
    """A camera that answered on the network.

    Attributes:
        host: Its address.
        name: What it calls itself.
        streams: Addresses of its streams without user and password, the largest picture first;
            empty where it did not tell them.
        problem: Why it did not.
    """

    host: str
    name: str
    streams: Sequence[str] = ()
    problem: str = ""


def attached_cameras(
    classes: Path = Path("/sys/class/video4linux"), devices: Path = Path("/dev")
) -> tuple[CameraDevice, ...]:
    """The kernel's video devices that deliver pictures, in the order of their numbers.

    Args:
        classes: The kernel's list.
        devices: The folder of device files.
    """
    nodes = [
        node
        for node in classes.glob("video*")
        # a UVC camera's second node delivers metadata only
        if node.name.removeprefix("video").isdigit()
        and read_text_or_empty(node / "index") in {"", "0"}
    ]
    links = {
        link.resolve(): str(link)
        for folder in LINKS
        for link in sorted((devices / folder).glob("*"))
    }
    found: list[CameraDevice] = []
    csi = 0
    for node in sorted(nodes, key=lambda node: int(node.name.removeprefix("video"))):
        name, device = read_text_or_empty(node / "name"), devices / node.name
        if NOT_CAMERAS.search(name):
            continue
        source = links.get(device.resolve(), str(device))
        if name.startswith(JETSON_CSI):
            source, csi = f"csi://{csi}", csi + 1
        usable = os.access(device, os.R_OK | os.W_OK)
        found.append(CameraDevice(device=str(device), name=name, usable=usable, source=source))
    return tuple(found)


def site_entries(
    attached: Sequence[CameraDevice],
    network: Sequence[NetworkCamera],
    pipeline: str,
    credentials: str = "",
) -> dict[str, Mapping[str, object]]:
    """``cameras`` of a site.yaml, by names made of what the cameras call themselves.

    Args:
        attached: Those that this user may open become cameras.
        network: Those that told their streams do; where there are several, the smallest is the one
            to detect in.
        pipeline: Of all of them.
        credentials: The file that holds ``USER:PASSWORD`` of the network cameras; "" without.
    """
    entries: dict[str, Mapping[str, object]] = {}
    name_for = _names(entries)
    for device in attached:
        if device.usable:
            entries[name_for(device.name)] = {"source": device.source, "pipeline": pipeline}
    for camera in network:
        if not camera.streams:
            continue
        entry: dict[str, object] = {"source": camera.streams[0], "pipeline": pipeline}
        if len(camera.streams) > 1:
            entry["detect_source"] = camera.streams[-1]
        if credentials:
            entry["credentials"] = {"file": credentials}
        entries[name_for(camera.name or camera.host)] = entry
    return entries


def _names(taken: Mapping[str, object]) -> Callable[[str], str]:
    """Turns what a camera calls itself into a name of site.yaml that is not taken."""

    def name_for(text: str) -> str:
        word = re.sub("[^a-z0-9]+", "-", text.lower())[:40].strip("-") or "camera"
        number = 1
        while (name := word if number == 1 else f"{word}-{number}") in taken:
            number += 1
        return name

    return name_for
