"""Videos and pictures: every frame, in order; whole ones told from damaged ones."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.errors import SourceLostError, UsageError
from edgecnn_runtime.source import Source, open_source
from edgecnn_runtime.source.capture import RawFrame
from edgecnn_runtime.source.fake import FakeReader
from edgecnn_runtime.source.pictures import ImageFiles
from edgecnn_runtime.source.truncation import missing_bytes

MakeClip = Callable[..., Path]
ReadCounter = Callable[[np.ndarray], int]


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same 40 frames, their index first where a container allows it."""
    av = pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("containers")
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 255, (96, 128, 3), np.uint8)
    kinds = {
        "first.mp4": ("libx264", {"movflags": "faststart"}),
        "last.mp4": ("mpeg4", {}),
        "a.mkv": ("libx264", {}),
        "a.avi": ("mpeg4", {}),
    }
    for name, (codec, options) in kinds.items():
        with av.open(str(folder / name), "w", options=options) as out:
            stream = out.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
            for i in range(40):
                picture = np.ascontiguousarray(np.roll(ground, 5 * i, axis=1))
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
            out.mux(stream.encode())
    return {name: folder / name for name in kinds}


def read_until_lost(path: Path) -> tuple[int, str]:
    """How many frames came, and what was said at the end ("" for a clean one)."""
    count = 0
    try:
        with open_source(path) as source:
            for _ in source:
                count += 1
    except SourceLostError as error:
        return count, str(error)
    return count, ""


def test_every_frame_in_order_none_dropped(
    tmp_path: Path, make_clip: MakeClip, read_counter: ReadCounter
) -> None:
    with open_source(make_clip(tmp_path / "clip.mp4", frames=30)) as source:
        assert not source.live
        assert source.fps == pytest.approx(25)
        frames = []
        for frame in source:
            frames.append(frame)
            time.sleep(0.005)  # a consumer that takes its time
    assert [read_counter(frame.pixels) for frame in frames] == list(range(30))
    assert [frame.index for frame in frames] == list(range(30))
    assert [frame.pts for frame in frames] == pytest.approx([i / 25 for i in range(30)], abs=1e-3)
    steps = np.diff([frame.captured for frame in frames])
    assert steps == pytest.approx(np.full(29, 0.04), abs=1e-3)
    assert source.dropped == 0


@pytest.mark.parametrize("options", [{}, {"rotate": 90}, {"flip": "h"}], ids=str)
@pytest.mark.parametrize("kind", ["video", "picture"])
def test_frames_are_read_only_and_stay_as_they_came(
    tmp_path: Path, make_clip: MakeClip, kind: str, options: dict[str, Any]
) -> None:
    path = tmp_path / "picture.png"
    if kind == "video":
        path = make_clip(tmp_path / "clip.mp4", frames=10)
    else:
        save_picture(path, np.full((60, 80), 90, np.uint8))
    frames, copies = [], []
    with open_source(path, **options) as source:
        for frame in source:
            frames.append(frame.pixels)
            copies.append(frame.pixels.copy())
    for pixels, copy in zip(frames, copies, strict=True):
        np.testing.assert_array_equal(pixels, copy)
        with pytest.raises(ValueError, match="read-only"):
            pixels[:] = 0


def test_in_real_time_a_file_is_like_a_camera(
    tmp_path: Path, make_clip: MakeClip, read_counter: ReadCounter
) -> None:
    with open_source(make_clip(tmp_path / "clip.mp4", frames=50), realtime=True) as source:
        assert source.live
        began, frames = time.monotonic(), []
        for frame in source:
            assert frame.captured <= time.monotonic()
            frames.append(frame)
            time.sleep(0.1)
    assert time.monotonic() - began >= 49 / 25
    assert source.dropped > 10
    assert len(frames) + source.dropped == 50
    assert [read_counter(frame.pixels) for frame in frames] == [frame.index for frame in frames]


