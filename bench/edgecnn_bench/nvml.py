"""NVIDIA GPUs through the driver's own library: energy, clocks, temperature, throttling.

ctypes on libnvidia-ml.so.1 rather than a binding: it comes with the driver, so where there is a
GPU there is this, and nothing has to be installed. Names and values: NVML API reference.
"""

import ctypes
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

SM_CLOCK, GPU_SENSOR = 1, 0
THROTTLE = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "thermal slowdown (software)",
    0x40: "thermal slowdown (hardware)",
    0x80: "power brake",
}
"""nvmlClocksThrottleReason bits that mean the GPU is held back, not idle."""


@dataclass(frozen=True, slots=True)
class GpuState:
    """One GPU now: mhz of its SMs, celsius of its core, why it is held back."""

    mhz: int
    celsius: int
    throttled: tuple[str, ...]


class Device:
    """One GPU by its NVML handle."""

    def __init__(self, library: ctypes.CDLL, index: int) -> None:
        self.name = f"gpu {index}"
        self._library = library
        self._handle = ctypes.c_void_p()
        library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(self._handle))

    def joules(self) -> float:
        """Since the driver was loaded; 0 on GPUs older than Volta, which do not count."""
        return self._ask("nvmlDeviceGetTotalEnergyConsumption", ctypes.c_ulonglong()) / 1e3

    def state(self) -> GpuState:
        """Clock, temperature and throttle reasons now."""
        bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.c_ulonglong())
        return GpuState(
            mhz=self._ask("nvmlDeviceGetClockInfo", ctypes.c_uint(), SM_CLOCK),
            celsius=self._ask("nvmlDeviceGetTemperature", ctypes.c_uint(), GPU_SENSOR),
            throttled=tuple(why for bit, why in THROTTLE.items() if bits & bit),
        )

    def _ask(self, function: str, value: Any, *arguments: int) -> int:
        status = getattr(self._library, function)(self._handle, *arguments, ctypes.byref(value))
        return int(value.value) if status == 0 else 0


@lru_cache(maxsize=1)
def nvml_devices() -> tuple[Device, ...]:
    """The GPUs of this machine; none without NVIDIA's driver."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return ()
    count = ctypes.c_uint()
    if library.nvmlInit_v2() or library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return ()
    return tuple(Device(library, index) for index in range(count.value))
