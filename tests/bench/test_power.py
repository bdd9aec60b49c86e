"""Energy and thermal sensors, read from trees laid out as the kernel lays them out."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_bench.nvml import nvml_devices
from edgecnn_bench.power import Counter, open_meters, tegrastats_watts, total
from edgecnn_bench.thermal import condition, external_load, throttling


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return root


RAPL = {
    "class/powercap/intel-rapl:0/name": "package-0",
    "class/powercap/intel-rapl:0/energy_uj": "1000000",
    "class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850",
    "class/powercap/intel-rapl:0:0/name": "core",
    "class/powercap/intel-rapl:0:0/energy_uj": "500000",
    "class/powercap/intel-rapl:0:0/max_energy_range_uj": "262143328850",
}
JETSON = {
    "class/hwmon/hwmon1/name": "ina3221",
    "class/hwmon/hwmon1/in1_label": "VDD_IN",
    "class/hwmon/hwmon1/in1_input": "5000",
    "class/hwmon/hwmon1/curr1_input": "2000",
    "class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV",
    "class/hwmon/hwmon1/in2_input": "5000",
    "class/hwmon/hwmon1/curr2_input": "800",
}


def test_a_machine_without_sensors_has_no_meters(tmp_path: Path) -> None:
    assert [m for m in open_meters(tmp_path) if m.covers != "gpu"] == []
    assert total({}, []) is None


def test_rapl_counts_the_package_and_not_its_parts_twice(tmp_path: Path) -> None:
    sys = tree(tmp_path, RAPL)
    meters = [m for m in open_meters(sys) if m.covers != "gpu"]
    assert [m.covers for m in meters] == ["cpu", "rail"]
    tree(sys, {"class/powercap/intel-rapl:0/energy_uj": "3500000"})
    joules = {m.name: m.joules() for m in meters}
    assert total(joules, meters) == (pytest.approx(2.5), "cpu")


@given(st.lists(st.floats(0, 90), min_size=1, max_size=20))
def test_a_counter_counts_on_when_it_wraps(steps: list[float]) -> None:
    position = 95.0
    meter = Counter("rapl", "cpu", lambda: position % 100.0, wraps_at=100.0)
    for step in steps:
        position += step
        counted = meter.joules()
    assert counted == pytest.approx(sum(steps), abs=1e-6)


def test_a_jetsons_sensors_are_integrated_and_the_board_is_the_total(tmp_path: Path) -> None:
    meters = [m for m in open_meters(tree(tmp_path, JETSON)) if m.covers != "gpu"]
    while min(m.joules() for m in meters) == 0.0:
        time.sleep(0.02)
    joules = {m.name: m.joules() for m in meters}
    for meter in meters:
        meter.close()
    assert joules["VDD_IN"] > joules["VDD_CPU_GPU_CV"] > 0
    assert total(joules, meters) == (joules["VDD_IN"], "board")


ORIN = (
    "11-22-2026 10:00:00 RAM 2448/7620MB (lfb 7x4MB) SWAP 0/3810MB CPU [3%@729,1%@729,0%@729] "
    "GR3D_FREQ 0% cpu@43.5C VDD_IN 4567mW/4512mW VDD_CPU_GPU_CV 560mW/555mW VDD_SOC 1401mW/1400mW"
)
NANO = "RAM 1000/3964MB CPU [10%@1479] POM_5V_IN 2500/2480 POM_5V_GPU 0/0 POM_5V_CPU 400/390"


@pytest.mark.parametrize(
    ("line", "watts"),
    [
        (ORIN, 4.567),
        (NANO, 2.5),
        ("VDD_GPU_SOC 1500mW/1500mW VDD_CPU_CV 500mW/500mW", 2.0),
        ("", 0),
    ],
)
def test_tegrastats_lines_of_every_generation(line: str, watts: float) -> None:
    assert tegrastats_watts(line) == pytest.approx(watts)


def test_an_ordinary_machine_is_not_held_back(tmp_path: Path) -> None:
    machine = condition(tmp_path, tmp_path)
    assert machine.throttled == ()
    assert machine.mhz is None
    assert machine.celsius is None or machine.celsius > 0


def test_clocks_temperatures_and_their_limits_are_seen(tmp_path: Path) -> None:
    sys = tree(
        tmp_path,
        {
            "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1000000",
            "devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "3000000",
            "devices/system/cpu/cpufreq/policy0/scaling_max_freq": "1500000",
            "devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": "3000000",
            "class/thermal/thermal_zone0/temp": "61500",
            "class/thermal/thermal_zone1/temp": "-256000",
            "class/thermal/cooling_device0/type": "cpufreq-cpu0",
            "class/thermal/cooling_device0/cur_state": "2",
            "class/thermal/cooling_device1/type": "pwm-fan",
            "class/thermal/cooling_device1/cur_state": "3",
            "devices/platform/soc/soc:firmware/get_throttled": "50005",
        },
    )
    machine = condition(sys)
    assert machine.mhz == 2000.0
    assert machine.celsius == 61.5
    assert set(machine.throttled) == {
        "cooling cpufreq-cpu0", "clock capped at 1500 of 3000 MHz", "under-voltage", "throttled",
    }  # fmt: skip


def test_throttle_events_between_two_moments_are_counted(tmp_path: Path) -> None:
    count = "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
    before = condition(tree(tmp_path, {count: "7"}))
    after = condition(tree(tmp_path, {count: "9"}))
    assert throttling([before, after]) == ("the processor throttled 2 times",)
    assert throttling([after, after]) == ()


def test_other_programs_are_told_from_this_one(tmp_path: Path) -> None:
    proc = tree(tmp_path, {"stat": "cpu  1000 0 0 9000 0 0 0 50 0 0"})
    before = condition(tmp_path, proc)
    after = condition(tmp_path, tree(tmp_path, {"stat": "cpu  100000 0 0 9000 0 0 0 50 0 0"}))
    assert external_load(before, after) > 0
    assert external_load(before, before) == 0


@pytest.fixture
def no_devices_cached() -> Iterator[None]:
    nvml_devices.cache_clear()
    yield
    nvml_devices.cache_clear()


def test_a_gpu_is_read_and_what_it_lacks_is_left_out(
    monkeypatch: pytest.MonkeyPatch, no_devices_cached: None
) -> None:
    def unsupported(*_: object) -> int:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    answers = {
        "nvmlInit": lambda: None,
        "nvmlSystemGetDriverVersion": lambda: "580.95.05",
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetName": lambda handle: f"GPU of {handle}",
        "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(total=80 << 30),
        "nvmlDeviceGetTotalEnergyConsumption": lambda handle: unsupported() if handle else 5000,
        "nvmlDeviceGetTemperature": lambda handle, _: unsupported() if handle else 61,
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda handle: 0x44 if handle else 0x01,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    first, second = nvml_devices()
    assert (first.name, first.driver, first.memory_mib()) == ("GPU of 0", "580.95.05", 80 << 10)
    assert (first.joules(), first.celsius(), first.throttled()) == (5.0, 61, ())
    assert (second.joules(), second.celsius()) == (0, None)
    assert second.throttled() == ("power cap", "thermal slowdown (hardware)")
    assert [m.name for m in open_meters(Path("/nowhere")) if m.covers == "gpu"] == ["gpu 0"]


def test_without_a_driver_there_are_no_gpus(
    monkeypatch: pytest.MonkeyPatch, no_devices_cached: None
) -> None:
    def absent() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", absent)
    assert nvml_devices() == ()
