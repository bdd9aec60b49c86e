"""Video files as cameras and recorders write them, read by PyAV, and by OpenCV without it."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecnn_runtime.errors import SourceLostError, UsageError
from edgecnn_runtime.source import open_source
from edgecnn_runtime.source.decoder import VideoDecoder
from edgecnn_runtime.types import Frame

av = pytest.importorskip("av")

MakeClip = Callable[..., Path]
ReadCounter = Callable[[np.ndarray], int]
SIZE = (320, 240)
NOBODY = 65534


def smooth_pictures(count: int, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    """Different soft pictures, uint8[H,W,3] BGR, which every encoder keeps well."""
    coarse = np.random.default_rng(0).integers(0, 255, (count, 6, 8, 3), np.uint8)
    return [cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC) for picture in coarse]


def encode(
    path: Path,
    pictures: Sequence[np.ndarray],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times: Sequence[float] = (),
    options: dict[str, str] | None = None,
    setup: Callable[[Any], object] = lambda _: None,
    **color: int,
) -> Path:
    """Write a video of 25 fps, or with these times in seconds."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixels
        clock = Fraction(1, 1000 if times else 25)
        stream.codec_context.time_base = clock
        for name, value in color.items():
            setattr(stream.codec_context, name, value)
        setup(stream)
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame = frame.reformat(
                format=pixels,
                dst_colorspace=color.get("colorspace"),
                dst_color_range=color.get("color_range"),
            )
            frame.pts = round(times[i] / clock) if times else i
            frame.time_base = clock
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def read(path: str | Path, **options: Any) -> tuple[list[Frame], str]:
    """Every frame, and what was said at the end ("" for a clean one)."""
    frames: list[Frame] = []
    try:
        with open_source(path, **options) as source:
            frames.extend(source)
    except SourceLostError as error:
        return frames, str(error)
    return frames, ""


