"""A camera that is looked at in its small stream, and whose crops come from its large one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecnn_bench.soak.cameras import ClipCameras, has_rtsp_server
from edgecnn_runtime.daemon.supervisor import Daemon
from edgecnn_runtime.web.operations import EventQuery

Serve = Callable[[], Daemon]
Until = Callable[..., None]


def write_h264(path: Path, width: int, height: int) -> None:
    """A red square that comes, moves to the right and goes, in 6 s."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=10, options={"bf": "0", "g": "10"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        side, step = width // 10, width // 80
        for i in range(60):
            pixels = np.full((height, width, 3), 20, np.uint8)
            if 5 < i < 50:
                left = width // 12 + step * i
                pixels[height // 3 : height // 3 + side, left : left + side] = (0, 0, 255)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
        out.mux(stream.encode())


@pytest.fixture
def cameras(tmp_path: Path) -> Iterator[ClipCameras]:
    if not has_rtsp_server():
        pytest.skip("needs Debian's gir1.2-gst-rtsp-server-1.0 and python3-gi")
    clips = {"main": tmp_path / "main.mp4", "sub": tmp_path / "sub.mp4"}
    write_h264(clips["main"], 640, 480)
    write_h264(clips["sub"], 320, 240)
    with ClipCameras(clips, fps=10.0) as cameras:
        yield cameras


def test_crops_come_from_the_large_stream(
    serve: Serve, until: Until, site: Path, cameras: ClipCameras, color_bundles: dict[str, Path]
) -> None:
    (site.parent / "plates.yaml").write_text(
        f"detect: {{model: {color_bundles['blobs']}}}\n"
        f"recognize: {{model: {color_bundles['letters']}}}\n"
    )
    site.write_text(
        "cameras:\n"
        f"  gate: {{source: '{cameras.url('main')}', detect_source: '{cameras.url('sub')}',\n"
        "         pipeline: plates.yaml}\n"
        "http: {listen: '127.0.0.1:0'}\n"
        "state: state\n"
    )
    daemon = serve()

    def recognized() -> Any:
        return next(iter(daemon.events(EventQuery(type="recognized"))), None)

    until(lambda: recognized() is not None, "a reading")
    event = recognized()
    assert event.text
    evidence = daemon.evidence(event.id, "frame")
    assert evidence is not None
    assert cv2.imread(str(evidence)).shape == (480, 640, 3)
    assert event.box.x2 - event.box.x1 > 50  # in pixels of the large frame: 32 in the small one
    view = daemon.view("gate", timeout=10)
    assert view is not None
    assert view.result.frame.pixels.shape == (240, 320, 3)
    main = daemon.cameras()[0].main
    assert main is not None
    assert (main.state, main.reason) == ("live", "")
    changes = [each.details for each in daemon.events(EventQuery(type="camera"))]
    assert {each["state"] for each in changes if each.get("stream") == "main"} == {"live"}
    assert {each["state"] for each in changes if "stream" not in each} == {"live"}
