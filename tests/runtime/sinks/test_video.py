"""Annotated videos and pictures: paced as their source, and never lost."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.sinks.encoders import H264, OpenCvVideo
from edgecnn_runtime.sinks.snapshot import PictureFolder, Snapshot
from edgecnn_runtime.sinks.video import Video
from edgecnn_runtime.types import Box, Detection, FrameResult

FACE = Detection(Box(10.0, 20.0, 110.25, 140.0), 0.93123, "face", 0, ((30.0, 40.5),))
MakeResult = Callable[..., FrameResult]


@pytest.fixture(params=["H.264", "MPEG-4"])
def encoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to write a video, whatever is installed."""
    from edgecnn_runtime.sinks import video

    if request.param == "H.264":
        pytest.importorskip("av")
    kind = {"H.264": H264, "MPEG-4": OpenCvVideo}[request.param]
    monkeypatch.setattr(video, "open_encoder", kind)
    return str(request.param)


def times(path: Path) -> list[float]:
    capture, stamps = cv2.VideoCapture(str(path)), []
    while capture.grab():
        stamps.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    return stamps


def test_a_video_keeps_the_pace_of_its_source(
    tmp_path: Path, encoder: str, frame_result: MakeResult
) -> None:
    path = tmp_path / "out.mp4"
    video = Video(path, fps=10.0)
    for i in range(15):
        video.write(frame_result([FACE], index=i, pts=i / 10, at=50 + i / 10))
    assert video.codec == encoder
    video.close()
    video.close()
    assert times(path) == pytest.approx([i / 10 for i in range(15)], abs=0.01)
    assert list(tmp_path.iterdir()) == [path]


def test_a_camera_that_pauses_pauses_in_the_video(
    tmp_path: Path, encoder: str, frame_result: MakeResult
) -> None:
    path = tmp_path / "out.mp4"
    video = Video(path, fps=10.0)
    for at in (0.0, 0.1, 2.1, 2.2):
        video.write(frame_result([FACE], age=0.05, at=100 + at))
    video.close()
    assert times(path)[-1] == pytest.approx(2.2, abs=0.05)


def test_a_pause_shows_the_frame_before_it(
    tmp_path: Path, encoder: str, frame_result: MakeResult
) -> None:
    path = tmp_path / "out.mp4"
    video = Video(path, fps=10.0)
    for gray, at in ((40, 0.0), (200, 1.0)):
        video.write(frame_result([], age=0.05, at=at, gray=gray))
    video.close()
    capture, levels = cv2.VideoCapture(str(path)), []
    while capture.grab():
        at, picture = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, capture.retrieve()[1]
        levels.append((at, picture[:100].mean()))
    assert len(levels) >= 2
    assert all(level == pytest.approx(40 if at < 0.95 else 200, abs=5) for at, level in levels)


def test_pictures_of_many_sizes_fit_one_video(
    tmp_path: Path, encoder: str, frame_result: MakeResult
) -> None:
    path = tmp_path / "out.mp4"
    video = Video(path, fps=0.0)
    for size in ((101, 151), (240, 320), (60, 40)):
        video.write(frame_result([FACE], size=size))
    video.close()
    capture = cv2.VideoCapture(str(path))
    assert capture.read()[1].shape[:2] in {(100, 150), (101, 151), (102, 152)}
    assert times(path)[-1] >= 0.9


def test_the_video_of_an_earlier_run_is_kept(
    tmp_path: Path, encoder: str, frame_result: MakeResult
) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"the old one")
    Video(path, fps=10.0).close()  # no frame, no video
    assert path.read_bytes() == b"the old one"
    for _ in range(2):
        video = Video(path, fps=10.0)
        video.write(frame_result([FACE]))
        video.close()
    assert (tmp_path / "out.1.mp4").read_bytes() == b"the old one"
    assert times(tmp_path / "out.2.mp4") == times(path) == [0.0]
    video = Video(path, fps=10.0, existing="overwrite")
    video.write(frame_result([FACE]))
    video.close()
    assert len(list(tmp_path.iterdir())) == 3


KILLED = """
import os, signal, sys
import numpy as np
from pathlib import Path
from edgecnn_runtime.sinks.video import Video
from edgecnn_runtime.types import Frame, FrameResult, Timings

video = Video(Path(sys.argv[1]), fps=25.0)
pixels = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
for i in range(100):
    frame = Frame(np.roll(pixels, i, axis=1), i, i / 25, i / 25, "")
    video.write(FrameResult(frame, "detect", [], None, Timings(0, 0, 0, 0)))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv", "out.avi"])
def test_a_recording_of_a_killed_process_can_be_played(tmp_path: Path, name: str) -> None:
    """All but its last second, and what the encoder still held."""
    pytest.importorskip("av")
    path = tmp_path / name
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -9
    assert len(times(path)) >= 60
    assert list(tmp_path.iterdir()) == [path]


def test_a_recording_can_be_played_while_it_grows(tmp_path: Path, frame_result: MakeResult) -> None:
    pytest.importorskip("av")
    path = tmp_path / "out.mp4"
    video = Video(path, fps=25.0)
    for i in range(100):
        video.write(frame_result([FACE], index=i, pts=i / 25, at=i / 25))
    assert len(times(path)) >= 60
    video.close()
    assert len(times(path)) == 100
    assert boxes(path) == ["ftyp", "free", "mdat", "moov"]  # no fragments any more


def boxes(path: Path) -> list[str]:
    """The types of an MP4's outer boxes."""
    data, at, types = path.read_bytes(), 0, []
    while at < len(data):
        types.append(data[at + 4 : at + 8].decode())
        at += int.from_bytes(data[at : at + 4], "big")
    return types


