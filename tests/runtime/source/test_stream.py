"""Network streams: real RTSP and HTTP servers, their ages, and the ways they fail."""

import contextlib
import http.server
import io
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecnn_runtime.errors import BackendMissingError, SourceLostError, UsageError
from edgecnn_runtime.source import open_source
from edgecnn_runtime.source.address import parse_address
from edgecnn_runtime.source.capture import RawFrame
from edgecnn_runtime.source.clock import StreamClock
from edgecnn_runtime.source.decoder import VideoDecoder
from edgecnn_runtime.source.network import NetworkStream
from edgecnn_runtime.types import Frame

Camera = Callable[..., Any]
ReadCounter = Callable[[np.ndarray], int]
PATIENT: dict[str, Any] = {"open_timeout": 120.0, "read_timeout": 120.0}
"""For tests that are not about time-outs: a machine with other work is slow to answer."""


def test_a_slow_consumer_gets_fresh_frames(camera: Camera, read_counter: ReadCounter) -> None:
    """15 fps, looked at about 5 times a second: two of three are dropped, none is old."""
    filmed = camera("--fps", "15")
    with open_source(filmed.url(), **PATIENT) as source:
        assert source.live
        assert source.fps == pytest.approx(15)
        ages, truths, counters = [], [], []
        for frame in source:
            now = time.monotonic()
            counters.append(read_counter(frame.pixels))
            truths.append(now - filmed.made[counters[-1]])
            ages.append(now - frame.captured)
            if len(ages) == 20:
                break
            time.sleep(0.2)
    assert counters == sorted(set(counters))
    assert source.dropped >= 20
    # Encoder and decoder delay all frames alike. Medians, because the server may be interrupted
    # between looking at its clock and stamping a frame. Undrained, half would be 1.3 s old.
    offset = np.subtract(truths, ages)
    assert np.median(np.abs(offset - np.median(offset))) < 0.1
    assert np.median(np.abs(offset)) < 0.5
    assert np.median(truths) < 1.0


def developed(picture: RawFrame) -> np.ndarray:
    """A picture's pixels, which a live stream makes when they are asked for."""
    return picture.pixels() if callable(picture.pixels) else picture.pixels


def test_who_reads_too_slowly_gets_fewer_frames_and_knows_their_true_age(
    camera: Camera, read_counter: ReadCounter
) -> None:
    """The same stream without the thread that drains it: the time of read() would say "new"."""
    filmed = camera("--fps", "15")
    address = parse_address(filmed.url())
    reader = NetworkStream(address, transport="tcp", **PATIENT)
    clock, ages, truths, skipped = StreamClock(), [], [], 0
    try:
        for _ in range(30):
            picture = reader.read()
            assert picture is not None
            now = time.monotonic()
            ages.append(now - clock.captured(picture.pts, now))
            truths.append(now - filmed.made[read_counter(developed(picture))])
            skipped += picture.skipped
            if not picture.late or len(ages) > 10:
                time.sleep(0.2)
    finally:
        reader.close()
    assert skipped > 10
    late = slice(truths.index(min(truths)), None)
    assert max(truths[late]) - min(truths) < 1.0
    assert np.median(np.abs(np.subtract(truths, ages)[late] - min(truths))) < 0.1


def test_the_transport_is_chosen_for_each_source(camera: Camera) -> None:
    streamed, datagrams = camera("--only", "TCP"), camera("--only", "UDP")
    with (
        open_source(streamed.url(), transport="tcp", **PATIENT) as first,
        open_source(datagrams.url(), transport="udp", **PATIENT) as second,
    ):
        for source in (first, second, first, second):
            assert source.read() is not None
    for filmed, transport, other in ((streamed, "udp", "tcp"), (datagrams, "tcp", "udp")):
        with pytest.raises(SourceLostError, match=f"does not offer this transport: try {other}"):
            open_source(filmed.url(), transport=transport, **PATIENT)


