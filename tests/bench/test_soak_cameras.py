"""Clips as RTSP cameras: they loop, they say what they sent, and the faults between are real."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")

from edgecnn_bench.soak.cameras import ClipCameras, has_rtsp_server
from edgecnn_bench.soak.clips import draw_counter, read_counter, write_clip
from edgecnn_bench.soak.process import sample_process
from edgecnn_bench.soak.proxy import FaultyLink, LinkGroup
from edgecnn_runtime.errors import SourceLostError
from edgecnn_runtime.source import Source, open_source

PICTURES, FPS = 40, 20.0


@pytest.fixture
def clip(tmp_path: Path, make_clip: Callable[..., Path]) -> Path:
    out = tmp_path / "camera.mp4"
    assert write_clip(make_clip(tmp_path / "video.mp4", 15), out, pictures=PICTURES) == PICTURES
    return out


class Sent:
    """What the server says that it sent."""

    def __init__(self) -> None:
        self.times: dict[tuple[str, int], float] = {}

    def __call__(self, name: str, number: int, at: float) -> None:
        self.times[name, number] = at


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def cameras(clip: Path, sent: Sent) -> Iterator[ClipCameras]:
    if not has_rtsp_server():
        pytest.skip("needs Debian's gir1.2-gst-rtsp-server-1.0 and python3-gi")
    with ClipCameras({"gate": clip, "yard": clip}, fps=FPS, announce=sent) as playing:
        yield playing


@pytest.fixture
def link(cameras: ClipCameras) -> Iterator[FaultyLink]:
    with LinkGroup() as group:
        yield FaultyLink(group, cameras.port, seed=3)


def watch(address: str, **options: Any) -> Source:
    return open_source(address, open_timeout=10.0, **{"read_timeout": 10.0, **options})


@pytest.mark.parametrize("size", [(240, 320), (1080, 1920), (97, 128)])
def test_a_counter_is_read_as_it_was_drawn(size: tuple[int, int]) -> None:
    pixels = np.full((*size, 3), 100, np.uint8)
    for number in (0, 1, 0xA5F0, 0xFFFF):
        draw_counter(pixels, number)
        assert read_counter(pixels) == number


def test_two_cameras_play_a_clip_again_and_again(cameras: ClipCameras, sent: Sent) -> None:
    for name in ("gate", "yard"):
        with watch(cameras.url(name)) as source:
            numbers, ages = [], []
            for frame in source:
                numbers.append(read_counter(frame.pixels))
                ages.append(time.monotonic() - sent.times.get((name, numbers[-1]), np.inf))
                if len(numbers) > PICTURES + 10:
                    break
        steps = np.diff(numbers) % PICTURES
        assert max(numbers) < PICTURES
        assert np.median(steps) == 1
        assert sum(steps) > PICTURES, "it did not begin again"
        assert 0 <= np.median(ages) < 5


def test_a_killed_server_comes_back_at_its_port(cameras: ClipCameras) -> None:
    port = cameras.port
    cameras.kill()
    with pytest.raises(SourceLostError):
        watch(cameras.url("gate"))
    cameras.start()
    assert cameras.port == port
    with watch(cameras.url("gate")) as source:
        assert next(iter(source)) is not None


def test_a_link_hangs_up_and_takes_who_comes_back(cameras: ClipCameras, link: FaultyLink) -> None:
    address = cameras.url("gate", link.port)
    with watch(address) as source:
        frames = iter(source)
        next(frames)
        link.hang_up()
        with pytest.raises(SourceLostError):
            list(frames)
    link.set_fault("offline")
    with pytest.raises(SourceLostError):
        watch(address)
    link.set_fault(None)
    with watch(address) as source:
        next(iter(source))
    assert link.connections >= 3


def test_a_stalled_link_delivers_nothing_and_hangs_up_on_nobody(
    cameras: ClipCameras, link: FaultyLink
) -> None:
    with watch(cameras.url("gate", link.port), read_timeout=1.0) as source:
        frames = iter(source)
        next(frames)
        link.set_fault("stall")
        with pytest.raises(SourceLostError):
            list(frames)
    link.set_fault(None)


def test_garbage_ends_in_an_error_or_passes_and_crashes_nothing(
    cameras: ClipCameras, link: FaultyLink
) -> None:
    link.set_fault("garbage")
    end = time.monotonic() + 3
    while time.monotonic() < end:
        try:
            with watch(cameras.url("gate", link.port), read_timeout=1.0) as source:
                for _ in source:
                    if time.monotonic() > end:
                        break
        except SourceLostError:
            pass
    link.set_fault(None)
    with watch(cameras.url("gate", link.port)) as source:
        frames = iter(source)
        assert [read_counter(next(frames).pixels) < PICTURES for _ in range(5)] == [True] * 5


BALLAST = """
import sys, threading
print("started", flush=True)
sys.stdin.readline()
over = threading.Event()
threads = [threading.Thread(target=over.wait) for _ in range(3)]
for thread in threads:
    thread.start()
files = [open(f"{sys.argv[1]}/{name}", "w") for name in "ab"]
ballast = b"1" * 50_000_000
print("loaded", flush=True)
sys.stdin.readline()
over.set()
"""


def test_a_process_is_measured(tmp_path: Path) -> None:
    # In a process of its own: in one with a past, memory may come from what was freed before.
    with subprocess.Popen(
        [sys.executable, "-c", BALLAST, str(tmp_path)], stdin=-1, stdout=-1, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        before = sample_process(process.pid)
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.readline() == "loaded\n"
        after = sample_process(process.pid)
        process.communicate()
    assert after.threads - before.threads == 3
    assert after.files - before.files == 2
    assert after.resident - before.resident > 0.9 * 50e6
    assert set(before.cpu) <= set(after.cpu)
    with pytest.raises(ProcessLookupError):
        sample_process(1 << 22)
