"""What this machine says about itself."""

from pathlib import Path

import pytest

from edgecnn_runtime.daemon.health import free_bytes, temperature


def test_the_hottest_sensor_counts(tmp_path: Path) -> None:
    assert temperature(tmp_path) is None
    for zone, text in enumerate(["41500\n", "67000\n", "no number", "-274000\n", "999999\n"]):
        folder = tmp_path / f"thermal_zone{zone}"
        folder.mkdir()
        (folder / "temp").write_text(text)
    (tmp_path / "thermal_zone9").mkdir()
    assert temperature(tmp_path) == 67.0


def test_room_on_a_disk_is_counted(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) > 0
    with pytest.raises(OSError, match="No such file"):
        free_bytes(tmp_path / "gone")