@pytest.mark.parametrize("name", ["2024-01-05T12:30:05.mp4", "http:a.mkv", "Zürich 车牌 100%.mp4"])
def test_any_name_may_be_written(
    tmp_path: Path, encoder: str, frame_result: MakeResult, monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:  # fmt: skip
    """FFmpeg takes what stands before a colon for a protocol."""
    monkeypatch.chdir(tmp_path)
    video = Video(Path(name), fps=10.0)
    video.write(frame_result([FACE]))
    video.close()
    assert len(times(tmp_path / name)) == 1


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_a_picture_too_large_for_a_video_is_named(
    tmp_path: Path, frame_result: MakeResult, name: str
) -> None:
    pytest.importorskip("av")
    video = Video(tmp_path / name, fps=10.0)
    with pytest.raises(EdgecnnError, match="takes 16384 pixels a side and not 20000x40"):
        video.write(frame_result([FACE], size=(40, 20000)))
    video.write(frame_result([FACE], size=(40, 20000)))  # said once
    video.close()
    assert list(tmp_path.iterdir()) == []


FULL = """
import resource, sys
import numpy as np
from pathlib import Path
from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.types import Frame, FrameResult, Timings
from edgecnn_runtime.sinks import encoders
from edgecnn_runtime.sinks import video

resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, 700_000))
video.open_encoder = getattr(encoders, sys.argv[1])
rng, path = np.random.default_rng(0), Path(sys.argv[2])
out = video.Video(path, fps=10.0)
message = ""
for closing in range(2):
    try:
        for i in range(0 if closing else 60):
            pixels = rng.integers(0, 255, (240, 320, 3), np.uint8)
            frame = Frame(pixels, i, i / 10, i / 10, "")
            out.write(FrameResult(frame, "detect", [], None, Timings(0, 0, 0, 0)))
        if closing:
            out.close()
    except EdgecnnError as error:
        message = str(error)
print(message)
"""


@pytest.mark.parametrize(
    ("kind", "name", "plays"),
    [
        ("H264", "out.mp4", True),
        ("H264", "out.mkv", True),
        ("OpenCvVideo", "out.mp4", False),
        ("OpenCvVideo", "out.avi", True),
    ],
)
def test_a_video_that_cannot_be_completed_is_reported(
    tmp_path: Path, kind: str, name: str, plays: bool
) -> None:
    """The kernel refuses to let the file grow, as it does on a full disk.

    What is on the disk by then can be played, but for MPEG-4 in an MP4 without its index.
    """
    if kind == "H264":
        pytest.importorskip("av")
    path = tmp_path / name
    path.write_bytes(b"the old one")
    command = [sys.executable, "-c", FULL, kind, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"cannot write {path}" in done.stdout
    assert (tmp_path / f"out.1{path.suffix}").read_bytes() == b"the old one"
    assert len(times(path)) > 10 if plays else not path.exists()


def test_recording_stops_while_it_can_still_be_completed(
    tmp_path: Path, encoder: str, monkeypatch: pytest.MonkeyPatch, frame_result: MakeResult
) -> None:
    from edgecnn_runtime.sinks import video as module

    path = tmp_path / "out.mp4"
    video = Video(path, fps=10.0)
    video.write(frame_result([FACE], pts=0.0))
    monkeypatch.setattr(module, "RESERVE", 1 << 62)  # no disk is that large
    later = (frame_result([FACE], pts=i / 10, at=i / 10) for i in range(1, 60))
    with pytest.raises(EdgecnnError, match="MiB are left on its disk"):
        list(map(video.write, later))
    video.close()
    assert 1 <= len(times(path)) <= 30


@pytest.mark.parametrize("name", ["out.jpg", "out.jpeg"])
def test_a_picture_too_large_for_jpeg_is_named(
    tmp_path: Path, frame_result: MakeResult, name: str
) -> None:
    snapshot = Snapshot(tmp_path / name)
    with pytest.raises(EdgecnnError, match=r"66000x20 is too large for \.jpe?g; name a \.png"):
        snapshot.write(frame_result([FACE], size=(20, 66000)))
    snapshot.write(frame_result([FACE]))
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_pictures_keep_their_names_and_folders(tmp_path: Path, frame_result: MakeResult) -> None:
    out, root = tmp_path / "out", tmp_path / "photos"
    folder = PictureFolder(out, root=root)
    for name in ("a.jpg", "b.PNG", "deep/a.jpg", "c.gif", "../d.jpg"):
        folder.write(frame_result([FACE], file=str(root / name)))
    folder.close()
    files = {str(path.relative_to(out)) for path in out.rglob("*.*")}
    assert files == {"a.jpg", "b.PNG", "deep/a.jpg", "c.gif.jpg", "d.jpg"}
    assert all(cv2.imread(str(out / name)).shape == (240, 320, 3) for name in files)


def test_a_snapshot_is_the_latest_frame(tmp_path: Path, frame_result: MakeResult) -> None:
    path = tmp_path / "now.png"
    snapshot = Snapshot(path)
    for size in ((60, 80), (120, 160)):
        snapshot.write(frame_result([FACE], size=size))
    snapshot.close()
    assert cv2.imread(str(path)).shape == (120, 160, 3)
    assert list(tmp_path.iterdir()) == [path]