def test_a_file_that_is_decoded_slower_than_it_plays_plays_slower(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Otherwise each of its pictures would be older than the one before, and soon all too old."""

    class Slow(FakeReader):
        def read(self) -> RawFrame | None:
            time.sleep(0.05)
            return super().read()

    frames, times = [], []
    with Source("slow", lambda: Slow(100.0, count=30, live=False), realtime=True) as source:
        for frame in source:
            frames.append(frame)
            times.append(time.monotonic())
    assert frames[-1].captured - frames[0].captured > (times[-1] - times[0]) / 2
    assert [record.getMessage() for record in caplog.records] == [
        "slow: this machine cannot decode it at its own pace: it plays slower"
    ]


def test_a_loop_goes_on(tmp_path: Path, make_clip: MakeClip, read_counter: ReadCounter) -> None:
    with open_source(make_clip(tmp_path / "clip.mp4", frames=8), loop=True) as source:
        frames = [frame for frame, _ in zip(source, range(20), strict=False)]
    assert [read_counter(frame.pixels) for frame in frames] == [i % 8 for i in range(20)]
    assert [frame.pts for frame in frames] == pytest.approx([i / 25 for i in range(20)], abs=1e-3)


def test_closing_from_another_thread_ends_the_iteration(
    tmp_path: Path, make_clip: MakeClip
) -> None:
    with open_source(make_clip(tmp_path / "clip.mp4", frames=8), loop=True) as source:
        for count, _ in enumerate(source):
            if count == 10:
                threading.Thread(target=source.close).start()
        assert count >= 10
        assert source.read() is None


@pytest.mark.parametrize("name", ["first.mp4", "last.mp4", "a.mkv", "a.avi"])
def test_whole_videos_end_cleanly(containers: dict[str, Path], name: str) -> None:
    assert missing_bytes(containers[name]) == 0
    assert read_until_lost(containers[name]) == (40, "")


@pytest.mark.parametrize("name", ["first.mp4", "a.mkv", "a.avi"])
@pytest.mark.parametrize("cut", [1, 300, 0.5])
def test_a_video_cut_short_gives_what_it_has_and_says_so(
    containers: dict[str, Path], tmp_path: Path, name: str, cut: float
) -> None:
    whole = containers[name].read_bytes()
    lost = int(cut if cut >= 1 else len(whole) * cut)
    path = tmp_path / name
    path.write_bytes(whole[:-lost])
    count, says = read_until_lost(path)
    assert 0 < count <= 40
    assert f"ends in mid-frame, {lost} bytes are missing: {count} of about" in says


def test_a_video_cut_before_its_index(containers: dict[str, Path], tmp_path: Path) -> None:
    whole = containers["last.mp4"].read_bytes()
    path = tmp_path / "last.mp4"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceLostError, match=r"cut short, \d+ bytes are missing"):
        open_source(path)


@pytest.mark.parametrize("name", ["first.mp4", "last.mp4", "a.mkv"])
def test_a_video_with_a_hole_goes_on_behind_it_and_says_so(
    containers: dict[str, Path], tmp_path: Path, name: str
) -> None:
    raw = bytearray(containers[name].read_bytes())
    third = len(raw) // 3
    raw[third : third + len(raw) // 6] = np.random.default_rng(1).bytes(len(raw) // 6)
    path = tmp_path / name
    path.write_bytes(raw)
    count, says = read_until_lost(path)
    assert 0 < count < 40
    assert "is damaged" in says


def test_frames_hidden_by_an_edit_list_are_not_missed(
    containers: dict[str, Path], tmp_path: Path
) -> None:
    """A video trimmed without encoding it anew holds frames that it does not show."""
    av = pytest.importorskip("av")
    path = tmp_path / "trimmed.mp4"
    options = {"avoid_negative_ts": "disabled", "use_editlist": "1"}
    with (
        av.open(str(containers["last.mp4"])) as source,
        av.open(str(path), "w", options=options) as out,
    ):
        stream = source.streams.video[0]
        copied = out.add_stream_from_template(stream)
        shift = int(10 / 25 / stream.time_base)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = copied
                out.mux(packet)
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) == 40
    assert read_until_lost(path) == (30, "")


@pytest.mark.parametrize("content", [b"", b"no video at all", b"\x00" * 4096])
def test_a_file_that_is_no_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(SourceLostError, match="no video is found in it"):
        open_source(path)


@given(
    st.sampled_from([b"....ftyp", b"....mdat", b"RIFF....AVI ", b"\x1a\x45\xdf\xa3"]),
    st.binary(max_size=64),
)
def test_sizes_in_hostile_headers_do_no_harm(
    tmp_path_factory: pytest.TempPathFactory, magic: bytes, rest: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.bin"
    path.write_bytes(magic + rest)
    assert missing_bytes(path) >= 0


def save_picture(path: Path, pixels: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), pixels)
    return path


def test_a_folder_of_pictures_in_order(tmp_path: Path) -> None:
    for i in (2, 0, 1):
        save_picture(tmp_path / f"{i}.png", np.full((4 + i, 6, 3), 40 * i, np.uint8))
    (tmp_path / "notes.txt").write_text("not a picture")
    with open_source(f"{tmp_path}/") as source:
        frames = list(source)
    assert [frame.pixels.shape for frame in frames] == [(4, 6, 3), (5, 6, 3), (6, 6, 3)]
    assert [int(frame.pixels[0, 0, 0]) for frame in frames] == [0, 40, 80]
    assert {frame.pts for frame in frames} == {None}


@pytest.mark.parametrize(
    "stored",
    [
        np.array([[0, 25700], [51400, 65535]], np.uint16),
        np.array([[0, 100], [200, 255]], np.uint8),
        np.dstack(
            [np.array([[0, 100], [200, 255]], np.uint8)] * 3 + [np.full((2, 2), 9, np.uint8)]
        ),
    ],
    ids=["16 bits", "gray", "alpha"],
)
def test_pictures_of_other_kinds_become_bgr(tmp_path: Path, stored: np.ndarray) -> None:
    with open_source(save_picture(tmp_path / "a.png", stored)) as source:
        (frame,) = source
    expected = np.dstack([np.array([[0, 100], [200, 255]], np.uint8)] * 3)
    np.testing.assert_array_equal(frame.pixels, expected)


def test_a_picture_is_turned(tmp_path: Path) -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[0, 0] = 255
    with open_source(save_picture(tmp_path / "a.png", pixels), rotate=90, flip="v") as source:
        (frame,) = source
    assert frame.pixels.shape == (6, 4, 3)
    assert frame.pixels[5, 3].min() == 255


def test_a_picture_whose_name_is_no_utf8(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 6, 3), 90, np.uint8))
    (tmp_path / "a.png").rename(tmp_path / os.fsdecode(b"\xff.png"))
    picture = ImageFiles("pictures", [tmp_path]).read()
    assert picture is not None
    assert picture.pixels.shape == (4, 6, 3)
    assert picture.file == str(tmp_path / os.fsdecode(b"\xff.png"))


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no pictures in this folder"):
        open_source(tmp_path)


def test_pictures_that_cannot_be_read_are_named_after_the_others(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "b.jpg").write_bytes(b"not a picture")
    save_picture(tmp_path / "c.png", np.zeros((4, 4, 3), np.uint8))
    assert read_until_lost(tmp_path) == (
        2,
        f"{tmp_path}: 1 of 3 pictures cannot be read: b.jpg",
    )


def test_folders_are_walked_as_a_person_would_read_them(tmp_path: Path) -> None:
    names = [
        "2.png",
        "10.png",
        "B.PNG",
        "c/1.png",
        "c/d/02.png",
        "d.png",
        ".hidden.png",
        ".h/1.png",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        save_picture(tmp_path / name, np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "c" / "back").symlink_to(tmp_path)  # a link to a folder that it lies in
    with open_source(tmp_path) as source:
        files = [frame.file for frame in source]
    assert files == [str(tmp_path / name) for name in names[:6]]


@pytest.mark.parametrize("suffix", [".avif", ".gif", ".jpe", ".jfif", ".JPG", ".jp2", ".webp"])
def test_a_picture_may_end_in(tmp_path: Path, suffix: str) -> None:
    kind = {".jfif": ".jpg", ".JPG": ".jpg"}.get(suffix, suffix)
    try:
        _, data = cv2.imencode(kind, np.full((64, 64, 3), 90, np.uint8))
    except cv2.error:
        pytest.skip(f"this OpenCV writes no {kind}")
    (tmp_path / f"a{suffix}").write_bytes(data.tobytes())
    for path in (tmp_path, tmp_path / f"a{suffix}"):
        with open_source(path) as source:
            (frame,) = source
        assert frame.pixels.shape == (64, 64, 3)


def test_several_pictures_are_one_source(tmp_path: Path) -> None:
    names = [tmp_path / f"{i}.png" for i in (3, 1, 2)]
    for name in names:
        save_picture(name, np.zeros((4, 4, 3), np.uint8))
    with open_source(names) as source:
        assert source.name == f"{names[0]} and 2 more"
        assert [frame.file for frame in source] == list(map(str, names))
    for paths, says in (([], "name at least one"), (["0"], "0 is not a picture")):
        with pytest.raises(UsageError, match=says):
            open_source(paths)


def test_a_picture_of_temperatures_does_not_end_the_others(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    save_picture(tmp_path / "b.tif", np.full((4, 4), 21.5, np.float32))
    (tmp_path / "c.heic").write_bytes(b"....ftypheic")
    save_picture(tmp_path / "d.png", np.zeros((4, 4, 3), np.uint8))
    count, says = read_until_lost(tmp_path)
    assert count == 2
    assert says.endswith(
        "2 of 4 pictures cannot be read: b.tif (float32), c.heic (convert HEIC to JPEG first)"
    )


def test_a_file_of_idx_is_a_folder_of_pictures(tmp_path: Path) -> None:
    pixels = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
        (tmp_path / name).write_bytes(
            b"\0\0\x08\x03" + np.array(pixels.shape, ">u4").tobytes() + pixels.tobytes()
        )
    test = tmp_path / "t10k-images-idx3-ubyte"
    for path, count in ((tmp_path, 3), (test, 3), (test / "00002", 1)):
        with open_source(path) as source:
            frames = list(source)
        assert [frame.file for frame in frames] == [str(test / f"0000{i}") for i in range(3)][
            -count:
        ]
        np.testing.assert_array_equal(frames[-1].pixels, np.dstack([pixels[2]] * 3))


def test_a_file_that_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"<html>404</html>")
    assert read_until_lost(tmp_path / "a.jpg") == (
        0,
        f"{tmp_path}/a.jpg cannot be read: no picture is found in a.jpg",
    )


LOCKED = """
import os, sys
from edgecnn_runtime.errors import SourceLostError
from edgecnn_runtime.source import open_source, pictures
os.setgroups([])
os.setresuid(65534, 65534, 65534)
for path in sys.argv[1:]:
    try:
        print(len(list(open_source(path))), "pictures")
    except SourceLostError as error:
        print(error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_pictures_that_may_not_be_read() -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        picture = save_picture(Path(place) / "a.png", np.zeros((4, 4, 3), np.uint8))
        picture.chmod(0o600)
        folder = Path(place) / "folder"
        folder.mkdir(mode=0o700)
        command = [sys.executable, "-c", LOCKED, str(picture), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert "permission denied for this user, uid 65534" in first
    assert "Permission denied for this user, uid 65534" in second


def test_a_camera_that_is_not_there() -> None:
    with pytest.raises(SourceLostError, match="/dev/video97: no such camera; found here:"):
        open_source(97)


def test_a_gstreamer_pipeline_is_read() -> None:
    """With a system's OpenCV: pip's has no GStreamer."""
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        pytest.skip("this OpenCV has no GStreamer: `make system` runs the tests with one that has")
    pipeline = "videotestsrc pattern=white ! video/x-raw,width=320,height=240"
    with open_source(f"gst:{pipeline}") as source:
        frame = next(iter(source))
    assert frame.pixels.shape == (240, 320, 3)
    assert frame.pixels.min() > 230
