"""What this machine says about itself: its temperature, and room on a disk."""

import os
from pathlib import Path

THERMAL = Path("/sys/class/thermal")
ABSURD = 150.0
"""Degrees Celsius that no sensor of a running machine means."""


def temperature(folder: Path = THERMAL) -> float | None:
    """The hottest sensor of the processor, in degrees Celsius; None without one.

    Args:
        folder: Where the kernel lists the thermal zones.
    """
    values = []
    for file in folder.glob("thermal_zone*/temp"):
        try:
            value = int(file.read_text()) / 1000
        except (OSError, ValueError):  # a sensor that is switched off
            continue
        if -ABSURD < value < ABSURD:
            values.append(value)
    return max(values, default=None)


def free_bytes(folder: Path) -> int:
    """What this user may still write to the disk of a folder.

    Raises:
        OSError: There is no such folder.
    """
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
