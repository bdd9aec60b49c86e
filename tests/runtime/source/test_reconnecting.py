"""A camera that is opened again: with readers that do what cameras do, and with a real one."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import pytest

from edgecnn_bench.soak.proxy import FaultyLink, LinkFault, LinkGroup
from edgecnn_runtime.errors import BackendMissingError, SourceLostError, SourceRefusedError
from edgecnn_runtime.source import Limits, ReconnectingSource, open_camera
from edgecnn_runtime.source.capture import RawFrame
from edgecnn_runtime.source.connection import Connection
from edgecnn_runtime.source.picture_check import PictureCheck
from edgecnn_runtime.types import Frame, Pixels

Camera = Callable[..., Any]
SHORT = Limits(open_timeout=0.3, read_timeout=0.6, stall=0.2, grace=0.1)
PATIENT = Limits(open_timeout=120.0, read_timeout=120.0)
"""For tests that are not about time-outs: a machine with other work is slow to answer."""


class Scripted:
    """A camera whose connections end as a test wants.

    Attributes:
        opens: How often it was opened.
        broken: What the next picture, or the next attempt, ends with.
        silent: Whether reads do not return.
        closed: How many readers were closed.
        lazy: Whether pictures are made only where somebody takes them.
    """

    live, fps = True, 50.0

    def __init__(self) -> None:
        self.opens = self.closed = 0
        self.broken: Exception | None = None
        self.silent = threading.Event()
        self.free = threading.Event()
        self.picture: Callable[[int], Pixels] = lambda i: np.full(
            (8, 16, 3), 50 + i % 100, np.uint8
        )
        self.stamp: Callable[[int], float] = lambda i: i / 50
        self.slow_to_open = self.lazy = False

    def open(self) -> "Scripted.Reader":
        self.opens += 1
        if self.slow_to_open:
            self.free.wait(60)
        if self.broken is not None:
            raise self.broken
        return Scripted.Reader(self)

    class Reader:
        """One connection."""

        live, fps = True, 50.0

        def __init__(self, camera: "Scripted") -> None:
            self.camera, self.numbers = camera, count()

        def read(self) -> RawFrame:
            camera = self.camera
            time.sleep(0.02)
            if camera.silent.is_set():
                camera.free.wait(60)
            if camera.broken is not None:
                raise camera.broken
            i = next(self.numbers)
            make = partial(camera.picture, i)
            return RawFrame(make if camera.lazy else make(), camera.stamp(i))

        def close(self) -> None:
            self.camera.closed += 1


class Story:
    """The changes that a source reported."""

    def __init__(self) -> None:
        self.changes: list[tuple[Connection, Connection]] = []
        self._condition = threading.Condition()

    def __call__(self, before: Connection, after: Connection) -> None:
        with self._condition:
            self.changes.append((before, after))
            self._condition.notify_all()

    @property
    def states(self) -> list[str]:
        return [after.state for _, after in self.changes]

    def wait_for(self, *states: str) -> None:
        """Until the latest changes are to these states."""
        with self._condition:
            assert self._condition.wait_for(
                lambda: tuple(self.states[-len(states) :]) == states, 60
            ), self.states


@contextmanager
def watching(camera: Scripted, **options: Any) -> Iterator[tuple[ReconnectingSource, Story]]:
    story = Story()
    options = {"limits": PATIENT, **options}
    with ReconnectingSource("scripted", camera.open, on_change=story, **options) as source:
        yield source, story
    camera.free.set()


def next_frame(source: ReconnectingSource) -> Frame:
    frame = source.wait_for(source.frames)
    assert frame is not None
    return frame


def test_a_camera_that_is_lost_comes_back_with_another_connection() -> None:
    camera = Scripted()
    with watching(camera) as (source, story):
        before = [next_frame(source) for _ in range(3)]
        story.wait_for("live")
        camera.broken = SourceLostError("scripted: unplugged")
        story.wait_for("backing-off")
        assert story.changes[-1][1].reason == "unplugged"
        camera.broken = None
        story.wait_for("backing-off", "live")
        while (frame := next_frame(source)).connection == 0:
            pass
        assert frame.connection == 1
        assert frame.index > before[-1].index
        assert source.connection.reconnects == 1
    assert source.wait_for(source.frames) is None
    assert camera.closed == 2


def test_a_camera_need_not_be_there_yet() -> None:
    camera = Scripted()
    camera.broken = SourceLostError("scripted: nothing listens there")
    with watching(camera) as (source, story):
        story.wait_for("backing-off")
        while camera.opens < 4:
            time.sleep(0.01)
        assert source.connection.unreachable
        assert story.states == ["backing-off"]  # three more attempts are no news
        camera.broken = None
        assert source.wait_open()
        story.wait_for("backing-off", "live")
        assert next_frame(source).connection == 0
        assert not source.connection.unreachable


def test_a_reason_that_changes_is_news() -> None:
    camera = Scripted()
    camera.broken = SourceLostError("scripted: nothing listens there")
    with watching(camera) as (_, story):
        story.wait_for("backing-off")
        camera.broken = SourceRefusedError("scripted: wrong user or password")
        story.wait_for("backing-off", "backing-off")
        attempts = camera.opens
        assert [after.reason for _, after in story.changes] == [
            "nothing listens there", "wrong user or password",
        ]  # fmt: skip
        time.sleep(0.5)
        assert camera.opens == attempts  # the account is not locked by us


def test_what_can_never_be_opened_ends() -> None:
    camera = Scripted()
    camera.broken = BackendMissingError("install it")
    with watching(camera) as (source, _), pytest.raises(BackendMissingError, match="install it"):
        source.wait_open()
    assert camera.opens == 1


def test_a_camera_that_was_never_there_can_be_given_up() -> None:
    camera = Scripted()
    camera.broken = SourceLostError("scripted: nothing listens there")
    with watching(camera) as (source, story):
        story.wait_for("backing-off")
        source.give_up()
        with pytest.raises(SourceLostError, match="nothing listens"):
            source.wait_open()


def test_a_read_that_does_not_return_is_abandoned_and_counted() -> None:
    camera = Scripted()
    with watching(camera, limits=SHORT) as (source, story):
        next_frame(source)
        story.wait_for("live")
        camera.silent.set()
        story.wait_for("stalled", "backing-off")
        camera.silent.clear()
        story.wait_for("live")
        assert source.abandoned == 1
        index = next_frame(source).index
        camera.free.set()  # what was abandoned returns at last; its picture is not shown
        frames = [next_frame(source) for _ in range(5)]
        assert [frame.index for frame in frames] == list(range(index + 1, index + 6))
        assert {frame.connection for frame in frames} == {1}


def test_a_camera_that_hangs_again_and_again_is_not_opened_without_end() -> None:
    camera = Scripted()
    camera.slow_to_open = True
    with watching(camera, limits=Limits(open_timeout=0.02, grace=0.01)) as (source, story):
        while "do not return" not in source.connection.reason:
            time.sleep(0.01)
        assert 1 <= camera.opens <= 5
        camera.slow_to_open = False
        camera.free.set()
        story.wait_for("live")


def test_a_short_silence_is_a_stall_and_no_loss() -> None:
    camera = Scripted()
    limits = Limits(open_timeout=60, read_timeout=60, stall=0.2)
    with watching(camera, limits=limits) as (source, story):
        story.wait_for("live")
        camera.silent.set()
        story.wait_for("live", "stalled")
        camera.silent.clear()
        camera.free.set()
        story.wait_for("stalled", "live")
        assert (camera.opens, source.connection.reconnects) == (1, 0)


def test_stamps_that_stand_still_are_a_frozen_camera() -> None:
    camera = Scripted()
    with watching(camera, limits=SHORT) as (_, story):
        story.wait_for("live")
        stamp = camera.stamp
        camera.stamp = lambda _: 3.0
        story.wait_for("stalled", "backing-off")
        stalled = story.changes[-2][1]
        assert stalled.problem == "frozen"
        assert "stand still" in stalled.reason
        camera.stamp = stamp
        story.wait_for("live")


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(("value", "problem"), [(90, "frozen"), (3, "black")])
def test_frozen_and_black_pictures_are_a_problem_of_a_live_camera(
    value: int, problem: str, lazy: bool
) -> None:
    """Nobody takes them."""
    camera = Scripted()
    camera.lazy = lazy
    limits = Limits(frozen=0.3, black=0.2) if value < 50 else Limits(frozen=0.3)
    with watching(camera, limits=limits) as (source, story):
        story.wait_for("live")
        good = camera.picture
        camera.picture = lambda _: np.full((8, 16, 3), value, np.uint8)
        story.wait_for("live", "live")
        assert source.connection.problem == problem
        camera.picture = good
        story.wait_for("live", "live", "live")
        assert source.connection.problem == ""
        assert camera.opens == 1


def test_a_slow_model_is_a_problem_of_its_camera() -> None:
    camera = Scripted()
    with watching(camera, too_slow=lambda: True) as (_, story):
        story.wait_for("live")
        assert story.changes[-1][1].problem == "too slow"  # one change, not two


def test_pause_hangs_up_and_resume_opens_again() -> None:
    camera = Scripted()
    with watching(camera) as (source, story):
        story.wait_for("live")
        source.pause()
        story.wait_for("paused")
        opens = camera.opens
        while camera.closed < opens:
            time.sleep(0.01)
        source.resume()
        story.wait_for("paused", "connecting", "live")
        assert camera.opens == opens + 1


def test_a_camera_that_is_paused_from_the_start_is_not_opened() -> None:
    camera = Scripted()
    with watching(camera, paused=True) as (source, story):
        assert source.connection.state == "paused"
        time.sleep(0.2)
        assert camera.opens == 0
        source.resume()
        story.wait_for("connecting", "live")
        assert camera.opens == 1


@pytest.mark.parametrize("lazy", [False, True])
def test_a_picture_of_another_size_is_shown_as_it_is(lazy: bool) -> None:
    camera = Scripted()
    camera.lazy = lazy
    with watching(camera) as (source, _):
        next_frame(source)
        camera.picture = lambda i: np.full((16, 8, 3), i % 200 + 30, np.uint8)
        while source.size != (8, 16):
            frame = next_frame(source)
        assert frame.pixels.shape == (16, 8, 3)


def test_what_nobody_takes_is_not_made_but_now_and_then_to_look_at_it() -> None:
    camera, made = Scripted(), []
    camera.lazy = True

    def picture(i: int) -> Pixels:
        made.append(i)
        return np.full((8, 16, 3), i % 200 + 30, np.uint8)

    camera.picture = picture
    with watching(camera) as (source, story):
        story.wait_for("live")
        while source.dropped < 40:
            time.sleep(0.02)
        assert 1 <= len(made) <= 10
        assert source.size == (16, 8)


def test_a_camera_may_be_closed_at_any_moment() -> None:
    camera = Scripted()
    for pause in range(40):
        with ReconnectingSource("scripted", camera.open) as source:
            time.sleep(pause / 20_000)
        assert source.wait_for(source.frames) is None


def test_a_defect_reaches_whoever_takes_the_frames() -> None:
    def defect(_before: Connection, _after: Connection) -> None:
        raise ZeroDivisionError

    camera = Scripted()
    source = ReconnectingSource("scripted", camera.open, on_change=defect)
    with source, pytest.raises(ZeroDivisionError):
        list(iter(lambda: source.wait_for(source.frames), None))


def check(pictures: list[Pixels], limits: Limits, step: float = 1.0) -> list[str | None]:
    looks = PictureCheck(limits)
    return [looks.problem(pixels, step * i) for i, pixels in enumerate(pictures)]


def test_what_changes_only_between_the_sampled_pixels_is_not_frozen() -> None:
    """Such as the seconds of a clock in the corner, over a scene that an encoder left out."""
    pictures = [np.full((720, 1280, 3), 90, np.uint8) for _ in range(8)]
    for i, picture in enumerate(pictures):
        picture[1, 1] = i
    assert check(pictures, Limits(frozen=3.0)) == [""] * 8
    assert check([pictures[0]] * 8, Limits(frozen=3.0)) == ["", "", "", *["frozen"] * 5]


def test_noise_in_the_dark_is_neither_black_nor_frozen() -> None:
    rng = np.random.default_rng(0)
    night = [rng.integers(0, 60, (72, 128, 3), np.uint8) for _ in range(8)]
    covered = [rng.integers(0, 20, (72, 128, 3), np.uint8) for _ in range(8)]
    limits = Limits(frozen=3.0, black=3.0)
    assert check(night, limits) == [""] * 8
    assert check(covered, limits) == ["", "", "", *["black"] * 5]


def test_a_real_camera_that_is_switched_off_and_on(camera: Camera) -> None:
    filmed = camera()
    story = Story()
    with open_camera(filmed.url(), limits=PATIENT, on_change=story) as source:
        assert source.wait_open()
        assert next_frame(source).connection == 0
        filmed.kill()
        story.wait_for("backing-off")
        camera("--port", str(filmed.port))
        story.wait_for("backing-off", "live")
        frame = next_frame(source)
        while frame.connection == 0:
            frame = next_frame(source)
        assert time.monotonic() - frame.captured < 30
        assert source.connection.reconnects == 1


def test_a_camera_that_comes_back_with_another_codec(
    camera: Camera, read_counter: Callable[[Pixels], int]
) -> None:
    filmed = camera()
    story = Story()
    with open_camera(filmed.url(), limits=PATIENT, on_change=story) as source:
        next_frame(source)
        filmed.kill()
        encoder = (
            "x265enc speed-preset=ultrafast tune=zerolatency key-int-max=10 ! h265parse "
            "! rtph265pay config-interval=1 name=pay0"
        )
        back = camera("--port", str(filmed.port), "--encoder", encoder)
        while (frame := next_frame(source)).connection == 0:
            pass
        assert read_counter(frame.pixels) in back.made


def test_steps_of_the_computer_s_clock_are_not_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    camera, now = Scripted(), time.time
    with watching(camera) as (source, story):
        story.wait_for("live")
        for step in (86400.0, -86400.0, 0.0):
            monkeypatch.setattr(time, "time", lambda step=step: now() + step)
            for _ in range(10):
                frame = next_frame(source)
                assert 0 <= time.monotonic() - frame.captured < 60
        assert camera.opens == source.connection.live_count == 1


def test_a_real_camera_that_hangs_is_opened_again_when_it_goes_on(camera: Camera) -> None:
    filmed = camera()
    story = Story()
    limits = Limits(open_timeout=30, read_timeout=3, stall=1)
    with open_camera(filmed.url(), limits=limits, on_change=story) as source:
        story.wait_for("live")
        filmed.freeze()
        story.wait_for("stalled", "backing-off")
        filmed.thaw()
        story.wait_for("live")
        assert source.connection.reconnects == 1


def test_a_wrong_password_is_told_from_a_camera_that_is_not_there(camera: Camera) -> None:
    filmed = camera("--user", "admin", "--password", "s3cret")
    story = Story()
    with open_camera(filmed.url(user="admin:wr0ng@"), limits=PATIENT, on_change=story) as source:
        story.wait_for("backing-off")
        assert "wrong user or password" in source.connection.reason
        assert "wr0ng" not in source.connection.reason
        assert source.connection.deadline - source.connection.since > 10


def test_a_camera_whose_resolution_changes_in_flight(camera: Camera) -> None:
    """It announces new parameters in its stream, and the connection stays."""
    filmed = camera("--resize", "30")
    story = Story()
    with open_camera(filmed.url(), limits=PATIENT, on_change=story) as source:
        sizes = set()
        while len(sizes) < 2:
            sizes.add(next_frame(source).pixels.shape[:2])
        assert sizes == {(240, 320), (120, 160)}


def test_a_network_that_spoils_bytes_stalls_and_hangs_up(
    camera: Camera, read_counter: Callable[[Pixels], int]
) -> None:
    """Through all of it, what is shown is a picture that the camera made, and it goes on."""
    filmed = camera("--size", "640x480")
    limits = Limits(open_timeout=20, read_timeout=4, stall=1)
    story = Story()
    with LinkGroup() as group:
        link = FaultyLink(group, filmed.port, seed=1)
        url = f"rtsp://127.0.0.1:{link.port}/cam"
        with open_camera(url, limits=limits, on_change=story) as source:
            faults: list[LinkFault] = ["garbage", "stall", "offline", "garbage"]
            for fault in faults:
                newest = max(filmed.made, default=-1)
                while read_counter(next_frame(source).pixels) <= newest:
                    pass
                link.set_fault(fault)
                if fault == "garbage":
                    time.sleep(1)
                else:
                    story.wait_for("backing-off")
                link.set_fault(None)
            before = next_frame(source).connection
            link.hang_up()
            while (frame := next_frame(source)).connection == before:
                pass
            assert read_counter(frame.pixels) in filmed.made
