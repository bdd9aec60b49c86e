"""A site of rendered clips and a real detector of colored squares."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecnn_runtime.daemon.site import load_site
from edgecnn_runtime.daemon.supervisor import Daemon

SITE = """\
# two clips as cameras
cameras:
  gate: {source: red.mp4, pipeline: BLOBS, loop: true}   # the front
  yard: {source: green.mp4, pipeline: BLOBS, loop: true}
sinks:
  log: {kind: jsonl, file: events.jsonl}
http: {listen: "127.0.0.1:0"}
state: state
"""


def write_clip(path: Path, color: tuple[int, int, int], fps: float = 10.0) -> None:
    """A square that comes, moves to the right and goes, in 6 s."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (640, 480))
    for step in range(60):
        pixels = np.full((480, 640, 3), 20, np.uint8)
        if 5 < step < 50:
            square = pixels[170:230, 50 + 8 * step : 110 + 8 * step]
            square[:] = color
            square[::4] = square[::4] // 2 + 20
        writer.write(pixels)
    writer.release()


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "red.mp4", (0, 0, 255))
    write_clip(folder / "green.mp4", (0, 255, 0))
    return folder


@pytest.fixture
def site(tmp_path: Path, clips: Path, color_bundles: dict[str, Path]) -> Path:
    """A site.yaml with two cameras; nothing runs."""
    for clip in clips.iterdir():
        (tmp_path / clip.name).symlink_to(clip)
    path = tmp_path / "site.yaml"
    path.write_text(SITE.replace("BLOBS", str(color_bundles["blobs"])))
    return path


@pytest.fixture
def serve(site: Path) -> Iterator[Callable[[], Daemon]]:
    """Starts the daemon of ``site`` in this process."""
    started: list[Daemon] = []

    def start() -> Daemon:
        daemon = Daemon(load_site(site))
        daemon.__enter__()
        started.append(daemon)
        return daemon

    yield start
    for daemon in started:
        daemon.__exit__()


def wait_until(condition: Callable[[], object], what: str, limit: float = 60.0) -> None:
    """Wait for something that happens in another thread; a limit that says "not hung"."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"waited {limit:g} s for {what}"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def until() -> Callable[..., None]:
    return wait_until
