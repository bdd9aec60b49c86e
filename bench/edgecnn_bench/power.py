"""Energy meters of this machine: RAPL, NVML, INA and other hwmon sensors, tegrastats.

A meter counts joules since it was opened. A sensor that gives watts is read by a thread, ten times
per second, and integrated; on a machine without such sensors no thread runs.
"""

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, Protocol

from edgecnn_bench.host import read_text_or_empty
from edgecnn_bench.nvml import nvml_devices

SYS = Path("/sys")
PERIOD = 0.1

PowerDomain = Literal["board", "cpu", "gpu", "rail"]
TOTALS = re.compile(r"VDD_IN|POM_5V_IN|VIN_SYS|power_meter|psys", re.IGNORECASE)
"""Sensors that measure the whole board."""


class EnergyMeter(Protocol):
    """A cumulative energy counter.

    Attributes:
        name: Unique among the meters.
        covers: What it measures; "rail" is a part of the board that no total may add.
    """

    name: str
    covers: PowerDomain

    def joules(self) -> float:
        """Joules since the meter was opened."""

    def close(self) -> None:
        """Stop its thread or process. Idempotent."""


def open_meters(sys: Path = SYS) -> list[EnergyMeter]:
    """Every meter that this process may read; none on most virtual machines.

    Args:
        sys: Where sysfs is mounted.
    """
    sampled = [*_ina(sys), *_hwmon(sys)]
    meters: list[EnergyMeter] = [*_rapl(sys), *_gpus(), *sampled]
    if not sampled and shutil.which("tegrastats"):
        meters += [Tegrastats()]
    return meters


def total(joules: Mapping[str, float], meters: list[EnergyMeter]) -> tuple[float, str] | None:
    """The best total: the board's if a sensor measures it, else processor plus GPU.

    Args:
        joules: By the meter's name.
        meters: The meters.

    Returns:
        Joules and what they cover; None without a meter.
    """
    board = [m.name for m in meters if m.covers == "board"]
    if board:
        return joules[board[0]], "board"
    parts = [m for m in meters if m.covers in {"cpu", "gpu"}]
    if not parts:
        return None
    covered = "+".join(dict.fromkeys(m.covers for m in parts))
    return sum(joules[m.name] for m in parts), covered


class Counter:
    """A hardware counter that wraps around; it has to be read at least once per wrap."""

    def __init__(
        self, name: str, covers: PowerDomain, count: Callable[[], float], wraps_at: float = 0.0
    ) -> None:
        self.name, self.covers = name, covers
        self._count, self._wraps_at = count, wraps_at
        self._last, self._sum = count(), 0.0

    def joules(self) -> float:
        """Joules since the meter was opened."""
        now = self._count()
        step = now - self._last
        self._sum += step + self._wraps_at if step < 0 else step
        self._last = now
        return self._sum

    def close(self) -> None:
        """There is nothing to stop."""


class PowerIntegrator:
    """A power sensor in watts, integrated over time by a thread of its own."""

    def __init__(self, name: str, covers: PowerDomain, watts: Callable[[], float]) -> None:
        self.name, self.covers = name, covers
        self._watts, self._sum = watts, 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"power {name}", daemon=True)
        self._thread.start()

    def joules(self) -> float:
        """Joules since the meter was opened, up to the last reading."""
        return self._sum

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(PERIOD):
            now = time.monotonic()
            self._sum += self._watts() * (now - last)
            last = now


class Tegrastats:
    """The board's power as NVIDIA's tool prints it, for boards whose sensors cannot be read."""

    covers: PowerDomain = "board"
    name = "tegrastats"

    def __init__(self) -> None:
        command = ["tegrastats", "--interval", str(int(PERIOD * 1000))]
        self._tool = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._sum = 0.0
        self._thread = threading.Thread(target=self._follow, name="tegrastats", daemon=True)
        self._thread.start()

    def joules(self) -> float:
        """Joules since the meter was opened, up to the last line printed."""
        return self._sum

    def close(self) -> None:
        """End the tool."""
        self._tool.terminate()
        self._tool.wait()
        self._thread.join()

    def _follow(self) -> None:
        assert self._tool.stdout is not None
        last = time.monotonic()
        for line in self._tool.stdout:
            now = time.monotonic()
            self._sum += tegrastats_watts(line) * (now - last)
            last = now


def tegrastats_watts(line: str) -> float:
    """The board's watts in one line of tegrastats: VDD_IN if there is one, else all rails."""
    rails = {name: int(mw) for name, mw in re.findall(r"(V\w+|POM_\w+) (\d+)m?W?/\d+", line)}
    totals = [mw for name, mw in rails.items() if TOTALS.search(name)]
    return (totals[0] if totals else sum(rails.values())) / 1000


def _rapl(sys: Path) -> list[EnergyMeter]:
    meters: list[EnergyMeter] = []
    for zone in sorted((sys / "class/powercap").glob("intel-rapl:*")):
        name, count = read_text_or_empty(zone / "name"), zone / "energy_uj"
        if not read_text_or_empty(count):  # root only, since CVE-2020-8694
            continue
        wraps = int(read_text_or_empty(zone / "max_energy_range_uj") or 0) / 1e6
        covers: PowerDomain = "cpu" if name.startswith(("package", "dram")) else "rail"
        if TOTALS.search(name):
            covers = "board"
        label = f"rapl {name} {zone.name.partition(':')[2]}"
        meters.append(Counter(label, covers, _scaled(count, 1e-6), wraps))
    return meters


def _ina(sys: Path) -> list[EnergyMeter]:
    meters: list[EnergyMeter] = []
    for chip in sorted((sys / "class/hwmon").glob("hwmon*")):
        if not read_text_or_empty(chip / "name").startswith("ina"):
            continue
        for current in sorted(chip.glob("curr[0-9]_input")):
            number = current.name[4]
            volts = chip / f"in{number}_input"
            label = read_text_or_empty(chip / f"in{number}_label") or f"{chip.name} {number}"
            if read_text_or_empty(current) and read_text_or_empty(volts) and label != "NC":
                covers: PowerDomain = "board" if TOTALS.search(label) else "rail"
                meters.append(PowerIntegrator(label, covers, _product(current, volts)))
    return meters


def _hwmon(sys: Path) -> list[EnergyMeter]:
    meters: list[EnergyMeter] = []
    for chip in sorted((sys / "class/hwmon").glob("hwmon*")):
        name = read_text_or_empty(chip / "name")
        if name.startswith("ina"):
            continue
        for power in [*chip.glob("power[0-9]_average"), *chip.glob("power[0-9]_input")][:1]:
            if read_text_or_empty(power):
                covers: PowerDomain = "gpu" if name == "amdgpu" else "rail"
                watts = _scaled(power, 1e-6)
                meters.append(
                    PowerIntegrator(name, "board" if TOTALS.search(name) else covers, watts)
                )
    return meters


def _gpus() -> list[EnergyMeter]:
    return [
        Counter(f"gpu {gpu.index}", "gpu", gpu.joules) for gpu in nvml_devices() if gpu.joules() > 0
    ]


def _scaled(path: Path, unit: float) -> Callable[[], float]:
    return lambda: int(read_text_or_empty(path) or 0) * unit


def _product(milliamperes: Path, millivolts: Path) -> Callable[[], float]:
    return lambda: (
        int(read_text_or_empty(milliamperes) or 0) * int(read_text_or_empty(millivolts) or 0) * 1e-6
    )
