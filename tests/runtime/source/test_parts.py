"""The small parts of a source: names, passwords, clock, slot, pixels."""

import threading
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.redaction import redact
from edgecnn_runtime.source import open_source
from edgecnn_runtime.source.address import parse_address
from edgecnn_runtime.source.clock import Backlog, StreamClock
from edgecnn_runtime.source.latest import Deferred, LatestSlot
from edgecnn_runtime.source.opencv import csi_pipeline, with_appsink
from edgecnn_runtime.source.orientation import orient, to_bgr


@pytest.mark.parametrize(
    ("spec", "kind", "target"),
    [
        (0, "device", "0"),
        ("2", "device", "2"),
        ("/dev/video3", "device", "/dev/video3"),
        ("/dev/v4l/by-id/usb-cam-index0?fps=5", "device", "/dev/v4l/by-id/usb-cam-index0"),
        ("/dev/v4l/by-path/pci-0:1.0", "device", "/dev/v4l/by-path/pci-0:1.0"),
        ("rtsp://cam/stream", "network", "rtsp://cam/stream"),
        ("RTSP://cam/stream", "network", "RTSP://cam/stream"),
        ("https://cam/live.mjpg?x=1", "network", "https://cam/live.mjpg?x=1"),
        ("csi://1", "csi", "1"),
        ("csi://", "csi", "0"),
        ("gst:videotestsrc ! appsink", "gst", "videotestsrc ! appsink"),
    ],
)
def test_a_source_is_known_by_its_name(spec: str | int, kind: str, target: str) -> None:
    address = parse_address(spec)
    assert (address.kind, address.target) == (kind, target)


def test_settings_of_a_camera() -> None:
    address = parse_address("0?width=1280&height=720&fps=30")
    assert address.target == "0"
    assert address.settings == {"width": 1280, "height": 720, "fps": 30}
    assert "width=640,height=480,framerate=15/1" in csi_pipeline(
        parse_address("csi://2?width=640&height=480&fps=15")
    )
    assert "sensor-id=2 " in csi_pipeline(parse_address("csi://2"))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("nowhere.mp4", "no such file"),
        ("ftp://host/clip.mp4", "no such kind of source ftp://"),
        ("0?exposure=3", "'exposure=3' is not a camera setting"),
        ("0?width=-1", "'width=-1' is not a camera setting"),
        ("csi://one", "by its number"),
        ("", "without a name"),
        ("gst: ", "without a name"),
        ("/dev/null", "neither a file nor a folder"),
    ],
)
def test_what_cannot_be_a_source(spec: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        open_source(spec)


@pytest.mark.parametrize(
    "wrong", [{"rotate": 45}, {"flip": "x"}, {"transport": "sctp"}, {"read_timeout": 0}]
)
def test_options_that_cannot_be_meant(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        open_source(0, **wrong)


def test_a_pipeline_is_completed_unless_it_is_complete() -> None:
    assert with_appsink("v4l2src").endswith("appsink drop=true max-buffers=1 sync=false")
    assert with_appsink("v4l2src ! appsink") == "v4l2src ! appsink"


@given(st.text() | st.from_regex(r"[0-9a-z:/?&=.@]{0,40}") | st.just("x" * 5000))
def test_any_text_is_an_address_or_a_usage_error(text: str) -> None:
    with suppress(UsageError):
        address = parse_address(text)
        assert address.target
        assert address.name


SECRET = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1).map(
    lambda text: f"pw{text}wp"
)


@given(SECRET, st.from_regex(r"[a-z]{1,8}", fullmatch=True))
def test_no_password_survives_redaction(password: str, user: str) -> None:
    assert password not in redact(f"rtsp://{user}:{password}@10.0.0.7:554/stream")


@given(
    st.from_regex(r"pw[A-Za-z0-9/+.%@:]{1,12}wp", fullmatch=True),
    st.sampled_from(["password", "PWD", "token", "api_key", "auth"]),
)
def test_no_password_of_a_query_or_pipeline_survives(password: str, key: str) -> None:
    assert password not in redact(f"http://cam/snap?size=2&{key}={password}&fps=5")
    assert password not in redact(
        f'gst:rtspsrc location=rtsp://cam user-pw="{password}" ! fakesink'
    )


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://cam/user=admin_password=hunter2_channel=1_stream=0.sdp?real_stream",
        "rtsp://cam/realmonitor?channel=1&authbasic=hunter2",
        "srt://cam:9000?passphrase=hunter2&mode=caller",
        "http://cam/stream?access_token=hunter2",
        "http://cam/stream?loginuse=admin&loginpas=hunter2",
        "http://cam/stream?usr=admin&psw=hunter2",
        "https://cam/live.m3u8?X-Amz-Signature=hunter2&sig=hunter2",
        "gst:souphttpsrc location=http://cam proxy-pw=hunter2 ! fakesink",
    ],
)
def test_no_password_survives_as_cameras_write_it(source: str) -> None:
    shown = redact(source)
    assert "hunter2" not in shown
    assert shown.startswith(source.partition("=")[0])


