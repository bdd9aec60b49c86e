"""Is a clock held down? Clocks, temperatures, throttle counters, and the load of other programs."""

import os
import re
import time
from pathlib import Path

import msgspec

from edgecnn_bench.host import read_text_or_empty
from edgecnn_bench.nvml import nvml_devices

SYS, PROC = Path("/sys"), Path("/proc")
PI_BITS = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}
"""Raspberry Pi firmware's get_throttled, the bits that hold now."""


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """The machine at one moment.

    Attributes:
        at: Seconds on the monotonic clock.
        mhz: Mean clock of the CPUs; None where unknown.
        celsius: The hottest sensor; None where there is none.
        throttled: Why a clock is held down at this moment.
        throttle_count: Throttle events that the processor counted since boot.
        busy: CPU seconds of all programs since boot.
        steal: CPU seconds that the hypervisor withheld since boot.
        own: CPU seconds of this process and its finished children.
    """

    at: float
    mhz: float | None
    celsius: float | None
    throttled: tuple[str, ...]
    throttle_count: int
    busy: float
    steal: float
    own: float


def condition(sys: Path = SYS, proc: Path = PROC) -> Condition:
    """The machine now; takes about a millisecond and never raises.

    Args:
        sys: Where sysfs is mounted.
        proc: Where procfs is mounted.
    """
    gpus = nvml_devices()
    busy, steal = _cpu_seconds(proc)
    times = os.times()
    cores = [gpu.celsius() for gpu in gpus]
    degrees = [*_temperatures(sys), *(value for value in cores if value is not None)]
    return Condition(
        at=time.monotonic(),
        mhz=_mhz(sys, proc),
        celsius=max(degrees, default=None),
        throttled=(*_held_back(sys), *(f"GPU {why}" for gpu in gpus for why in gpu.throttled())),
        throttle_count=_throttle_count(sys),
        busy=busy,
        steal=steal,
        own=times.user + times.system + times.children_user + times.children_system,
    )


def external_load(before: Condition, after: Condition) -> float:
    """Cores that other programs kept busy between two moments."""
    wall = max(after.at - before.at, 1e-9)
    return max(0.0, (after.busy - before.busy) - (after.own - before.own)) / wall


def steal_time(before: Condition, after: Condition) -> float:
    """Cores that the hypervisor withheld between two moments."""
    return max(0.0, after.steal - before.steal) / max(after.at - before.at, 1e-9)


def throttling(history: list[Condition]) -> tuple[str, ...]:
    """Every reason why a clock was held down, each once."""
    reasons = [why for moment in history for why in moment.throttled]
    if history and (events := history[-1].throttle_count - history[0].throttle_count) > 0:
        reasons.append(f"the processor throttled {events} times")
    return tuple(dict.fromkeys(reasons))


def _cpu_seconds(proc: Path) -> tuple[float, float]:
    ticks = os.sysconf("SC_CLK_TCK")
    line = re.match(r"cpu +([\d ]+)", read_text_or_empty(proc / "stat"))
    if not line:
        return 0.0, 0.0
    user, nice, system, _, _, irq, softirq, steal = map(
        int, (line.group(1).split() + ["0"] * 8)[:8]
    )
    return (user + nice + system + irq + softirq) / ticks, steal / ticks


def _mhz(sys: Path, proc: Path) -> float | None:
    files = (sys / "devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
    clocks = [int(text) / 1000 for path in files if (text := read_text_or_empty(path)).isdigit()]
    if not clocks:
        values = re.findall(
            r"^cpu MHz\s*: ([\d.]+)", read_text_or_empty(proc / "cpuinfo"), re.MULTILINE
        )
        clocks = [float(text) for text in values]
    return sum(clocks) / len(clocks) if clocks else None


def _temperatures(sys: Path) -> list[float]:
    zones = sys / "class/thermal"
    files = [*zones.glob("thermal_zone*/temp"), *(sys / "class/hwmon").glob("hwmon*/temp*_input")]
    texts = [read_text_or_empty(path) for path in files]
    degrees = [int(text) / 1000 for text in texts if text.lstrip("-").isdigit()]
    return [value for value in degrees if -50 < value < 150]  # some zones report impossible values


def _throttle_count(sys: Path) -> int:
    files = (sys / "devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/*_throttle_count")
    return sum(int(text) for path in files if (text := read_text_or_empty(path)).isdigit())


def _held_back(sys: Path) -> list[str]:
    reasons = []
    for device in sorted((sys / "class/thermal").glob("cooling_device*")):
        kind = read_text_or_empty(device / "type")
        active = read_text_or_empty(device / "cur_state") not in {"", "0", "-1"}
        if active and re.search(r"cpu|gpu|processor|cv|devfreq", kind, re.IGNORECASE):
            reasons.append(f"cooling {kind}")
    for policy in sorted((sys / "devices/system/cpu/cpufreq").glob("policy*")):
        limit, full = (
            read_text_or_empty(policy / "scaling_max_freq"),
            read_text_or_empty(policy / "cpuinfo_max_freq"),
        )
        if limit.isdigit() and full.isdigit() and int(limit) < int(full):
            reasons.append(f"clock capped at {int(limit) // 1000} of {int(full) // 1000} MHz")
    firmware = read_text_or_empty(sys / "devices/platform/soc/soc:firmware/get_throttled")
    bits = int(firmware, 16) if re.fullmatch(r"(0x)?[0-9a-fA-F]+", firmware) else 0
    reasons += [why for bit, why in PI_BITS.items() if bits >> bit & 1]
    return reasons
