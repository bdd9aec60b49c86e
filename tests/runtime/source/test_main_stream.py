"""Frames of a stream that is not decoded: the right one, decoded when it is asked for."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.source import Limits, main_stream, open_source
from edgecnn_runtime.source.main_stream import MainStream
from edgecnn_runtime.types import Frame

Camera = Callable[..., Any]
ReadCounter = Callable[[np.ndarray], int]
PATIENT = Limits(open_timeout=120.0, read_timeout=120.0)


def wait_for_packets(main: MainStream, count: int) -> None:
    while main.received < count:
        time.sleep(0.02)


def test_the_frame_of_a_moment_is_decoded_when_it_is_asked_for(
    camera: Camera, read_counter: ReadCounter
) -> None:
    filmed = camera("--fps", "15")
    with (
        MainStream(filmed.url(), limits=PATIENT) as main,
        open_source(filmed.url(), open_timeout=120.0, read_timeout=120.0) as small,
    ):
        wait_for_packets(main, 30)
        assert main.decoded == 0
        errors = []
        for frame in small:
            if frame.index % 10 == 9 and (large := main.enlarge(frame)) is not None:
                errors.append(read_counter(large.pixels) - read_counter(frame.pixels))
                assert not large.pixels.flags.writeable
            if len(errors) == 8:
                break
    # Both streams' clocks have found their smallest delay; a neighbor is within its jitter.
    assert np.median(np.abs(errors)) <= 1
    assert main.decoded < main.received


def test_earlier_and_later_frames_of_a_group(camera: Camera, read_counter: ReadCounter) -> None:
    """Decoding goes on where it stands, and begins anew for a frame before that."""
    filmed = camera("--fps", "15")
    with MainStream(filmed.url(), limits=PATIENT) as main:
        wait_for_packets(main, 40)
        moments = [packet.captured for group in main._groups for packet in group][:-3]
        order = [5, 2, 9, 9, 1]
        counters = [shown(main.frame_at(moments[i]), read_counter) for i in order]
    assert [counter - counters[0] for counter in counters] == [i - 5 for i in order]


def shown(frame: Frame | None, read_counter: ReadCounter) -> int:
    assert frame is not None
    return read_counter(frame.pixels)


def test_what_is_turned_and_blacked_out(camera: Camera) -> None:
    def mask(pixels: np.ndarray) -> np.ndarray:
        pixels = pixels.copy()
        pixels[:10] = 0
        return pixels

    with MainStream(camera().url(), limits=PATIENT, rotate=90, mask=mask) as main:
        wait_for_packets(main, 20)
        frame = main.frame_at(main._groups[-1][0].captured)
        assert frame is not None
        assert frame.pixels.shape == (320, 240, 3)
        assert not frame.pixels[:10].any()


def test_a_moment_that_is_not_held_has_no_frame(camera: Camera) -> None:
    filmed = camera()
    with MainStream(filmed.url(), limits=PATIENT) as main:
        wait_for_packets(main, 20)
        assert main.frame_at(time.monotonic() - 60) is None
        assert main.frame_at(time.monotonic() + 60) is None
        filmed.kill()
        while main.connection.state == "live":
            time.sleep(0.02)
        assert main.frame_at(time.monotonic() - 0.5) is None


def test_what_is_held_has_an_end(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main_stream, "MAX_BYTES", 4000)
    with MainStream(camera("--bars").url(), limits=PATIENT) as main:
        wait_for_packets(main, 60)
        with main._lock:
            assert sum(packet.data.size for group in main._groups for packet in group) <= 4000


def test_only_a_network_stream_can_wait_undecoded() -> None:
    with pytest.raises(UsageError, match="over the network"):
        MainStream(0)
