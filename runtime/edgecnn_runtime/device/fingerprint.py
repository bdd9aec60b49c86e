"""What decides how fast and how exact an engine runs here: processor, accelerators, power settings.

Read from /proc and /sys alone, in well under a millisecond: loading a model starts no tool.
"""

import re
from pathlib import Path

from edgecnn_runtime.device.cpu import cpu_features, cpu_model, read_text, usable_cores

ROOT = Path("/")


def numerics_key() -> tuple[str, ...]:
    """What the outputs of an engine depend on: processor, instructions, accelerators."""
    return (cpu_model(), ",".join(sorted(cpu_features())), *gpu_names())


def performance_key() -> tuple[str, ...]:
    """What its speed depends on: the same, the cores this process may use, and the power mode."""
    return (*numerics_key(), f"{usable_cores()} cores", power_mode())


def gpu_names(root: Path = ROOT) -> tuple[str, ...]:
    """NVIDIA accelerators as their driver names them, and its version; empty without one."""
    cards = sorted(root.glob("proc/driver/nvidia/gpus/*/information"))
    names = [_match(r"^Model:\s*(.+)$", read_text(card)) or "NVIDIA GPU" for card in cards]
    driver = _match(
        r"Kernel Module.*?\s(\d+\.[\d.]+)\s", read_text(root / "proc/driver/nvidia/version")
    )
    if board := _match(r"(R\d+.*REVISION: [\d.]+)", read_text(root / "etc/nv_tegra_release")):
        names.append(f"Tegra {board}")
    return (*names, driver) if names and driver else tuple(names)


def power_mode(root: Path = ROOT) -> str:
    """The Jetson's ``nvpmodel``, the platform profile, the clock's governor; "" where unknown."""
    cpus = root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    words = (
        _match(r"pmode:(\w+)", read_text(root / "var/lib/nvpmodel/status")),
        read_text(root / "sys/firmware/acpi/platform_profile"),
        "+".join(sorted({read_text(cpu) for cpu in cpus} - {""})),
    )
    return " ".join(word for word in words if word)


def _match(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    return match.group(1).strip() if match else ""
