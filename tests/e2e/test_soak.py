"""A minute and a half of `edgecnn soak`: every kind of fault at least once, and all limits hold."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip("av")
pytest.importorskip("starlette")

from edgecnn.cli import main
from edgecnn_bench.soak.cameras import has_rtsp_server
from edgecnn_bench.soak.daemon_process import find_mount
from edgecnn_bench.soak.faults import KINDS, OF_CAMERAS
from edgecnn_bench.soak.report import SoakReport

COLORS = ((230, 40, 40), (40, 230, 40), (40, 40, 230))
"""What the classifier of the tests tells apart: an event with each change."""


@pytest.fixture
def site(tmp_path: Path, make_bundle: Callable[..., Path]) -> Path:
    """Two cameras on a clip that changes its color every second."""
    writer = cv2.VideoWriter(
        str(tmp_path / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25, (320, 240)
    )
    for number in range(75):
        writer.write(np.full((240, 320, 3), COLORS[number // 25], np.uint8))
    writer.release()
    camera = {"source": "clip.mp4", "pipeline": str(make_bundle()), "read_timeout": 3}
    file = tmp_path / "site.yaml"
    cameras = {name: {**camera} for name in ("gate", "yard")}  # YAML without aliases
    file.write_text(yaml.safe_dump({"cameras": cameras}))
    return file


@pytest.mark.slow
def test_a_site_outlives_every_fault(site: Path) -> None:
    if not has_rtsp_server():
        pytest.skip("needs Debian's gir1.2-gst-rtsp-server-1.0 and python3-gi")
    before = sorted(site.parent.iterdir())
    words = ["soak", str(site), "--minutes", "1.5", "--json"]
    done = subprocess.run([sys.executable, "-m", "edgecnn", *words], capture_output=True, text=True)
    assert done.returncode in {0, 3}, done.stdout + done.stderr
    report = json.loads(done.stdout)
    possible = {*KINDS} - (set() if find_mount() else {"full disk"})
    times = {fault["kind"]: fault["count"] for fault in report["faults"]}
    assert {kind for kind, count in times.items() if count} == possible
    assert report["events"] > 20
    assert report["reconnects"] >= sum(times[kind] for kind in OF_CAMERAS - {"garbage", "stall"})
    missed = [check for check in report["checks"] if check["limit"] is not None
              and check["value"] > check["limit"]]  # fmt: skip
    assert missed == []
    assert done.returncode == 0
    assert sorted(site.parent.iterdir()) == before, "the soak's own site is left behind"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--faults", "stall,flood"], "--faults flood"),
        (["--minutes", "0"], "--minutes 0"),
        (["--clip", "nothing.mp4"], "nothing.mp4"),
    ],
)
def test_what_cannot_be_soaked_is_refused(
    site: Path, words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if not has_rtsp_server():
        pytest.skip("needs Debian's gir1.2-gst-rtsp-server-1.0 and python3-gi")
    camera = {"source": "rtsp://camera.example/main", "pipeline": "x.edge"}
    site.write_text(yaml.safe_dump({"cameras": {"gate": camera}}))
    assert main(["soak", str(site), *words]) == 2
    assert reason in capsys.readouterr().err


def test_a_real_camera_needs_a_clip(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not has_rtsp_server():
        pytest.skip("needs Debian's gir1.2-gst-rtsp-server-1.0 and python3-gi")
    camera = {"source": "rtsp://camera.example/main", "pipeline": "x.edge"}
    site.write_text(yaml.safe_dump({"cameras": {"gate": camera}}))
    assert main(["soak", str(site)]) == 2
    assert "--clip" in capsys.readouterr().err


def test_a_report_is_what_the_command_prints() -> None:
    import msgspec

    report = SoakReport(minutes=1, seed=1, cameras=1, events=1, reconnects=1, faults=[], checks=[])
    assert msgspec.json.decode(msgspec.json.encode(report), type=SoakReport) == report
