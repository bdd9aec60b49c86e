"""What every sink must do, whoever writes the next one."""

import resource
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.sinks import SINKS, FrameSink, SinkKind, StreamInfo, fake
from edgecnn_runtime.types import (
    Box,
    Classification,
    Detection,
    Embedding,
    Frame,
    FrameResult,
    Reading,
    Timings,
)

MakeResult = Callable[..., FrameResult]
FACE = Detection(Box(10.0, 20.0, 110.25, 140.0), 0.93, "face", 0, ((30.0, 40.5),))
RESULTS: dict[str, Any] = {
    "classify": Classification("on", 1, 0.9, np.array([0.1, 0.9], np.float32)),
    "detect": [FACE, FACE],
    "detect nothing": [],
    "ocr": Reading("苏A·1", 0.5, (0.9, 0.5, 0.8, 0.7)),
    "ocr nothing": Reading("", 1.0),
    "embed": Embedding(np.array([0.5, -0.25], np.float32)),
}
FILES = list(SINKS)
"""Kinds that write a file; the fake does not."""
SHARED = [name for name, kind in SINKS.items() if kind.shared]


def kind_of(name: str) -> SinkKind:
    return fake.KIND if name == "fake" else SINKS[name]


def path_of(name: str, folder: Path) -> Path:
    return folder / f"out{next(iter(kind_of(name).suffixes), '.txt')}"


def open_sink(name: str, folder: Path, **stream: Any) -> FrameSink:
    return kind_of(name).open(path_of(name, folder), StreamInfo(**stream))


@pytest.mark.parametrize("task", RESULTS)
@pytest.mark.parametrize("name", [*FILES, "fake"])
def test_it_takes_the_result_of_every_task(
    tmp_path: Path, frame_result: MakeResult, name: str, task: str
) -> None:
    """Of files and of cameras, with what is known of the stream and without."""
    for folder, stream in (
        ("bare", {}),
        ("rich", {"fps": 25.0, "labels": ["off", "on"], "roi": (10, 10, 200, 100)}),
    ):
        (tmp_path / folder).mkdir()
        sink = open_sink(name, tmp_path / folder, **stream)
        for index, age in enumerate((None, None, 0.06)):
            sink.write(frame_result(RESULTS[task], index=index, pts=index / 25, age=age))
        sink.close()
        files = list((tmp_path / folder).iterdir())
        assert files == ([] if name == "fake" else [path_of(name, tmp_path / folder)])


@pytest.mark.parametrize("name", [*FILES, "fake"])
def test_it_leaves_the_frame_as_it_was(tmp_path: Path, name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    before = pixels.copy()
    pixels.setflags(write=False)
    sink = open_sink(name, tmp_path, roi=(10, 10, 200, 100))
    for index in range(2):
        frame = Frame(pixels, index, index / 25, index / 25, "camera")
        sink.write(FrameResult(frame, "detect", [FACE], 0.05, Timings(0.0, 0.001, 0.005, 0.001)))
    sink.close()
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("name", [*FILES, "fake"])
def test_it_allocates_no_picture_per_frame(
    tmp_path: Path, frame_result: MakeResult, name: str
) -> None:
    """What it needs to draw and encode is there after the first frames."""
    results = [frame_result([FACE], index=i, pts=i / 25, size=(480, 640)) for i in range(20)]
    sink = open_sink(name, tmp_path, fps=25.0)
    for result in results[:10]:
        sink.write(result)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for result in results[10:]:
        sink.write(result)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    sink.close()
    assert peak - before < results[0].frame.pixels.nbytes / 4


@pytest.mark.parametrize("written", [0, 1])
@pytest.mark.parametrize("name", [*FILES, "fake"])
def test_it_may_be_closed_twice(
    tmp_path: Path, frame_result: MakeResult, name: str, written: int
) -> None:
    sink = open_sink(name, tmp_path)
    for _ in range(written):
        sink.write(frame_result([FACE]))
    sink.close()
    files = [path.read_bytes() for path in tmp_path.rglob("*.*")]
    sink.close()
    assert [path.read_bytes() for path in tmp_path.rglob("*.*")] == files
    assert set(tmp_path.iterdir()) <= {path_of(name, tmp_path)}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_written_is_named(
    tmp_path: Path, frame_result: MakeResult, name: str
) -> None:
    """Its folder was removed after the command had looked at it."""
    folder = tmp_path / "removed"
    with pytest.raises(EdgecnnError, match="cannot write") as caught:
        open_sink(name, folder).write(frame_result([FACE]))
    assert str(path_of(name, folder)) in str(caught.value)


@pytest.mark.parametrize("existing", ["keep", "append"])
@pytest.mark.parametrize("name", [name for name in FILES if name not in {"snapshot", "pictures"}])
def test_what_an_earlier_run_wrote_is_kept(
    tmp_path: Path, frame_result: MakeResult, name: str, existing: str
) -> None:
    """Only pictures are replaced: the latest one, and those of the same name."""
    path_of(name, tmp_path).write_bytes(b"earlier\n")
    sink = open_sink(name, tmp_path, existing=existing)
    sink.write(frame_result([FACE]))
    sink.close()
    assert any(b"earlier\n" in path.read_bytes() for path in tmp_path.iterdir())


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The kernel refuses to let a file grow beyond ``size`` bytes, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill_and_close(sink: FrameSink) -> list[str]:
    """Write until it fails, 40 frames at most, then close twice; the messages of the errors."""
    noise, messages = np.random.default_rng(0), []

    def fill() -> None:
        for i in range(40):
            pixels = noise.integers(0, 255, (480, 640, 3), np.uint8)
            frame = Frame(pixels, i, i / 25, i / 25, "camera")
            sink.write(
                FrameResult(frame, "detect", [FACE] * 20, None, Timings(0.0, 0.001, 0.005, 0.001))
            )

    for step in (fill, sink.close, sink.close):
        try:
            step()
        except EdgecnnError as error:
            messages.append(str(error))
    return messages


@pytest.mark.parametrize("name", FILES)
def test_a_full_disk_is_reported_with_the_name_of_the_file(tmp_path: Path, name: str) -> None:
    sink, path = open_sink(name, tmp_path), path_of(name, tmp_path)
    with largest_file(30_000):
        messages = fill_and_close(sink)
    assert messages
    assert all(str(path) in message for message in messages)
    assert set(tmp_path.iterdir()) <= {path}  # nothing half-written lies beside it


@pytest.mark.parametrize("name", SHARED)
def test_threads_that_share_it_do_not_mix_their_results(
    tmp_path: Path, frame_result: MakeResult, name: str
) -> None:
    batches = [
        [frame_result([FACE] * 3, index=i, source=f"camera {camera}") for i in range(100)]
        for camera in range(4)
    ]

    def write(sink: FrameSink, results: list[FrameResult]) -> None:
        for result in results:
            sink.write(result)

    for folder in ("alone", "together"):
        (tmp_path / folder).mkdir()
    alone, together = (open_sink(name, tmp_path / folder) for folder in ("alone", "together"))
    for batch in batches:
        write(alone, batch)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=write, args=(together, batch)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(interval)
    for sink in (alone, together):
        sink.close()
    expected, lines = (
        path_of(name, tmp_path / folder).read_text().splitlines()
        for folder in ("alone", "together")
    )
    assert sorted(lines) == sorted(expected)
