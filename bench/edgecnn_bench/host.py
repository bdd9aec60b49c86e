"""The machine that a result was measured on: hardware, limits, settings and versions.

Nothing in it names a person, a network or a folder, so that a result can be published as it is.
"""

import contextlib
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import msgspec

from edgecnn_bench.nvml import nvml_devices
from edgecnn_runtime.backends import distributions
from edgecnn_runtime.device.cpu import cpu_features, cpu_model

PACKAGES = (
    "edgecnn", "edgecnn-runtime", "numpy", "opencv-python-headless", "opencv-python", "torch",
    "onnx",
)  # fmt: skip


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """An accelerator, as its driver or the PCI bus names it.

    Attributes:
        name: Of the product; vendor and PCI id where the driver has no name.
        driver: Its version, or the kernel's module.
        memory_mib: Its own memory; 0 where it has none or it is unknown.
    """

    name: str
    driver: str = ""
    memory_mib: int = 0


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """A machine and its settings, as far as a latency depends on them.

    Attributes:
        id: The same for every machine and setting that may be compared: a hash of the processor,
            its features, the cores and memory this process may use, the board, the accelerators,
            governor and power mode. Kernel, driver and library versions are not in it, because
            comparing two versions on one machine is what benchmarks are for.
        arch: Of the processor, as ``uname -m``.
        board: Name of a single-board computer; "" on others.
        cpu: Name of the processor.
        features: Of the processor, as far as engines use them.
        cores: Of the machine.
        affinity: How many of them this process may run on.
        cpu_quota: The cgroup's limit in cores; None without one.
        memory_mib: Of the machine.
        memory_limit_mib: The cgroup's limit; None without one.
        governor: Of the CPU clock; "" where the kernel has none (most virtual machines).
        power_mode: ``nvpmodel`` on a Jetson, else the platform profile; "" where there is none.
        gpus: The accelerators.
        container: "docker", "podman", …; "" outside.
        virtual: The hypervisor; "" on a physical machine.
        system: Name of the distribution.
        kernel: Release of the kernel.
        python: Version of Python.
        versions: Of the packages that matter, by name.
    """

    id: str = ""
    arch: str
    board: str
    cpu: str
    features: tuple[str, ...]
    cores: int
    affinity: int
    cpu_quota: float | None
    memory_mib: int
    memory_limit_mib: int | None
    governor: str
    power_mode: str
    gpus: tuple[Gpu, ...]
    container: str
    virtual: str
    system: str
    kernel: str
    python: str
    versions: dict[str, str]

    def short(self) -> str:
        """The host in one line."""
        usable = self.affinity if self.cpu_quota is None else min(self.affinity, self.cpu_quota)
        words = [f"{self.board} ({self.cpu})" if self.board else self.cpu]
        words.append(f"{usable:g} of {self.cores} cores")
        words += [gpu.name for gpu in self.gpus]
        words += [word for word in (self.power_mode, self.governor, self.virtual) if word]
        return ", ".join(words)


IDENTITY = (
    "arch", "board", "cpu", "features", "cores", "affinity", "cpu_quota", "governor",
    "power_mode", "virtual",
)  # fmt: skip
"""The fields hashed into ``Host.id`` as they are; memory and GPUs go in rounded."""


def fingerprint() -> Host:
    """This machine now. It never raises; what cannot be read is empty."""
    host = Host(
        arch=platform.machine(),
        board=read_text_or_empty("/proc/device-tree/model"),
        cpu=cpu_model(),
        features=tuple(sorted(cpu_features())),
        cores=os.cpu_count() or 1,
        affinity=len(os.sched_getaffinity(0)),
        cpu_quota=_cpu_quota(),
        memory_mib=_memory_mib(),
        memory_limit_mib=_memory_limit_mib(),
        governor=_governor(),
        power_mode=_power_mode(),
        gpus=_gpus(),
        container=_container(),
        virtual=_virtual(),
        system=_system(),
        kernel=platform.release(),
        python=platform.python_version(),
        versions=_versions(),
    )
    return msgspec.structs.replace(host, id=host_id(host))


def host_id(host: Host) -> str:
    """``Host.id`` of these values: 12 hexadecimal digits."""
    values: list[object] = [getattr(host, name) for name in IDENTITY]
    values.append(round(host.memory_mib / 1024))
    values.append([gpu.name for gpu in host.gpus])
    return hashlib.sha256(msgspec.json.encode(values)).hexdigest()[:12]


