"""One model that reads the crops of many cameras: in turn, together, and each gets its own."""

import threading
import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.stages.model_reader import ModelReader
from edgecnn_runtime.types import Frame, Reading

PIXELS = np.zeros((8, 8, 3), np.uint8)


class Engine:
    """A model of which a test holds each run until it says so, and whose results name the crop.

    Attributes:
        runs: The crops of each inference: camera and number.
        go: Released once per inference.
        bad: Crops that cannot be read.
    """

    spec = SimpleNamespace(input=SimpleNamespace(width=8, height=8))

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.runs: list[list[tuple[str, int]]] = []
        self.go = threading.Semaphore(0)
        self.bad: set[tuple[str, int]] = set()
        self.users = 0

    def prepare(self, frame: Frame, slot: int, region: Any) -> tuple[str, int]:
        if slot == 0:
            self.runs.append([])
            self.users += 1
            assert self.users == 1  # never two threads at once
        crop = (frame.source, region[0])
        self.runs[-1].append(crop)
        return crop

    def infer(self) -> dict[str, Any]:
        assert self.go.acquire(timeout=60)
        self.users -= 1
        if self.bad.intersection(self.runs[-1]):
            raise UsageError("the region is not inside this frame")
        return {}

    def decode(self, _outputs: Any, _slot: int, crop: tuple[str, int]) -> Reading:
        return Reading(f"{crop[0]}{crop[1]}", 1.0)


class Caller(threading.Thread):
    """A camera that has some crops read."""

    def __init__(self, reader: ModelReader, name: str, count: int) -> None:
        super().__init__(daemon=True)
        self.reader, self.camera, self.count = reader, name, count
        self.answer: list[str] | Exception | None = None

    def run(self) -> None:
        frame = Frame(PIXELS, 0, 0.0, None, self.camera)
        try:
            results = self.reader(frame, [(i, 0, 1, 1) for i in range(self.count)])
        except UsageError as error:
            self.answer = error
        else:
            self.answer = [result.text for result in results if isinstance(result, Reading)]


def callers(reader: ModelReader, counts: dict[str, int]) -> Iterator[Caller]:
    """Start them so that they ask in this order: the first one has the model then."""
    for name, count in counts.items():
        first, before = not reader._busy, len(reader._requests)
        caller = Caller(reader, name, count)
        caller.start()
        while not reader._busy if first else len(reader._requests) == before:
            time.sleep(0.001)
        yield caller


def finish(engine: Engine, started: Sequence[Caller]) -> None:
    engine.go.release(1000)
    for caller in started:
        caller.join(60)
        assert not caller.is_alive()


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_each_camera_has_its_next_crop_before_any_has_two(batch_size: int) -> None:
    engine = Engine(batch_size)
    reader: ModelReader = ModelReader(engine)  # type: ignore[arg-type] # what of a Model it uses
    started = list(callers(reader, {"a": 6, "b": 2, "c": 2}))
    finish(engine, started)
    assert [caller.answer for caller in started] == [
        [f"{caller.camera}{i}" for i in range(caller.count)] for caller in started
    ]
    order = [crop for run in engine.runs[1:] for crop in run]
    cameras = [camera for camera, _ in order if camera != "a"]
    assert sorted(cameras[:2]) == ["b", "c"]
    assert sorted(cameras[2:]) == ["b", "c"]
    last = max(i for i, (camera, _) in enumerate(order) if camera != "a")
    assert last <= 6  # of a, no more than one between two of the others
    assert all(len(run) <= batch_size for run in engine.runs)


def test_crops_that_wait_together_share_an_inference() -> None:
    engine = Engine(4)
    reader: ModelReader = ModelReader(engine)  # type: ignore[arg-type] # what of a Model it uses
    started = list(callers(reader, {"a": 1, "b": 1, "c": 1, "d": 2}))
    finish(engine, started)
    assert [len(run) for run in engine.runs] == [1, 4]


def test_an_error_reaches_whose_crop_it_was_and_the_others_go_on() -> None:
    engine = Engine(1)
    engine.bad.add(("b", 0))
    reader: ModelReader = ModelReader(engine)  # type: ignore[arg-type] # what of a Model it uses
    started = list(callers(reader, {"a": 2, "b": 2, "c": 2}))
    finish(engine, started)
    answers = {caller.camera: caller.answer for caller in started}
    assert isinstance(answers["b"], UsageError)
    assert (answers["a"], answers["c"]) == (["a0", "a1"], ["c0", "c1"])


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(1, 4))
@settings(max_examples=30)
def test_whoever_asks_gets_what_is_its_own(counts: list[int], batch_size: int) -> None:
    engine = Engine(batch_size)
    engine.go.release(1000)
    reader: ModelReader = ModelReader(engine)  # type: ignore[arg-type] # what of a Model it uses
    started = [Caller(reader, chr(97 + i), count) for i, count in enumerate(counts)]
    for caller in started:
        caller.start()
    for caller in started:
        caller.join(60)
        assert caller.answer == [f"{caller.camera}{i}" for i in range(caller.count)]


class PacedEngine:
    """A model whose runs take a given time.

    Attributes:
        runs: How many crops each inference had.
    """

    spec = Engine.spec

    def __init__(self, batch_size: int, seconds: float) -> None:
        self.batch_size, self.seconds = batch_size, seconds
        self.runs: list[int] = []
        self.slots = 0

    def prepare(self, _frame: Frame, slot: int, region: Any) -> Any:
        self.slots = slot + 1
        return region

    def infer(self) -> dict[str, Any]:
        time.sleep(self.seconds)
        if self.slots:
            self.runs.append(self.slots)
        return {}

    def decode(self, _outputs: Any, _slot: int, region: Any) -> Reading:
        return Reading(str(region[0]), 1.0)


@pytest.mark.parametrize(
    ("seconds", "count", "runs"),
    [
        (0.04, 4, ([], [4])),
        (0.04, 1, ([1], [])),
        (0.04, 6, ([], [4, 2])),
        (0.3, 4, ([1, 1, 1, 1], [])),  # slower than one after the other: never
        (0.075, 2, ([1, 1], [])),  # it pays for four, and not for two
        (0.075, 4, ([], [4])),
    ],
)
def test_crops_of_a_frame_share_a_run_where_that_is_faster(
    seconds: float, count: int, runs: tuple[list[int], list[int]]
) -> None:
    single, four = PacedEngine(1, 0.03), PacedEngine(4, seconds)
    reader = ModelReader(single, four)  # type: ignore[arg-type] # as above
    results = reader(Frame(PIXELS, 0, 0.0, None, "a"), [(i, 0, 1, 1) for i in range(count)])
    texts = [result.text for result in results if isinstance(result, Reading)]
    assert texts == [str(i) for i in range(count)]
    assert (single.runs, four.runs) == runs
