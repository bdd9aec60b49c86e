"""NVIDIA GPUs through NVML, the driver's own library: energy, temperature, throttling.

Read with nvidia-ml-py, NVIDIA's own binding. Where there is no driver there are no devices.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

CORE_SENSOR = 0
THROTTLE = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "thermal slowdown (software)",
    0x40: "thermal slowdown (hardware)",
    0x80: "power brake",
}
"""Bits of nvmlClocksThrottleReasons that mean that the GPU is held back, not idle."""


@dataclass(frozen=True, slots=True)
class NvmlDevice:
    """One GPU.

    Attributes:
        index: Number of the GPU, as nvidia-smi counts.
        name: Product name.
        driver: Version of the driver.
        handle: NVML's handle.
    """

    index: int
    name: str
    driver: str
    handle: Any

    def memory_mib(self) -> int:
        """Size of its memory; 0 where it has none of its own."""
        memory = _read("nvmlDeviceGetMemoryInfo", self.handle, None)
        return int(memory.total) >> 20 if memory else 0

    def joules(self) -> float:
        """Energy since the driver was loaded; 0 on GPUs older than Volta, which do not count."""
        millijoules: int = _read("nvmlDeviceGetTotalEnergyConsumption", self.handle, 0)
        return millijoules / 1e3

    def celsius(self) -> float | None:
        """Temperature of the core."""
        degrees: int | None = _read("nvmlDeviceGetTemperature", self.handle, None, CORE_SENSOR)
        return degrees

    def throttled(self) -> tuple[str, ...]:
        """Why the GPU is held back now."""
        bits = _read("nvmlDeviceGetCurrentClocksThrottleReasons", self.handle, 0)
        return tuple(reason for bit, reason in THROTTLE.items() if bits & bit)


@lru_cache(maxsize=1)
def nvml_devices() -> tuple[NvmlDevice, ...]:
    """The GPUs of this machine; none without NVIDIA's driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
        driver = pynvml.nvmlSystemGetDriverVersion()
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return tuple(
            NvmlDevice(index, pynvml.nvmlDeviceGetName(handle), driver, handle)
            for index, handle in enumerate(handles)
        )
    except pynvml.NVMLError:
        return ()


def _read(query: str, handle: Any, otherwise: Any, *arguments: int) -> Any:
    """The answer to a query, or ``otherwise`` where this GPU or driver has none."""
    import pynvml

    try:
        return getattr(pynvml, query)(handle, *arguments)
    except pynvml.NVMLError:
        return otherwise