def read_text_or_empty(path: str | Path) -> str:
    """A small file of /proc or /sys, stripped; "" where it is absent or unreadable."""
    try:
        return Path(path).read_bytes().decode("utf-8", "replace").strip().strip("\0")
    except OSError:
        return ""


def run_command(*command: str) -> str:
    """The output of a tool, stripped; "" where it is absent, fails or takes over 5 s."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _cgroup(file_v2: str, file_v1: str) -> str:
    own = re.search(r"(?m)^0::(/.*)$", read_text_or_empty("/proc/self/cgroup"))
    files = (f"{own[1] if own else ''}/{file_v2}", f"/{file_v2}", f"/{file_v1}")
    return next(filter(None, (read_text_or_empty(f"/sys/fs/cgroup{file}") for file in files)), "")


def _cpu_quota() -> float | None:
    words = _cgroup("cpu.max", "cpu/cpu.cfs_quota_us").split()
    if not words or not words[0].isdigit():  # "max", or -1 in the first version of cgroups
        return None
    words.append(read_text_or_empty("/sys/fs/cgroup/cpu/cpu.cfs_period_us"))
    return round(int(words[0]) / (int(words[1]) if words[1].isdigit() else 100_000), 2)


def _memory_mib() -> int:
    total = re.search(r"MemTotal:\s+(\d+) kB", read_text_or_empty("/proc/meminfo"))
    return int(total.group(1)) // 1024 if total else 0


def _memory_limit_mib() -> int | None:
    word = _cgroup("memory.max", "memory/memory.limit_in_bytes")
    limit = int(word) >> 20 if word.isdigit() else 0
    return limit if 0 < limit < _memory_mib() else None


def _governor() -> str:
    cpus = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return " + ".join(sorted({read_text_or_empty(path) for path in cpus} - {""}))


def _power_mode() -> str:
    mode = re.search(r"NV Power Mode:\s*(\S+)", run_command("nvpmodel", "-q"))
    return mode.group(1) if mode else read_text_or_empty("/sys/firmware/acpi/platform_profile")


def _gpus() -> tuple[Gpu, ...]:
    gpus = [
        Gpu(name=gpu.name, driver=gpu.driver, memory_mib=gpu.memory_mib()) for gpu in nvml_devices()
    ]
    release = read_text_or_empty("/etc/nv_tegra_release")
    if tegra := re.search(r"R(\d+).*REVISION: ([\d.]+)", release):
        gpus = [Gpu(name="Tegra", driver=f"L4T {tegra.group(1)}.{tegra.group(2)}")]
    vendors = {"0x8086": "Intel", "0x1002": "AMD"}
    for card in sorted(Path("/sys/class/drm").glob("card[0-9]")):
        vendor = vendors.get(read_text_or_empty(card / "device/vendor"))
        if vendor:
            name = f"{vendor} {read_text_or_empty(card / 'device/device')}"
            gpus.append(Gpu(name=name, driver=(card / "device/driver").resolve().name))
    return tuple(gpus)


def _container() -> str:
    if Path("/.dockerenv").exists():
        return "docker"
    if Path("/run/.containerenv").exists():
        return "podman"
    names = r"docker|kubepods|lxc|containerd|podman"
    name = re.search(names, read_text_or_empty("/proc/1/cgroup"))
    return name[0] if name else read_text_or_empty("/run/systemd/container")


def _virtual() -> str:
    if hypervisor := read_text_or_empty("/sys/hypervisor/type"):
        return hypervisor
    flags = re.search(r"(?m)^flags\s*:.*\bhypervisor\b", read_text_or_empty("/proc/cpuinfo"))
    return "virtual machine" if flags else ""


def _system() -> str:
    name = re.search(r'(?m)^PRETTY_NAME="?([^"\n]*)', read_text_or_empty("/etc/os-release"))
    return name.group(1) if name else platform.system()


def _versions() -> dict[str, str]:
    versions = {}
    for package in (*PACKAGES, *distributions()):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    if not any(name.startswith("opencv") for name in versions) and "cv2" in sys.modules:
        versions["opencv"] = sys.modules["cv2"].__version__  # the system's is no distribution
    return versions
