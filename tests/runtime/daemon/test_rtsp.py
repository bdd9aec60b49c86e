"""The daemon on real RTSP, and what is said while the camera is away."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")

from edgecnn_bench.soak.cameras import PACKAGES, ClipCameras, has_rtsp_server
from edgecnn_bench.soak.clips import write_clip
from edgecnn_runtime.daemon.supervisor import Daemon
from edgecnn_runtime.types import Event
from edgecnn_runtime.web.operations import EventQuery

FPS = 10.0


def states(daemon: Daemon) -> list[Event]:
    """Every change of a camera's state, the oldest first."""
    return list(reversed(daemon.events(EventQuery(type="camera", limit=500))))


def test_a_killed_camera_comes_back_and_no_secret_is_told(
    serve: Callable[[], Daemon],
    until: Callable[..., None],
    site: Path,
    clips: Path,
    color_bundles: dict[str, Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    if not has_rtsp_server():
        pytest.skip(f"needs {PACKAGES}")
    caplog.set_level(logging.INFO)
    clip = site.parent / "clip.mp4"
    write_clip(clips / "red.mp4", clip, pictures=60, fps=FPS, counter=False)
    with ClipCameras({"gate": clip}, fps=FPS) as cameras:
        site.write_text(
            "cameras:\n"
            f"  gate: {{source: '{cameras.url('gate')}', credentials: 'somebody:geheim77',\n"
            f"         pipeline: {color_bundles['blobs']}}}\n"
            "http: {listen: ''}\n"
            "state: state\n"
        )
        daemon = serve()

        def is_in(state: str) -> bool:
            return daemon.cameras()[0].state == state

        until(lambda: is_in("live"), "the camera")
        cameras.kill()
        until(lambda: is_in("backing-off"), "the outage to be noticed")
        assert daemon.cameras()[0].reason
        cameras.start()
        until(lambda: daemon.cameras()[0].reconnects == 1, "the camera again")
        frames = daemon.cameras()[0].stats.frames
        until(lambda: daemon.cameras()[0].stats.frames > frames + 5, "results")
        ages = daemon.cameras()[0].stats.age
        assert ages is not None
        assert np.isfinite(ages).all()
        until(lambda: [e.details["state"] for e in states(daemon)].count("live") == 2, "events")
        assert len({event.id for event in states(daemon)}) == len(states(daemon))
        for text in (caplog.text, str(states(daemon)), str(daemon.cameras())):
            assert "geheim77" not in text
            assert "somebody:***@" in text or "rtsp" not in text