@pytest.mark.parametrize(
    "plain",
    [
        "rtsp://cam:8554/live", "/dev/video0", "a:b@c.mp4", "csi://0",
        "gst:videotestsrc ! x264enc key-int-max=30 ! fakesink",
    ],
)  # fmt: skip
def test_names_without_secrets_stay(plain: str) -> None:
    assert redact(plain) == plain


def test_redaction_names_the_user_and_the_host() -> None:
    shown = redact("rtsp://admin:s3:cr@t@10.0.0.7:554/live?token=abc&channel=1")
    assert shown == "rtsp://admin:***@10.0.0.7:554/live?token=***&channel=1"


@given(
    st.lists(st.floats(0, 3), min_size=1, max_size=50),
    st.floats(0, 1e6),
    st.floats(-1e6, 1e6),
)
def test_age_is_the_delay_beyond_the_smallest_one(
    delays: list[float], began: float, stamp: float
) -> None:
    """Truth known: picture i is taken at began + i/10 and arrives after delays[i], in order."""
    clock, arrival = StreamClock(), 0.0
    smallest = float("inf")
    for i, delay in enumerate(delays):
        taken = began + i / 10
        arrival = max(arrival, taken + delay)
        smallest = min(smallest, arrival - taken)
        captured = clock.captured(stamp + i / 10, arrival)
        assert captured <= arrival
        assert captured == pytest.approx(taken + smallest, abs=0.01)


@pytest.mark.parametrize("drift", [100e-6, -100e-6])
def test_a_camera_clock_that_drifts_does_not_age_its_pictures(drift: float) -> None:
    """A day at 1 fps, 20 ms of network jitter; without correction the error would be 8.6 s."""
    rng, clock = np.random.default_rng(0), StreamClock()
    worst = 0.0
    for taken in range(86400):
        arrival = taken + 0.05 + float(rng.exponential(0.02))
        captured = clock.captured(taken * (1 - drift), arrival)
        if taken > 60:
            worst = max(worst, abs(captured - taken))
    assert worst < 0.1


def test_a_camera_that_begins_anew_is_not_old() -> None:
    clock = StreamClock()
    for i in range(10):
        clock.captured(100 + i, 500 + i)
    assert clock.captured(0.0, 510.0) == 510.0
    assert clock.captured(1.0, 511.5) == pytest.approx(511.0, abs=0.001)