def test_passwords_stay_out_of_names_and_errors(camera: Camera) -> None:
    filmed = camera("--user", "admin", "--password", "s3cret")
    with open_source(filmed.url(user="admin:s3cret@"), **PATIENT) as source:
        frame = source.read()
        assert frame is not None
        assert frame.source == source.name == filmed.url(user="admin:***@")
    for path, user, says in (
        ("cam", "admin:wr0ng@", "wrong user or password"),
        ("cam", "", "wrong user or password"),
        ("attic", "admin:s3cret@", "no such stream"),
    ):
        with pytest.raises(SourceLostError, match=says) as failed:
            open_source(filmed.url(path, user), **PATIENT)
        assert "s3cret" not in str(failed.value)
        assert "wr0ng" not in str(failed.value)
        assert failed.value.__cause__ is None
        assert failed.value.__suppress_context__


@contextmanager
def listening(*, silent: bool) -> Iterator[int]:
    """A port where connections are accepted and never answered, or not even accepted."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if silent:
            server.listen(8)
        yield server.getsockname()[1]


def test_an_address_nobody_answers() -> None:
    pytest.importorskip("av")
    with listening(silent=True) as port:
        began = time.monotonic()
        with pytest.raises(SourceLostError, match=r"no answer within 1\.5 s") as failed:
            open_source(f"rtsp://u:s3cret@127.0.0.1:{port}/cam", open_timeout=1.5)
        assert time.monotonic() - began >= 1.4
        assert "s3cret" not in str(failed.value)


def test_an_address_where_nothing_listens() -> None:
    pytest.importorskip("av")
    with listening(silent=False) as port, pytest.raises(SourceLostError, match="nothing listens"):
        open_source(f"rtsp://127.0.0.1:{port}/cam")


def test_one_dead_camera_does_not_hold_up_the_others(camera: Camera) -> None:
    """They are opened while the dead one is being waited for."""
    filmed = camera()
    with listening(silent=True) as port:
        dead = f"rtsp://127.0.0.1:{port}/cam"
        outcome: list[Exception] = []

        def wait_for_it() -> None:
            try:
                open_source(dead, **PATIENT)
            except SourceLostError as error:  # when the port closes
                outcome.append(error)

        waiting = threading.Thread(target=wait_for_it, daemon=True)
        waiting.start()
        with (
            open_source(filmed.url(), open_timeout=60.0) as first,
            open_source(filmed.url(), open_timeout=60.0) as second,
        ):
            assert first.read() is not None
            assert second.read() is not None
        assert waiting.is_alive()
        assert not outcome


def test_a_camera_that_dies_is_lost(camera: Camera) -> None:
    filmed = camera()
    with open_source(filmed.url(), **PATIENT) as source:
        assert source.read() is not None
        filmed.kill()
        with pytest.raises(SourceLostError):
            for _ in source:
                pass


def test_a_camera_that_freezes_is_lost_and_its_read_abandoned(camera: Camera) -> None:
    filmed = camera()
    with open_source(filmed.url(), open_timeout=120, read_timeout=10) as source:
        assert source.read() is not None
        filmed.freeze()
        with pytest.raises(SourceLostError, match=r"no answer within 10 s|no picture for 10 s"):
            for _ in source:
                pass
        with pytest.raises(SourceLostError):
            source.read()


X265 = (
    "x265enc speed-preset=ultrafast tune=zerolatency key-int-max=10 bitrate=4000 ! h265parse "
    "! rtph265pay config-interval=1 mtu=400 ! identity drop-probability={loss} name=pay0"
)


def bars(counter: int) -> np.ndarray:
    """The grays of the 16 bars behind the counter, as the camera films them."""
    return np.array(random.Random(counter).choices(range(32, 224), k=16))


def test_over_udp_h265_shows_only_pictures_of_which_nothing_was_lost(
    camera: Camera, read_counter: ReadCounter
) -> None:
    """The decoder conceals what is missing and says nothing; the numbers of the packets tell."""
    encoder = X265.format(loss=0.005)
    filmed = camera("--only", "UDP", "--bars", "--size", "640x480", "--encoder", encoder)
    frames = []
    with open_source(filmed.url(), transport="udp", **PATIENT) as source:
        for frame in source:
            frames.append(frame)
            if len(frames) == 20:
                break
    wrong = []
    for frame in frames:
        middles = frame.pixels[:, 20::40].mean(2)
        shown = np.concatenate([middles[20:200:20], middles[280:460:20]])
        full = (bars(read_counter(frame.pixels)) - 16) * 255 / 219
        wrong.append(np.abs(shown - full.clip(0, 255)).max() > 40)
    assert not any(wrong)


def test_a_stream_that_never_mends_says_that_packets_are_lost(camera: Camera) -> None:
    """Without key frames, and with one packet in twenty lost."""
    encoder = (
        "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=100000 intra-refresh=true "
        "bitrate=3000 ! rtph264pay config-interval=1 pt=96 mtu=400 "
        "! identity drop-probability=0.05 name=pay0"
    )
    filmed = camera("--only", "UDP", "--bars", "--size", "640x480", "--encoder", encoder)
    with (
        pytest.raises(SourceLostError, match=r"packets are lost .* try --transport tcp"),
        open_source(filmed.url(), transport="udp", open_timeout=120, read_timeout=10) as source,
    ):
        for _ in source:
            pass


def test_a_stream_of_sound_alone(camera: Camera) -> None:
    with pytest.raises(SourceLostError, match="carries no video"):
        open_source(camera("--sound").url(), **PATIENT)


@pytest.mark.parametrize("password", ["p#ss", "p/ss", "p?ss", "#1/2@3"])
def test_characters_that_a_password_must_not_have(password: str) -> None:
    pytest.importorskip("av")
    expected = (SourceLostError, UsageError)  # the latter where it cannot even be a port
    with listening(silent=False) as port, pytest.raises(expected) as failed:
        open_source(f"rtsp://admin:{password}@127.0.0.1:{port}/cam", **PATIENT)
    assert "if the password contains / ? # or @, write %2F %3F %23 or %40" in str(failed.value)
    assert password not in str(failed.value).partition("; ")[0]


@pytest.mark.parametrize("url", ["rtsp://{}/cam?user=a@b", "rtsp://admin:p%23ss@{}/cam"])
def test_other_addresses_get_no_advice_about_passwords(url: str) -> None:
    pytest.importorskip("av")
    with (
        listening(silent=False) as port,
        pytest.raises(
            SourceLostError, match=r"nothing listens there: is the camera on, is the port right\?$"
        ),
    ):
        open_source(url.format(f"127.0.0.1:{port}"), **PATIENT)


def test_pictures_without_a_stamp_are_not_shown_as_the_first(camera: Camera) -> None:
    """RTSP gives its first pictures no stamp: how old they are, nothing tells."""
    reader = NetworkStream(parse_address(camera().url()), transport="tcp", **PATIENT)
    with contextlib.closing(reader):
        pictures = [reader.read() for _ in range(20)]
    shown = [picture.pts for picture in pictures if picture and not picture.late]
    assert shown
    assert None not in shown


class Stream(http.server.BaseHTTPRequestHandler):
    """Motion JPEG as cheap cameras serve it: parts without time stamps."""

    pictures: tuple[bytes, ...] = ()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for data in self.pictures:
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            self.wfile.write(head.encode() + data + b"\r\n")
            time.sleep(0.1)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(handler: Any) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_motion_jpeg_has_no_time_stamps_and_makes_none_up() -> None:
    """10 pictures a second; FFmpeg would stamp them as 25, and they would age while they come."""
    pytest.importorskip("av")
    shades = range(0, 240, 8)
    pictures = (cv2.imencode(".png", np.full((64, 64, 3), v, np.uint8))[1] for v in shades)
    jpegs = tuple(cv2.imencode(".jpg", cv2.imdecode(data, 1))[1].tobytes() for data in pictures)
    handler = type("Camera", (Stream,), {"pictures": jpegs})
    with serving(handler) as url, open_source(f"{url}/video.mjpg", **PATIENT) as source:
        assert source.live
        frames: list[tuple[Frame, float]] = []
        with pytest.raises(SourceLostError, match=r"the connection was lost|the stream ended"):
            frames.extend((frame, time.monotonic()) for frame in source)
    assert len(frames) > 5
    assert {frame.pts for frame, _ in frames} == {None}
    assert np.median([now - frame.captured for frame, now in frames]) < 0.5
    assert frames[-1][0].pixels.mean() > 150


def test_a_picture_that_would_fill_the_memory_is_not_decoded() -> None:
    """A megabyte of JPEG is a gigabyte of pixels."""
    pytest.importorskip("av")
    huge = cv2.imencode(".jpg", np.full((8200, 8200), 128, np.uint8))[1].tobytes()
    handler = type("Camera", (Stream,), {"pictures": (huge,) * 15})
    with serving(handler) as url:
        # the size may be known before the first picture is decoded
        with (
            pytest.raises(SourceLostError) as caught,
            open_source(f"{url}/video.mjpg", **PATIENT) as source,
        ):
            next(iter(source))
        assert url in str(caught.value)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """The files of a folder."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def damaged_stream(make_squares: Callable[[int], np.ndarray]) -> bytes:
    """60 pictures as MPEG-TS, a key frame every 20, a part of the 26th lost on the way."""
    av = pytest.importorskip("av")
    out, rng = io.BytesIO(), np.random.default_rng(0)
    with av.open(out, "w", format="mpegts") as container:
        options = {"tune": "zerolatency", "g": "20", "sc_threshold": "0"}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for counter in range(60):
            picture = make_squares(counter)
            picture[:80] = rng.integers(0, 255, (80, 320, 3), np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")):
                if counter == 25:
                    raw = bytes(packet)
                    cut = av.Packet(raw[: len(raw) // 3] + raw[len(raw) // 2 :])
                    cut.pts, cut.dts, cut.time_base = packet.pts, packet.dts, packet.time_base
                    cut.stream = stream
                    packet = cut
                container.mux(packet)
    return out.getvalue()


def test_pictures_built_on_a_damaged_one_are_not_shown(
    make_squares: Callable[[int], np.ndarray],
    read_counter: ReadCounter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They would look right and be wrong: until the next key frame they repeat the damage."""
    # a busy machine would give up others, too
    monkeypatch.setattr("edgecnn_runtime.source.clock.MOST_BEHIND", PATIENT["open_timeout"])
    monkeypatch.setattr("edgecnn_runtime.source.clock.BEHIND", PATIENT["open_timeout"])
    data = damaged_stream(make_squares)

    class Endless(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with serving(Endless) as url:
        address = parse_address(f"{url}/live.ts")
        stream = NetworkStream(address, transport="tcp", **PATIENT)
        shown: dict[int, int] = {}
        with pytest.raises(SourceLostError), contextlib.closing(stream):
            shown.update(
                (read_counter(developed(picture)), picture.damaged)
                for picture in iter(stream.read, None)
                if picture
            )
    assert list(shown) == [*range(25), *range(40, 60)]
    assert {number: count for number, count in shown.items() if count} == {40: 15}


def test_each_damaged_picture_counts_once(make_squares: Callable[[int], np.ndarray]) -> None:
    """A part of a picture that MPEG-TS knows to be missing, and the decoder as well."""
    av = pytest.importorskip("av")
    data = damaged_stream(make_squares)
    cut = len(data) // 188 * 3 // 4 * 188
    with av.open(io.BytesIO(data[:cut] + data[cut + 188 :])) as container:
        decoder = VideoDecoder(av, container, threads=1, max_wait=60.0)
        packets = [*container.demux(decoder.stream)]
        assert any(packet.is_corrupt for packet in packets)
        whole = [len(decoder.decode(packet, 0.0)) for packet in packets]
        decoder.close()
    assert 25 < sum(whole) < 45
    assert sum(whole) + decoder.damaged == 60


def test_a_picture_that_is_too_large_is_refused_by_its_size(
    make_squares: Callable[[int], np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecnn_runtime.source.decoder.MAX_PIXELS", 320 * 240 - 1)
    (tmp_path / "live.ts").write_bytes(damaged_stream(make_squares))
    with serving(partial(Quiet, directory=str(tmp_path))) as url:
        words = r"live.ts has pictures of 320x240 pixels; those of more than 0.0768 million are not"
        with pytest.raises(SourceLostError, match=words):
            NetworkStream(parse_address(f"{url}/live.ts"), transport="tcp", **PATIENT)
    with pytest.raises(SourceLostError, match="it has pictures of 320x240 pixels"):
        open_source(tmp_path / "live.ts").read()


def test_a_video_over_http_is_a_file(
    tmp_path: Path, make_clip: Callable[..., Path], read_counter: ReadCounter
) -> None:
    pytest.importorskip("av")
    make_clip(tmp_path / "clip.mp4", frames=30)

    with (
        serving(partial(Quiet, directory=str(tmp_path))) as url,
        open_source(f"{url}/clip.mp4") as source,
    ):
        assert not source.live
        assert [read_counter(frame.pixels) for frame in source] == list(range(30))
        assert source.dropped == 0


def test_a_snapshot_over_http_is_shown_upright(tmp_path: Path) -> None:
    """The camera, or phone, that took it lay on its side: EXIF orientation 6."""
    pytest.importorskip("av")
    stored = cv2.imencode(".jpg", np.dstack([np.full((60, 80), v, np.uint8) for v in (9, 90, 200)]))
    jpeg = stored[1].tobytes()
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    head = b"\xff\xd8\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "snap.jpg").write_bytes(head + jpeg[2:])
    with serving(partial(Quiet, directory=str(tmp_path))) as url:
        with open_source(tmp_path / "snap.jpg") as source:
            (local,) = source
        with open_source(f"{url}/snap.jpg", **PATIENT) as source:
            far = source.read()
    assert far is not None
    assert far.pixels.shape == local.pixels.shape == (80, 60, 3)
    assert np.abs(far.pixels.astype(int) - local.pixels).max() <= 4


def test_hls_is_shown_at_its_own_pace(
    tmp_path: Path, make_squares: Callable[[int], np.ndarray], read_counter: ReadCounter
) -> None:
    """It comes a segment at a time, and not one picture per segment is looked at but all of them.

    The server pauses once, for 2 s; what comes behind that is not old for ever.
    """
    av = pytest.importorskip("av")
    over = threading.Event()

    def film() -> None:
        options = {"hls_time": "1", "hls_list_size": "5"}
        with av.open(str(tmp_path / "live.m3u8"), "w", format="hls", options=options) as out:
            stream = out.add_stream("libx264", rate=10, options={"g": "10", "tune": "zerolatency"})
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
            for counter in range(3000):
                picture = av.VideoFrame.from_ndarray(make_squares(counter), format="bgr24")
                out.mux(stream.encode(picture))
                if over.wait(2.0 if counter == 60 else 0.1):
                    return

    filming = threading.Thread(target=film, daemon=True)
    filming.start()
    try:
        while not (tmp_path / "live.m3u8").exists():
            time.sleep(0.1)
        with (
            serving(partial(Quiet, directory=str(tmp_path))) as url,
            open_source(f"{url}/live.m3u8", **PATIENT) as source,
        ):
            assert source.live
            frames, ages = [], []
            for frame in source:
                frames.append(frame)
                ages.append(time.monotonic() - frame.captured)
                if read_counter(frame.pixels) >= 90:
                    break
    finally:
        over.set()
        filming.join()
    assert source.dropped < len(frames) / 2
    assert np.median(ages[-10:]) < 1.0
    steps = np.diff([frame.captured for frame in frames])
    assert 0.05 < np.median(steps) < 0.15


def test_a_playlist_from_the_network_cannot_name_a_file_here(
    tmp_path: Path, make_clip: Callable[..., Path]
) -> None:
    pytest.importorskip("av")
    clip = make_clip(tmp_path / "private.mp4", frames=30)
    served = tmp_path / "served"
    served.mkdir()
    (served / "live.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{clip}\n#EXT-X-ENDLIST\n"
    )

    with (
        serving(partial(Quiet, directory=str(served))) as url,
        pytest.raises(SourceLostError),
        open_source(f"{url}/live.m3u8") as source,
    ):
        next(iter(source))


def test_without_pyav_the_line_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(BackendMissingError, match="pip install 'av>="):
        open_source("rtsp://127.0.0.1/cam")
