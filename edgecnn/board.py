"""Which board or PC this is, and what its makers leave to know."""

import re
import struct
from pathlib import Path
from typing import Literal

import msgspec

from edgecnn_bench.host import read_text_or_empty

Kind = Literal["raspberry-pi", "jetson", "mini-pc", "other"]
MINI_PC = {"33", "34", "35", "36"}
"""Chassis types of SMBIOS: IoT gateway, embedded PC, mini PC, stick PC."""
NAMELESS = re.compile(r"to be filled|default string|o\.e\.m\.|^system product name$", re.IGNORECASE)
"""What firmware says where its makers wrote nothing."""
JETPACK = {32: "4", 34: "5", 35: "5", 36: "6", 38: "7", 39: "7"}
"""The JetPack that brings a release of Jetson Linux."""


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """The machine as its firmware names it.

    Attributes:
        kind: What decides on the advice.
        name: Of the product; "" where the firmware has none.
        release: Of a Jetson's system, such as ``L4T 36.4 (JetPack 6)``; "" elsewhere.
        bits: Of addresses in this Python: a 64-bit kernel can run a 32-bit system.
    """

    kind: Kind
    name: str
    release: str = ""
    bits: int = 64

    def full_name(self) -> str:
        """Name and release, as far as they are known."""
        return ", ".join(word for word in (self.name, self.release) if word)


def find_board(root: Path = Path("/"), bits: int = 8 * struct.calcsize("P")) -> Board:
    """Recognize a Raspberry Pi, a Jetson or a mini-PC.

    Args:
        root: Where /etc, /proc and /sys are.
        bits: Of addresses in this Python.
    """
    tree = ("proc/device-tree/model", "sys/firmware/devicetree/base/model")
    model = next(filter(None, (read_text_or_empty(root / path) for path in tree)), "")
    release = _jetson_release(read_text_or_empty(root / "etc/nv_tegra_release"))
    if release or re.search("jetson|tegra", model, re.IGNORECASE):
        return Board(kind="jetson", name=model or "NVIDIA Jetson", release=release, bits=bits)
    if model.startswith("Raspberry Pi"):
        return Board(kind="raspberry-pi", name=model, bits=bits)
    if model:
        return Board(kind="other", name=model, bits=bits)
    dmi = root / "sys/class/dmi/id"
    words = (read_text_or_empty(dmi / name) for name in ("sys_vendor", "product_name"))
    name = " ".join(word for word in words if not NAMELESS.search(word)).strip()
    mini = read_text_or_empty(dmi / "chassis_type") in MINI_PC or "NUC" in name
    return Board(kind="mini-pc" if mini else "other", name=name, bits=bits)


def _jetson_release(text: str) -> str:
    found = re.search(r"R(\d+).*REVISION: ([\d.]+)", text)
    if not found:
        return ""
    jetpack = JETPACK.get(int(found[1]))
    return f"L4T {found[1]}.{found[2]}" + (f" (JetPack {jetpack})" if jetpack else "")