def rewrite(whole: Path, damaged: Path, *, number: int) -> Path:
    """Copy a video with a part of this packet replaced."""
    with av.open(str(whole)) as source, av.open(str(damaged), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for i, packet in enumerate(source.demux(video=0)):
            raw = bytearray(packet)
            if i == number:
                part = slice(len(raw) // 3, len(raw) // 2)
                raw[part] = np.random.default_rng(1).bytes(part.stop - part.start)
            copy = av.Packet(bytes(raw))
            copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            copy.is_keyframe, copy.stream = packet.is_keyframe, stream
            if raw:
                out.mux(copy)
    return damaged


@pytest.fixture
def without_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    """Call it once the clips are made: OpenCV reads from then on."""
    monkeypatch.setitem(sys.modules, "av", None)


@pytest.mark.parametrize(
    ("name", "size", "pixels"),
    [
        ("a.mp4", SIZE, "yuv420p"), ("odd.mp4", (318, 242), "yuv420p"), ("a.mkv", SIZE, "yuv444p"),
        ("hd.mp4", (1280, 720), "yuv420p"), ("odd.mkv", (317, 241), "yuv444p"),
    ],
)  # fmt: skip
def test_frames_are_those_that_opencv_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: tuple[int, int], pixels: str
) -> None:
    path = encode(tmp_path / name, smooth_pictures(6, size), pixels=pixels)
    ours, _ = read(path)
    monkeypatch.setitem(sys.modules, "av", None)
    theirs, _ = read(path)
    assert len(ours) == len(theirs) == 6
    for one, other in zip(ours, theirs, strict=True):
        assert one.pixels.flags.c_contiguous
        assert (
            np.abs(one.pixels.astype(int) - other.pixels).max() <= 2
        )  # another swscale's rounding
        assert one.pts == pytest.approx(other.pts, abs=1e-3)


@pytest.mark.parametrize(
    "color",
    [
        {}, {"color_range": 2}, {"colorspace": 1}, {"colorspace": 1, "color_range": 2},
        {"colorspace": 9, "pixels": "yuv420p10le"}, {"pixels": "yuv420p10le"},
    ],
    ids=str,
)  # fmt: skip
def test_colors_are_what_the_file_says(tmp_path: Path, color: dict[str, Any]) -> None:
    pictures = [np.full((240, 320, 3), shade, np.uint8) for shade in ((0, 0, 255), (200, 80, 10))]
    frames, _ = read(encode(tmp_path / "a.mp4", pictures, options={"qp": "0"}, **color))
    for frame, picture in zip(frames, pictures, strict=True):
        # Read with another matrix, red is off by 20; PyAV 17.1 rounds BT.2020 by 9.
        assert np.abs(frame.pixels.astype(int) - picture).max() <= 12


def test_interlaced_video_is_read(tmp_path: Path) -> None:
    pictures = smooth_pictures(10)
    options = {"flags": "+ildct+ilme", "x264-params": "tff=1", "crf": "12"}
    frames, says = read(encode(tmp_path / "tape.mp4", pictures, options=options))
    assert says == ""
    assert len(frames) == 10
    for frame, picture in zip(frames, pictures, strict=True):
        assert np.abs(frame.pixels.astype(int) - picture).mean() < 8


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm", "ts", "avi", "flv"])
def test_a_rate_that_varies_is_no_damage(
    tmp_path: Path,
    ending: str,
    read_counter: ReadCounter,
    make_squares: Callable[[int], np.ndarray],
) -> None:
    """A camera that slows down at night: 10 pictures at 25 fps, 10 at 2 fps, 5 at 25 fps."""
    times = [i / 25 for i in range(10)] + [0.4 + i / 2 for i in range(10)]
    times += [5.4 + i / 25 for i in range(5)]
    codec = "libvpx" if ending == "webm" else "libx264"
    pictures = [make_squares(i) for i in range(25)]
    path = encode(tmp_path / f"a.{ending}", pictures, codec=codec, times=times)
    frames, says = read(path)
    assert says == ""
    assert [read_counter(frame.pixels) for frame in frames] == list(range(25))
    if ending != "avi":  # which has one rate, and skips
        assert [frame.pts for frame in frames] == pytest.approx(times, abs=0.041)


def test_av1_is_read_or_its_reader_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "libsvtav1" not in av.codecs_available:
        pytest.skip("this PyAV does not encode AV1")
    path = encode(tmp_path / "a.mp4", smooth_pictures(5), codec="libsvtav1")
    frames, says = read(path)
    assert (len(frames), says) == (5, "")
    monkeypatch.setitem(sys.modules, "av", None)
    frames, says = read(path)
    assert len(frames) == 5 or "PyAV reads more: pip install" in says


@pytest.mark.parametrize("pyav", [True, False], ids=["PyAV", "OpenCV"])
def test_a_file_without_time_stamps_has_its_nominal_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pyav: bool
) -> None:
    path = encode(tmp_path / "test.h264", smooth_pictures(20))
    if not pyav:
        monkeypatch.setitem(sys.modules, "av", None)
    frames, says = read(path)
    assert says == ""
    assert [frame.pts for frame in frames] == pytest.approx([i / 25 for i in range(20)], abs=1e-3)


def test_names_of_all_kinds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_clip: MakeClip
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=3)
    monkeypatch.chdir(tmp_path)
    for name in (
        "12:30:00.mp4",
        "100%d.mp4",
        " spaces and 'quotes'.mp4",
        os.fsdecode(b"caf\xe9.mp4"),
    ):
        (tmp_path / name).hardlink_to(clip)
        frames, says = read(Path(name))
        assert (len(frames), says) == (3, "")
        frames[0].source.encode()  # events and messages can hold it
    monkeypatch.setitem(sys.modules, "av", None)
    assert len(read(Path("12:30:00.mp4"))[0]) == 3
    with pytest.raises(SourceLostError, match="not UTF-8; PyAV reads more: pip install"):
        open_source(Path(os.fsdecode(b"caf\xe9.mp4")))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.h264", "m.avi"])