@pytest.mark.parametrize(("pace", "seconds"), [(0.6, 60), (0.9, 120), (0.99, 900), (0.9995, 14400)])
def test_stamps_that_are_not_real_time_do_not_age_the_pictures(pace: float, seconds: int) -> None:
    """A camera that stamps 25 pictures a second and sends 15 at night, and gentler ones."""
    rng, clock, ages = np.random.default_rng(0), StreamClock(), []
    for i in range(5 * seconds):
        taken = i / 5
        arrival = taken + 0.05 + float(rng.exponential(0.02))
        ages.append(arrival - clock.captured(taken * pace, arrival))
    assert max(ages[-len(ages) // 5 :]) < 0.5
    assert clock.pace == pytest.approx(pace, abs=0.01)


def test_stamps_that_are_real_time_again_are_believed_again() -> None:
    """By day it sends 25 a second again; a picture that is late then is seen to be late."""
    rng, clock, stamp = np.random.default_rng(0), StreamClock(), 0.0
    for i in range(600):
        arrival = i / 5 + float(rng.exponential(0.02))
        stamp += 0.2 * (0.6 if i < 300 else 1.0)
        clock.captured(stamp, arrival)
    assert clock.pace == 1.0
    assert 1.8 < 121.8 - clock.captured(stamp, 121.8) < 2.2


def test_a_stream_that_falls_behind_for_a_while_ages() -> None:
    """A network that is congested for 8 s delivers old pictures, and says so."""
    clock, age = StreamClock(), 0.0
    for i in range(140):
        arrival = i / 10 + max(0, i - 60) * 0.04
        age = arrival - clock.captured(i / 10, arrival)
    assert age > 3.0
    assert clock.pace == 1.0


@pytest.mark.parametrize("fps", [5, 25])
@pytest.mark.parametrize("speed", [2, 4, 50])
def test_what_was_buffered_before_connecting_is_recognized(fps: int, speed: float) -> None:
    """3 s of pictures that are read faster than they were taken, then live ones in pairs."""
    backlog, live, arrival = Backlog(), [], 0.0
    for i in range(20 * fps):
        due = i / fps - 3.0 + (i % 2) / fps
        arrival = max(arrival + 1 / fps / speed, due)
        if not backlog.holds(i / fps, arrival, waited=True):
            live.append(arrival - (i / fps - 3.0))
    assert max(live) < 0.5
    assert len(live) > 10


def test_a_stream_whose_stamps_run_fast_is_not_passed_over_for_ever() -> None:
    backlog = Backlog()
    holds = [backlog.holds(1.3 * i / 10, i / 10, waited=True) for i in range(200)]
    assert not any(holds[60:])


def test_pictures_without_stamps_are_live_once_they_have_to_be_waited_for() -> None:
    backlog = Backlog()
    holds = [backlog.holds(None, 0.1 * i, waited=waited) for i, waited in enumerate([False, True])]
    assert holds == [True, False]


def test_without_time_stamps_arrival_is_all_there_is() -> None:
    assert StreamClock().captured(None, 12.5) == 12.5


def test_a_slot_keeps_the_newest() -> None:
    slot: LatestSlot[int] = LatestSlot()
    assert [slot.put(i, replace=True) for i in range(3)] == [False, True, True]
    assert slot.take(1) == 2
    with pytest.raises(TimeoutError):
        slot.take(0.01)


def test_a_slot_that_may_not_drop_waits() -> None:
    slot: LatestSlot[int] = LatestSlot()

    def fill() -> None:
        for i in range(100):
            assert not slot.put(i, replace=False)
        slot.finish(ValueError("the end"))

    threading.Thread(target=fill, daemon=True).start()
    assert [slot.take(5) for _ in range(100)] == list(range(100))
    for _ in range(2):
        with pytest.raises(ValueError, match="the end"):
            slot.take(5)


def test_a_value_that_nobody_takes_is_never_made() -> None:
    slot: LatestSlot[int] = LatestSlot()
    made = []

    def make(i: int) -> int:
        made.append(i)
        return i

    for i in range(5):
        slot.put(Deferred(partial(make, i)), replace=True)
    assert (len(slot), made) == (1, [])
    assert slot.take(1) == 4
    slot.put(Deferred(partial(make, 5)), replace=True)
    assert slot.poll() == 5
    assert made == [4, 5]


def test_a_value_for_several_is_made_once() -> None:
    value = Deferred(object)
    slots: list[LatestSlot[object]] = [LatestSlot(), LatestSlot()]
    for slot in slots:
        slot.put(value, replace=True)
    first, second = (slot.poll() for slot in slots)
    assert first is second is value.value is not None


def test_where_making_a_value_fails_whoever_takes_it_is_told_and_the_slot_goes_on() -> None:
    slot: LatestSlot[float] = LatestSlot()
    slot.put(Deferred(lambda: 1 / 0), replace=True)
    with pytest.raises(ZeroDivisionError):
        slot.take(1)
    slot.put(2.0, replace=True)
    assert slot.take(1) == 2.0


def test_finishing_wakes_whoever_waits() -> None:
    slot: LatestSlot[int] = LatestSlot()
    slot.put(1, replace=True)
    waiting = threading.Thread(target=slot.put, args=(2,), kwargs={"replace": False}, daemon=True)
    waiting.start()
    slot.finish()
    waiting.join(5)
    assert not waiting.is_alive()
    assert slot.take(1) == 1
    assert slot.take(1) is None


GRAY = np.array([[0, 128], [200, 255]], np.uint8)


@pytest.mark.parametrize(
    "pixels",
    [GRAY, GRAY[:, :, None], GRAY.astype(np.uint16) * 257, np.dstack([GRAY] * 4)],
    ids=["gray", "gray with an axis", "16 bits", "BGRA"],
)
def test_every_layout_becomes_bgr(pixels: np.ndarray) -> None:
    np.testing.assert_array_equal(to_bgr(pixels), np.dstack([GRAY] * 3))


def test_yuyv_becomes_bgr() -> None:
    gray = np.full((2, 2, 2), 128, np.uint8)
    gray[..., 0] = 126  # luma, limited range
    assert np.ptp(to_bgr(gray).astype(int)) <= 1
    assert abs(int(to_bgr(gray)[0, 0, 0]) - 128) <= 1


def test_bgr_is_not_copied() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    assert to_bgr(pixels) is pixels
    assert orient(pixels, 0, "") is pixels


@pytest.mark.parametrize("pixels", [np.zeros((2, 2, 3), np.float32), np.zeros((2, 2, 5), np.uint8)])
def test_other_layouts_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(UsageError, match="not supported"):
        to_bgr(pixels)


@pytest.mark.parametrize(
    ("rotate", "flip", "shape", "corner"),
    [
        (0, "", (3, 2), (0, 0)), (90, "", (2, 3), (0, 2)), (180, "", (3, 2), (2, 1)),
        (270, "", (2, 3), (1, 0)), (0, "h", (3, 2), (0, 1)), (0, "v", (3, 2), (2, 0)),
        (0, "hv", (3, 2), (2, 1)), (90, "h", (2, 3), (0, 0)),
    ],
)  # fmt: skip
def test_orientation(
    rotate: Any, flip: Any, shape: tuple[int, int], corner: tuple[int, int]
) -> None:
    """Where the top left pixel of a picture 3 high and 2 wide ends up."""
    pixels = np.zeros((3, 2, 3), np.uint8)
    pixels[0, 0] = 255
    turned = orient(pixels, rotate, flip)
    assert turned.shape[:2] == shape
    assert tuple(np.argwhere(turned[..., 0])[0]) == corner
