"""What a measurement depends on, read from files as machines have them."""

import pytest

from edgecnn_runtime.device.fingerprint import gpu_names, numerics_key, performance_key, power_mode


def write(root, **files):
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_jetson(tmp_path):
    write(
        tmp_path,
        etc__nv_tegra_release="# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n",
        var__lib__nvpmodel__status="pmode:0002",
        sys__devices__system__cpu__cpu0__cpufreq__scaling_governor="schedutil\n",
        sys__devices__system__cpu__cpu1__cpufreq__scaling_governor="schedutil\n",
    )
    assert gpu_names(tmp_path) == ("Tegra R36 (release), REVISION: 4.3",)
    assert power_mode(tmp_path) == "0002 schedutil"


def test_a_workstation(tmp_path):
    write(
        tmp_path,
        proc__driver__nvidia__version="NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  "
        "Sun Jul 27\n",
        sys__firmware__acpi__platform_profile="balanced\n",
    )
    card = tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0/information"
    card.parent.mkdir(parents=True)
    card.write_text("Model: \t\t NVIDIA RTX A2000\nIRQ:   \t\t 85\n")
    assert gpu_names(tmp_path) == ("NVIDIA RTX A2000", "580.65.06")
    assert power_mode(tmp_path) == "balanced"


def test_a_machine_that_says_nothing(tmp_path):
    assert gpu_names(tmp_path) == ()
    assert power_mode(tmp_path) == ""


def test_cores_and_power_decide_speed_and_not_results(monkeypatch):
    before = numerics_key(), performance_key()
    assert before == (numerics_key(), performance_key())
    monkeypatch.setattr("edgecnn_runtime.device.fingerprint.usable_cores", lambda: 97)
    monkeypatch.setattr("edgecnn_runtime.device.fingerprint.power_mode", lambda: "15W")
    assert numerics_key() == before[0]
    assert performance_key() != before[1]


@pytest.mark.parametrize("name", ["cpu_model", "gpu_names"])
def test_another_processor_or_accelerator_changes_both(name, monkeypatch):
    before = numerics_key(), performance_key()
    monkeypatch.setattr(f"edgecnn_runtime.device.fingerprint.{name}", lambda: ("other",))
    monkeypatch.setattr("edgecnn_runtime.device.fingerprint.cpu_model", lambda: "other")
    assert numerics_key() != before[0]
    assert performance_key() != before[1]