def test_bits_that_rotted_are_noticed(tmp_path: Path, name: str) -> None:
    """On an old memory card: blocks of a file that read as something else."""
    codec, options = ("mpeg4", {"b": "2000000"}) if name == "m.avi" else ("libx264", {})
    path = encode(tmp_path / name, smooth_pictures(50), codec=codec, options=options)
    assert read(path)[1] == ""
    data, rng = bytearray(path.read_bytes()), np.random.default_rng(0)
    for at in rng.integers(len(data) // 4, len(data) * 9 // 10, 10):
        data[at : at + 40] = rng.bytes(40)
    path.write_bytes(data)
    frames, says = read(path)
    assert "is damaged" in says
    assert len(frames) < 50


@pytest.mark.parametrize(("interval", "mended"), [(8, 16), (1000, 20)])
def test_a_video_with_rare_key_frames_or_none_goes_on(
    tmp_path: Path,
    make_squares: Callable[[int], np.ndarray],
    read_counter: ReadCounter,
    interval: int,
    mended: int,
) -> None:
    """One picture a second; the tenth is damaged: the next key frame mends it, or 5 s do."""
    rng = np.random.default_rng(0)
    pictures = [make_squares(counter) for counter in range(40)]
    for picture in pictures:
        picture[:80] = rng.integers(0, 255, (80, 320, 3), np.uint8)
    options = {"tune": "zerolatency", "g": str(interval), "sc_threshold": "0"}
    times = [float(i) for i in range(40)]
    whole = encode(tmp_path / "whole.mkv", pictures, options=options, times=times)
    damaged = rewrite(whole, tmp_path / "damaged.mkv", number=9)
    frames, says = read(damaged)
    counters = [read_counter(frame.pixels) for frame in frames]
    assert counters[:9] == list(range(9))
    assert counters[9] in range(14, mended + 1)
    assert counters[-20:] == list(range(20, 40))
    assert "is damaged" in says


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_packets_that_a_transport_stream_lost_are_noticed(tmp_path: Path, codec: str) -> None:
    """Recorded from the air; FFmpeg's decoder of H.265 says nothing."""
    options = {"g": "10", "x265-params": "log-level=none:keyint=10", "crf": "10"}
    path = encode(tmp_path / "a.ts", smooth_pictures(60), codec=codec, options=options)
    assert read(path)[1] == ""
    data = path.read_bytes()
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    inside = [i for i, packet in enumerate(packets) if packet[1:3] == b"\x01\x00"]
    del packets[inside[len(inside) // 2]]  # one of the video's, in mid-picture
    path.write_bytes(b"".join(packets))
    frames, says = read(path)
    assert "is damaged" in says
    assert 40 <= len(frames) < 60


def test_pictures_built_on_a_damaged_one_are_not_shown(
    tmp_path: Path, make_squares: Callable[[int], np.ndarray], read_counter: ReadCounter
) -> None:
    """They would look right and be wrong: until the next key frame they repeat the damage."""
    rng = np.random.default_rng(0)
    pictures = [make_squares(counter) for counter in range(60)]
    for picture in pictures:
        picture[:80] = rng.integers(0, 255, (80, 320, 3), np.uint8)
    options = {"tune": "zerolatency", "g": "20", "sc_threshold": "0", "x264-params": "threads=1"}
    whole = encode(tmp_path / "whole.mkv", pictures, options=options)
    damaged = rewrite(whole, tmp_path / "damaged.mkv", number=25)
    frames, says = read(damaged)
    assert [read_counter(frame.pixels) for frame in frames] == [*range(25), *range(40, 60)]
    assert f"{damaged} is damaged: 45 of about 60 frames were read" in says


def test_a_recording_that_begins_between_key_frames_is_whole(tmp_path: Path) -> None:
    """As a receiver cuts it: what cannot be decoded at its beginning is no damage."""
    path = encode(tmp_path / "a.ts", smooth_pictures(40), options={"g": "10", "sc_threshold": "0"})
    cut = tmp_path / "cut.ts"
    with av.open(str(path)) as source, av.open(str(cut), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        for packet in packets[5:]:
            packet.stream = stream
            out.mux(packet)
    frames, says = read(cut)
    assert says == ""
    assert len(frames) == 30


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_phone_that_was_turned(tmp_path: Path, degrees: int) -> None:
    upright = smooth_pictures(1, (240, 320))[0]
    stored = np.ascontiguousarray(np.rot90(upright, degrees // 90))  # counterclockwise
    path = encode(
        tmp_path / "a.mp4", [stored] * 3,
        setup=lambda stream: stream.set_display_rotation(-degrees % 360),
    )  # fmt: skip
    frames, _ = read(path)
    assert np.abs(frames[0].pixels.astype(int) - upright).mean() < 8


@pytest.mark.parametrize(
    ("aspect", "shape"),
    [
        (Fraction(1), (240, 320)), (Fraction(12, 11), (240, 349)), (Fraction(2), (240, 640)),
        (Fraction(1, 2), (480, 320)), (Fraction(1000), (240, 320)),
    ],
    ids=str,
)  # fmt: skip
def test_pixels_that_are_not_square_become_square(
    tmp_path: Path, aspect: Any, shape: tuple[int, int]
) -> None:
    path = encode(tmp_path / "a.mp4", smooth_pictures(2), sample_aspect_ratio=aspect)
    frames, _ = read(path)
    assert frames[0].pixels.shape == (*shape, 3)


def test_pictures_are_converted_after_their_container_was_closed(tmp_path: Path) -> None:
    """Whoever takes a live picture may do so when the camera was hung up already."""
    path = encode(tmp_path / "a.mp4", smooth_pictures(2), sample_aspect_ratio=Fraction(2))
    with av.open(str(path)) as container:
        decoder = VideoDecoder(av, container, threads=1, max_wait=1.0)
        packets = container.demux(decoder.stream)
        frame = next(frame for packet in packets for frame in decoder.decode(packet, 0.0))
        decoder.close()
    decoder.stream = None  # PyAV would answer, with what lies in memory that is not its own
    assert decoder.to_bgr(frame).shape == (240, 640, 3)


def test_without_pyav_every_frame_comes_in_order(
    tmp_path: Path, without_pyav: None, make_clip: MakeClip, read_counter: ReadCounter
) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=20)
    frames, says = read(path)
    assert says == ""
    assert [read_counter(frame.pixels) for frame in frames] == list(range(20))
    assert [frame.pts for frame in frames] == pytest.approx([i / 25 for i in range(20)], abs=1e-3)
    with open_source(path, loop=True) as source:
        looped = [frame for frame, _ in zip(source, range(50), strict=False)]
    assert [frame.pts for frame in looped] == pytest.approx([i / 25 for i in range(50)], abs=1e-3)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(SourceLostError, match="cut short, 300 bytes are missing"):
        open_source(path)


@pytest.mark.parametrize("count", [20, 300])
def test_without_pyav_what_may_be_interlaced_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """OpenCV 4.13 to 5.0 reads interlaced frames as zeros and says that all is well."""
    black = encode(tmp_path / "a.mp4", [np.zeros((48, 64, 3), np.uint8)] * count)
    assert len(read(black)[0]) == count
    monkeypatch.setitem(sys.modules, "av", None)
    frames, says = read(black)
    assert len(frames) <= 250
    assert "black" in says
    assert "PyAV reads more: pip install" in says


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Run as a user who owns nothing, if this is root; others are refused as they are."""
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    yield
    if os.getuid() == 0:
        os.seteuid(0)


@pytest.fixture
def private(tmp_path_factory: pytest.TempPathFactory, make_clip: MakeClip) -> Iterator[Path]:
    """A folder with a clip and pictures in a folder, all of them for their owner alone."""
    folder = tmp_path_factory.mktemp("private")
    for parent in (folder.parent, folder.parent.parent):
        parent.chmod(0o755)
    make_clip(folder / "clip.mp4", frames=3).chmod(0)
    (folder / "pictures").mkdir(mode=0)
    (folder / "hall").mkdir()
    make_clip(folder / "hall" / "clip.mp4", frames=3)
    (folder / "hall").chmod(0)
    folder.chmod(0o755)
    yield folder
    for name in ("pictures", "hall"):
        (folder / name).chmod(0o700)


@pytest.mark.parametrize("pyav", [True, False], ids=["PyAV", "OpenCV"])
@pytest.mark.parametrize("name", ["clip.mp4", "pictures", "hall/clip.mp4"])
def test_what_this_user_may_not_read_is_named(
    private: Path, as_nobody: None, monkeypatch: pytest.MonkeyPatch, name: str, pyav: bool
) -> None:
    if not pyav:
        monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises((SourceLostError, UsageError), match="this user") as failed:
        open_source(private / name)
    assert str(private / name) in str(failed.value)


def test_a_file_may_take_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stitched scan of a billion pixels takes a slow device longer than a camera may take."""
    monkeypatch.setattr("edgecnn_runtime.source.capture.READER_GRACE", 0.0)
    cv2.imwrite(str(tmp_path / "scan.png"), np.zeros((6000, 6000), np.uint8))
    frames, says = read(tmp_path / "scan.png", open_timeout=1e-6, read_timeout=1e-6)
    assert (len(frames), says) == (1, "")


def test_in_real_time_no_pause_is_longer_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorder whose clock was set: its stamps jump by a day."""
    monkeypatch.setattr("edgecnn_runtime.source.capture.MAX_PAUSE", 0.1)
    times = [*(i / 25 for i in range(5)), *(86400 + i / 25 for i in range(5))]
    path = encode(tmp_path / "a.mkv", smooth_pictures(10), times=times)
    with open_source(path, realtime=True) as source:
        last = [frame.pts for frame in source][-1]
    assert last == pytest.approx(times[-1], abs=1e-3)
