"""Whose frame is next, and what becomes of the others: on a clock that only the test moves."""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.errors import SourceLostError, UsageError
from edgecnn_runtime.scheduler import Scheduler
from edgecnn_runtime.source.latest import Deferred, LatestSlot
from edgecnn_runtime.stats import StreamStats
from edgecnn_runtime.types import Embedding, Frame, FrameResult, Timings

PIXELS = np.zeros((2, 2, 3), np.uint8)
NOTHING = Embedding(np.zeros(1, np.float32))


class Engine:
    """An inference that takes ``seconds`` of a clock, during which ``elsewhere`` goes on."""

    def __init__(self, world: "World", seconds: float, batch_size: int = 1) -> None:
        self.world, self.seconds, self.batch_size = world, seconds, batch_size

    def measure(self) -> float:
        return self.seconds

    def __call__(self, frames: Sequence[Frame], /) -> list[FrameResult]:
        world, start = self.world, self.world.now
        for frame in frames:
            if frame.source in world.unfit:
                raise UsageError("the region is not inside this frame")
        world.runs.append([(frame.source, frame.index) for frame in frames])
        for frame in frames:
            newest = world.cameras[frame.source].frames
            world.stale += frame.live and len(newest) > 0
            world.waits.append(start - frame.captured)
        world.advance(self.seconds)
        return [FrameResult(frame, "embed", NOTHING, None, Timings(0, 0, 0, 0)) for frame in frames]


class Camera:
    """One camera or file of the world: a frame each ``period``, the first at ``phase``."""

    def __init__(self, period: float, phase: float, live: bool) -> None:
        self.period, self.live = period, live
        self.due, self.count = phase, 0
        self.frames: LatestSlot[Frame] = LatestSlot()
        self.results: LatestSlot[FrameResult] = LatestSlot()
        self.stats = StreamStats()
        self.received: list[int] = []
        self.sink_works = True


