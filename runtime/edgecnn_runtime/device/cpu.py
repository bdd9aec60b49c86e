"""The processor: its name, the instructions that matter to a convolution, and its cores."""

import math
import os
import re
from functools import lru_cache
from pathlib import Path, PurePosixPath

CPUINFO = Path("/proc/cpuinfo")

FEATURES = {
    # x86, by the kernel's flag
    "sse4_1": "sse41", "avx": "avx", "avx2": "avx2", "fma": "fma", "f16c": "f16c",
    "avx512f": "avx512f", "avx512bw": "avx512bw", "avx512_vnni": "avx512_vnni",
    "avx_vnni": "avx_vnni", "avx512_bf16": "avx512_bf16", "avx512_fp16": "avx512_fp16",
    "avx_vnni_int8": "avx_vnni_int8",
    "amx_tile": "amx_tile", "amx_int8": "amx_int8", "amx_bf16": "amx_bf16",
    # Arm, by the kernel's hwcap
    "asimd": "neon", "neon": "neon", "asimddp": "dotprod", "asimdhp": "fp16", "i8mm": "i8mm",
    "bf16": "bf16", "sve": "sve", "sve2": "sve2",
}  # fmt: skip
"""Kernel name → the name used in this project."""

INT8_DOT = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "dotprod", "i8mm"})
"""With one of these, products of u8 and s8 are summed in 32 bits: INT8 is fast and exact."""

SATURATING = frozenset({"sse41", "avx2", "avx512f"})
"""Without one of INT8_DOT these sum pairs of products in 16 bits, and full-range INT8 overflows."""

WIDE = frozenset({"avx2", "avx512f"})
"""Of those, where INT8 is still clearly faster than float."""

ARM_PARTS = {
    0xD03: "Cortex-A53", 0xD04: "Cortex-A35", 0xD05: "Cortex-A55", 0xD07: "Cortex-A57",
    0xD08: "Cortex-A72", 0xD09: "Cortex-A73", 0xD0A: "Cortex-A75", 0xD0B: "Cortex-A76",
    0xD0C: "Neoverse-N1", 0xD0D: "Cortex-A77", 0xD40: "Neoverse-V1", 0xD41: "Cortex-A78",
    0xD42: "Cortex-A78AE", 0xD46: "Cortex-A510", 0xD47: "Cortex-A710", 0xD49: "Neoverse-N2",
    0xD4B: "Cortex-A78C", 0xD4D: "Cortex-A715", 0xD4F: "Neoverse-V2", 0xD80: "Cortex-A520",
    0xD81: "Cortex-A720",
}  # fmt: skip
"""MIDR part numbers of implementer 0x41 (Arm), as in the kernel's cputype.h."""


@lru_cache(maxsize=4)
def cpu_features(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """The instruction sets that decide how fast and how exact INT8 and bf16 run here.

    The names are the values of FEATURES; empty where the kernel lists none.
    """
    flags: set[str] = set()
    for key, value in _entries(cpuinfo):
        if key in {"flags", "Features"}:
            flags.update(value.split())
    return frozenset(FEATURES[flag] for flag in flags if flag in FEATURES)


def saturates(features: frozenset[str]) -> bool:
    """Whether full-range INT8 overflows in the sums of a processor with these features."""
    return bool(features & SATURATING) and not features & INT8_DOT


def describe_int8(features: frozenset[str]) -> str:
    """How a processor with these features sums INT8 products, and which form is for it."""
    if dot := sorted(features & INT8_DOT):
        return f"sums of 8-bit products are exact ({', '.join(dot)})"
    if saturates(features):
        return (
            "full-range INT8 saturates on this processor (x86 without VNNI): int8-cpu-rr, the "
            "reduced range, is the form for it"
        )
    return "no dot products of bytes: INT8 is not known to be faster than float"


@lru_cache(maxsize=4)
def cpu_model(cpuinfo: Path = CPUINFO) -> str:
    """The processor's name, such as ``AMD EPYC 9654`` or ``Cortex-A78AE``; or "unknown"."""
    parts = []
    for key, value in _entries(cpuinfo):
        if key == "model name" and value:
            return re.sub(r"\s+", " ", value)
        if key == "CPU part":
            part = int(value, 16)
            parts.append(ARM_PARTS.get(part, f"Arm part {part:#x}"))
    return " + ".join(dict.fromkeys(parts)) or "unknown"


def usable_cores() -> int:
    """Cores this process may use: its affinity without hyper-threads, and under its quota.

    A second thread on one core's arithmetic units only slows a convolution down.
    """
    if not hasattr(os, "sched_getaffinity"):  # not Linux
        return os.cpu_count() or 1
    cores = {_siblings(cpu) for cpu in os.sched_getaffinity(0)}
    quota = cpu_quota()
    return max(1, len(cores) if quota is None else min(len(cores), math.ceil(quota)))


def _siblings(cpu: int) -> str:
    topology = f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
    return read_text(topology) or str(cpu)


def cpu_quota(
    membership: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")
) -> float | None:
    """The least CPU limit of this process's cgroup and of those around it.

    A service of systemd with ``CPUQuota=`` has its limit in a cgroup of its own, not in the root.

    Args:
        membership: Which cgroup the process is in, a line per hierarchy: ``number:names:/path``.
        mount: Where cgroups are mounted.

    Returns:
        Cores, possibly a fraction of one; None without a limit.
    """
    quotas = []
    for line in read_text(membership).splitlines():
        _, names, path = [*line.split(":", 2), "", ""][:3]
        controllers = names.split(",")
        if names and "cpu" not in controllers:
            continue
        roots = [mount / name for name in (names, "cpu")] if names else [mount, mount / "unified"]
        for root in roots:
            group = PurePosixPath(path.lstrip("/"))
            quotas += [_quota_of(root / each) for each in (group, *group.parents)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota_of(group: Path) -> float | None:
    """The limit of one cgroup, of version 2 or 1, in cores."""
    words = read_text(group / "cpu.max").split()
    if len(words) != 2:
        words = [read_text(group / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    quota, period = words
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def read_text(path: str | Path) -> str:
    """A file of /proc or /sys, stripped; "" where it cannot be read."""
    try:
        return Path(path).read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _entries(cpuinfo: Path) -> list[tuple[str, str]]:
    pairs = (line.partition(":") for line in read_text(cpuinfo).splitlines())
    return [(key.strip(), value.strip()) for key, _, value in pairs]