class World:
    """Cameras, one engine and a clock that moves while the engine works or everybody waits."""

    def __init__(self, seconds: float = 0.04, batches: Sequence[tuple[int, float]] = ()) -> None:
        self.now = 0.0
        self.runs: list[list[tuple[str, int]]] = []
        self.waits: list[float] = []
        self.stale = 0
        self.unfit: set[str] = set()
        self.cameras: dict[str, Camera] = {}
        self.scheduler = Scheduler(
            Engine(self, seconds),
            *(Engine(self, batch_seconds, size) for size, batch_seconds in batches),
            clock=lambda: self.now,
        )

    def add(
        self, name: str, fps: float = 0.0, *, phase: float = 0.0, live: bool = True, **limits: Any
    ) -> Camera:
        camera = Camera(1 / fps if fps else math.inf, phase if fps else math.inf, live)
        self.cameras[name] = camera
        self.scheduler.add(name, camera.frames, camera.results, stats=camera.stats, **limits)
        return camera

    def film(self, name: str, captured: float | None = None, pixels: Any = PIXELS) -> None:
        """A new frame of a camera; of a file only when there is room, as its thread would wait."""
        camera = self.cameras[name]
        if camera.live or not camera.frames.full:
            at = self.now if captured is None else captured
            frame = Frame(pixels, camera.count, at, None, name, camera.live)
            camera.frames.put(frame, replace=camera.live)
            camera.count += 1

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := min((c.due for c in self.cameras.values()), default=math.inf)) <= end:
            self.now = due
            for name, camera in self.cameras.items():
                if camera.due == due:
                    self.film(name)
                    camera.due += camera.period
            self.deliver()
        self.now = end
        self.deliver()

    def deliver(self) -> None:
        for camera in self.cameras.values():
            while camera.sink_works and (result := camera.results.poll()) is not None:
                camera.received.append(result.frame.index)

    def step(self) -> bool:
        worked = self.scheduler.step()
        self.deliver()
        return worked

    def play(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            if not self.step():
                self.advance(0.001)


def test_the_newest_frame_of_the_least_served_camera_is_next() -> None:
    world = World()
    for name in ("a", "b"):
        world.add(name)
    for name in ("a", "a", "a", "b"):
        world.film(name)
    assert world.step()
    for name in ("a", "b"):
        world.film(name)
    assert world.step()
    assert world.step()
    assert not world.step()
    assert world.runs == [[("a", 2)], [("b", 1)], [("a", 3)]]


def test_eight_cameras_on_a_slow_engine_are_fresh_and_served_alike() -> None:
    world = World(seconds=0.04)
    for i in range(8):
        world.add(str(i), fps=25, phase=0.0051 * i)
    world.play(60)
    served = Counter(name for ((name, _),) in world.runs)
    assert world.stale == 0
    assert np.percentile(world.waits, 95) <= 0.06
    assert max(served.values()) - min(served.values()) <= 1
    for camera in world.cameras.values():
        dropped = camera.stats.snapshot().dropped
        assert dropped == {"replaced": camera.count - len(camera.received) - len(camera.frames)}


def test_who_asks_for_little_gets_it_and_the_others_share_the_rest() -> None:
    world = World(seconds=0.04)
    for name, fps in (("slow", 5.0), ("fast", 25.0), ("faster", 60.0)):
        world.add(name, fps=fps)
    world.play(20)
    slow, fast, faster = (len(camera.received) for camera in world.cameras.values())
    assert world.cameras["slow"].stats.snapshot().dropped == {}
    assert slow >= 99
    assert abs(fast - faster) <= 2


def test_a_camera_that_comes_back_does_not_make_up_for_its_absence() -> None:
    world = World(seconds=0.04)
    world.add("steady", fps=25)
    world.add("absent", fps=25)
    world.cameras["absent"].due = 60.0
    world.play(60)
    before = len(world.runs)
    world.play(4)
    served = Counter(name for ((name, _),) in world.runs[before:])
    assert abs(served["steady"] - served["absent"]) <= 1


def test_a_file_beside_cameras_gives_every_frame_in_order() -> None:
    world = World(seconds=0.01)
    for i in range(3):
        world.add(str(i), fps=25)
    file = world.add("file", fps=1000, live=False)
    world.play(10)
    assert file.received == list(range(len(file.received)))
    assert file.stats.snapshot().dropped == {}
    cameras = [len(world.cameras[str(i)].received) for i in range(3)]
    assert min(cameras) >= 0.9 * 250  # the engine's hundred runs a second are enough for them
    assert len(file.received) >= 1000 - sum(cameras) - 1  # and what is left is the file's


@pytest.mark.parametrize(("live", "runs"), [(True, []), (False, [[("a", 0)]])])
def test_a_frame_that_is_too_old_is_dropped_unless_it_has_no_age(live: bool, runs: Any) -> None:
    world = World()
    camera = world.add("a", live=live, max_age=0.3)
    world.now = 10.0
    world.film("a", captured=9.69)
    assert world.step()
    assert world.runs == runs
    assert camera.stats.snapshot().dropped == ({"too old": 1} if live else {})
    world.film("a", captured=9.71)
    assert world.step()


def test_a_rate_limit_takes_the_newest_frame_when_it_is_due() -> None:
    world = World(seconds=0.001)
    camera = world.add("a", fps=25, rate=5)
    world.play(10)
    assert 49 <= len(camera.received) <= 51
    assert set(camera.stats.snapshot().dropped) == {"rate limit"}
    assert max(world.waits) <= 0.041


def test_a_camera_without_motion_is_looked_at_once_a_second() -> None:
    world = World(seconds=0.001)
    idle = world.add("idle", fps=25, idle_rate=1.0)
    busy = world.add("busy", fps=25)
    world.play(10)
    assert 10 <= len(idle.received) <= 11
    dropped = idle.stats.snapshot().dropped
    assert set(dropped) == {"no motion"}
    assert idle.count == len(idle.received) + dropped["no motion"] + len(idle.frames)
    assert busy.stats.snapshot().dropped == {}


def test_motion_is_looked_at_at_once_and_as_long_as_it_lasts() -> None:
    """What is compared is the last frame with a result, so that a slow motion adds up."""
    world = World(seconds=0.001)
    camera = world.add("a", idle_rate=1.0)
    picture = np.full((90, 160, 3), 100, np.uint8)

    def film(left: int, gray: int = 250) -> list[int]:
        pixels = picture.copy()
        pixels[40:50, left : left + 10] = gray
        world.film("a", pixels=pixels)
        world.advance(0.04)
        assert world.step()
        world.deliver()
        return camera.received

    assert film(10) == [0]
    assert film(10) == [0]
    assert film(30) == [0, 2]
    assert film(30) == [0, 2]
    for gray in range(250, 210, -10):  # each step is no more than noise
        film(30, gray)
    assert camera.received == [0, 2, 7]


def test_frames_of_a_file_are_not_compared() -> None:
    world = World(seconds=0.001)
    file = world.add("file", fps=100, live=False, idle_rate=1.0)
    world.play(1)
    assert len(file.received) >= 99


def test_a_sink_that_is_behind_costs_only_its_own_camera() -> None:
    world = World(seconds=0.04)
    jammed, free = world.add("jammed", fps=25), world.add("free", fps=25)
    file = world.add("file", fps=1000, live=False)
    jammed.sink_works = file.sink_works = False
    world.play(10)
    served = Counter(name for ((name, _),) in world.runs)
    assert served["jammed"] == served["file"] == 1
    assert served["free"] >= 240
    assert set(free.stats.snapshot().dropped) <= {"replaced"}
    dropped = jammed.stats.snapshot().dropped
    assert dropped["sink behind"] == jammed.count - 2
    jammed.sink_works = file.sink_works = True
    world.play(1)
    assert file.received == list(range(len(file.received)))
    assert jammed.received[1] >= 250  # what came meanwhile is old, and gone


def test_a_lost_source_ends_after_its_last_frame_and_alone() -> None:
    world = World()
    lost, other = world.add("lost"), world.add("other")
    for name in ("lost", "other"):
        world.film(name)
    lost.frames.finish(SourceLostError("unplugged"))
    while world.step():
        pass
    assert lost.received == [0]
    with pytest.raises(SourceLostError, match="unplugged"):
        lost.results.take()
    assert other.received == [0]
    world.film("other")
    assert world.step()
    assert not other.results.ended


def test_a_source_ends_also_after_a_last_frame_that_is_dropped() -> None:
    world = World()
    camera = world.add("a", max_age=0.3)
    world.film("a", captured=-1.0)
    camera.frames.finish()
    while world.step():
        pass
    assert camera.results.ended


@pytest.mark.parametrize("batches", [(), ((2, 0.041),)])
def test_a_frame_that_cannot_be_inferred_ends_its_camera_alone(batches: Any) -> None:
    world = World(batches=batches)
    unfit, other = world.add("unfit"), world.add("other")
    world.unfit.add("unfit")
    for name in world.cameras:
        world.film(name)
    while world.step():
        pass
    assert other.received == [0]
    with pytest.raises(UsageError, match="region"):
        unfit.results.take()


def test_a_camera_that_was_removed_is_not_served() -> None:
    world = World()
    world.add("a")
    with pytest.raises(ValueError, match="already"):
        world.add("a")
    world.film("a")
    world.scheduler.remove("a")
    world.scheduler.remove("a")
    assert not world.step()


@pytest.mark.parametrize(
    ("waiting", "batch_seconds", "max_age", "sizes"),
    [
        (4, 0.1, 0.5, [4]),  # 25 ms per frame instead of 40
        (3, 0.1, 0.5, [3]),
        (2, 0.1, 0.5, [1, 1]),  # 50 ms per frame
        (1, 0.1, 0.5, [1]),
        (6, 0.1, 0.5, [4, 1, 1]),
        (4, 0.17, 0.5, [1, 1, 1, 1]),  # no gain
        (4, 0.1, 0.09, [1, 1, 1]),  # what came meanwhile would be late; so is the fourth
    ],
)
def test_a_batch_is_taken_where_it_is_faster_and_in_time(
    waiting: int, batch_seconds: float, max_age: float, sizes: list[int]
) -> None:
    world = World(seconds=0.04, batches=[(4, batch_seconds)])
    for i in range(waiting):
        world.add(str(i), max_age=max_age)
        world.film(str(i))
    while world.step():
        pass
    assert [len(run) for run in world.runs] == sizes


moves = st.lists(
    st.sampled_from(["live", "file", "jam", "step", "step"]) | st.floats(0.01, 0.6), max_size=60
)


@given(
    moves, st.sampled_from([None, 4.0]), st.sampled_from([(), ((2, 0.05),)]),
    st.sampled_from([None, 2.0]),
)  # fmt: skip
def test_every_frame_has_a_result_or_is_counted(
    moves: list[Any], rate: float | None, batches: Any, idle_rate: float | None
) -> None:
    world = World(batches=batches)
    world.add("live", max_age=0.3, rate=rate, idle_rate=idle_rate)
    world.add("file", live=False)
    for move in moves:
        if move == "step":
            world.step()
        elif move == "jam":
            world.cameras["live"].sink_works ^= True
        elif isinstance(move, float):
            world.advance(move)
        else:
            world.film(move)
    live, file = world.cameras.values()
    for camera in (live, file):
        counts = len(camera.received), len(camera.results), len(camera.frames)
        assert camera.count == sum(counts) + sum(camera.stats.snapshot().dropped.values())
        assert camera.received == sorted(set(camera.received))
    assert file.stats.snapshot().dropped == {}
    assert world.stale == 0


def serve(inference: Any) -> tuple[Scheduler, threading.Thread, list[BaseException]]:
    """A scheduler that runs in a thread, and what it raised."""
    errors: list[BaseException] = []
    scheduler = Scheduler(inference)

    def run() -> None:
        try:
            scheduler.run()
        except ZeroDivisionError as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return scheduler, thread, errors


class Instant:
    """An inference that takes no time."""

    batch_size = 1

    def __init__(self, act: Callable[[], None] = lambda: None) -> None:
        self.act = act

    def measure(self) -> float:
        return 0.0

    def __call__(self, frames: Sequence[Frame], /) -> list[FrameResult]:
        self.act()
        return [FrameResult(frame, "embed", NOTHING, None, Timings(0, 0, 0, 0)) for frame in frames]


def test_the_loop_wakes_for_a_frame_for_a_rate_limit_and_to_stop() -> None:
    scheduler, thread, errors = serve(Instant())
    frames: LatestSlot[Frame] = LatestSlot()
    results: LatestSlot[FrameResult] = LatestSlot()
    scheduler.add("a", frames, results, stats=StreamStats(), rate=20)
    for i in range(6):
        frames.put(Frame(PIXELS, i, 0.0, None, "a"), replace=False)
        result = results.take(30)
        assert result is not None
        assert result.frame.index == i
    scheduler.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert errors == []


def test_a_picture_that_cannot_be_converted_ends_its_camera_and_no_other() -> None:
    scheduler, thread, _ = serve(Instant())
    slots: list[tuple[LatestSlot[Frame], LatestSlot[FrameResult]]] = [
        (LatestSlot(), LatestSlot()) for _ in range(2)
    ]
    for name, (frames, results) in zip("ab", slots, strict=True):
        scheduler.add(name, frames, results, stats=StreamStats())

    def fail() -> Frame:
        raise ValueError("out of memory")

    slots[0][0].put(Deferred(fail), replace=True)
    with pytest.raises(ValueError, match="out of memory"):
        slots[0][1].take(30)
    slots[1][0].put(Deferred(lambda: Frame(PIXELS, 7, 0.0, None, "b")), replace=True)
    result = slots[1][1].take(30)
    assert result is not None
    assert result.frame.index == 7
    scheduler.stop()
    thread.join(30)
    assert not thread.is_alive()


def test_the_loop_wakes_when_a_sink_takes_a_result() -> None:
    scheduler, thread, _ = serve(Instant())
    frames: LatestSlot[Frame] = LatestSlot()
    results: LatestSlot[FrameResult] = LatestSlot()
    scheduler.add("a", frames, results, stats=StreamStats())
    for i in range(2):
        frames.put(Frame(PIXELS, i, 0.0, None, "a"), replace=False)
    time.sleep(0.1)  # until the loop waits, as well as can be told
    assert [results.take(30) is not None for _ in range(2)] == [True, True]
    scheduler.stop()
    thread.join(30)
    assert not thread.is_alive()


def test_a_defect_ends_the_loop_and_reaches_every_camera() -> None:
    def defect() -> None:
        raise ZeroDivisionError

    scheduler, thread, errors = serve(Instant(defect))
    slots: list[LatestSlot[FrameResult]] = [LatestSlot(), LatestSlot()]
    frames: LatestSlot[Frame] = LatestSlot()
    scheduler.add("idle", LatestSlot(), slots[0], stats=StreamStats())
    scheduler.add("busy", frames, slots[1], stats=StreamStats())
    frames.put(Frame(PIXELS, 0, 0.0, None, "busy"), replace=False)
    for slot in slots:
        with pytest.raises(ZeroDivisionError):
            slot.take(30)
    thread.join(30)
    assert len(errors) == 1
