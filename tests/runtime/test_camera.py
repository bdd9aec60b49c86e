"""Several cameras and files on one model, from open sources to closed sinks."""

import json
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecnn_runtime.camera import CameraGroup, CameraJob
from edgecnn_runtime.errors import SourceLostError
from edgecnn_runtime.inference import ModelInference
from edgecnn_runtime.model import Model, load
from edgecnn_runtime.scheduler import Scheduler
from edgecnn_runtime.sinks.base import FrameSink
from edgecnn_runtime.sinks.fake import FakeSink
from edgecnn_runtime.sinks.jsonl import json_line
from edgecnn_runtime.sinks.text_file import TextFile
from edgecnn_runtime.sinks.video import Video
from edgecnn_runtime.source import Source, open_source
from edgecnn_runtime.source.fake import FakeReader
from edgecnn_runtime.types import FrameResult

MakeClip = Callable[..., Path]


@pytest.fixture(scope="module")
def model(make_bundle: Callable[..., Path]) -> Iterator[Model]:
    with load(make_bundle("cameras"), backend="onnxruntime") as model:
        yield model


def job(
    path: Path | str, sinks: Callable[[Any], list[Any]] = lambda _: [], **options: Any
) -> CameraJob:
    return CameraJob(str(path), lambda: open_source(path, **options), sinks)


def run(model: Model, jobs: Sequence[CameraJob], *shared: FrameSink, **options: Any) -> None:
    with CameraGroup(Scheduler(ModelInference(model)), jobs, shared, **options) as group:
        while not group.wait(0.1):
            pass


def indices(sink: FakeSink, name: object) -> list[int]:
    return [result.frame.index for result in sink.results if result.frame.source == str(name)]


def test_several_sources_share_a_model_and_a_file(
    model: Model, tmp_path: Path, make_clip: MakeClip
) -> None:
    clips = [make_clip(tmp_path / f"{i}.mp4", frames=10 + i) for i in range(3)]
    events = TextFile(tmp_path / "events.jsonl", json_line)
    jobs = [job(clip) for clip in clips]
    run(model, jobs, events)
    events.close()
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    for i, clip in enumerate(clips):
        own = [line["index"] for line in lines if line["source"] == str(clip)]
        assert own == list(range(10 + i))
        assert jobs[i].stats.snapshot().frames == 10 + i
        assert jobs[i].error is None


def test_a_source_may_be_named_twice(model: Model, tmp_path: Path, make_clip: MakeClip) -> None:
    clip, sink = make_clip(tmp_path / "clip.mp4", frames=5), FakeSink()
    run(model, [job(clip), job(clip)], sink)
    assert sorted(indices(sink, clip)) == sorted([*range(5), *range(5)])


def test_each_source_is_closed_after_max_frames(
    model: Model, tmp_path: Path, make_clip: MakeClip
) -> None:
    clips = [make_clip(tmp_path / f"{i}.mp4", frames=5 * (i + 1)) for i in range(2)]
    jobs, sink = [job(clip) for clip in clips], FakeSink()
    run(model, jobs, sink, max_frames=7)
    assert indices(sink, clips[0]) == list(range(5))
    assert indices(sink, clips[1]) == list(range(7))
    assert [job.stats.snapshot().frames for job in jobs] == [5, 7]


def test_a_file_beside_cameras_loses_nothing(
    model: Model, tmp_path: Path, make_clip: MakeClip
) -> None:
    clip, sink = make_clip(tmp_path / "clip.mp4", frames=60), FakeSink()
    cameras = [film(f"camera {i}", fps=100.0, count=20) for i in range(3)]
    file = job(clip)
    run(model, [*cameras, file], sink)
    assert indices(sink, clip) == list(range(60))
    assert file.stats.snapshot().dropped == {}
    for camera in cameras:
        stats = camera.stats.snapshot()
        assert camera.error is None
        assert stats.frames + sum(stats.dropped.values()) <= 20  # some came before its sinks opened
        assert stats.frames == len(indices(sink, camera.name)) > 0
        assert stats.wait is not None
        assert stats.age is not None


@pytest.mark.parametrize("stop", [False, True])
def test_files_wait_while_many_others_are_open(
    model: Model, tmp_path: Path, make_clip: MakeClip, stop: bool
) -> None:
    """Sixty clips on a command line are not sixty decoders."""
    clip = make_clip(tmp_path / "clip.mp4", frames=20)
    lock, opened, most = threading.Lock(), [0], [0]

    class CountedSink(FakeSink):
        def close(self) -> None:
            super().close()
            with lock:
                opened[0] -= 1

    def open_sinks(_source: Source) -> list[FrameSink]:
        with lock:
            opened[0] += 1
            most[0] = max(most[0], opened[0])
        return [CountedSink()]

    jobs = [
        CameraJob(f"{i}", lambda: open_source(clip, loop=stop), open_sinks, True) for i in range(8)
    ]
    with CameraGroup(Scheduler(ModelInference(model)), jobs, files_at_once=2) as group:
        while not group.wait(0.05):
            if stop and most[0] == 2:
                group.stop()
    assert most[0] == 2
    assert opened[0] == 0
    frames = [job.stats.snapshot().frames for job in jobs]
    assert all(job.error is None for job in jobs)
    assert frames.count(0) >= 6 if stop else frames == [20] * 8


def film(name: str, *, sinks: Sequence[FrameSink] = (), **options: Any) -> CameraJob:
    return CameraJob(name, lambda: Source(name, lambda: FakeReader(**options)), lambda _: sinks)


class JammedSink(FakeSink):
    """A sink that is behind until ``free`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()

    def write(self, result: FrameResult, /) -> None:
        super().write(result)
        assert self.free.wait(60)


def test_a_jammed_sink_holds_up_no_other_source(
    model: Model, tmp_path: Path, make_clip: MakeClip
) -> None:
    """Both clips and both cameras share the model; one of each has a sink that hangs."""
    clips = [make_clip(tmp_path / f"{i}.mp4", frames=40) for i in range(2)]
    jams, free = [JammedSink(), JammedSink()], FakeSink()
    jobs = [
        job(clips[0], lambda _: [jams[0]]),
        job(clips[1], lambda _: [free]),
        film("jammed", fps=200.0, sinks=[jams[1]]),
        film("free", fps=200.0, count=100, sinks=[free]),
    ]
    with CameraGroup(Scheduler(ModelInference(model)), jobs) as group:
        while len(indices(free, clips[1])) < 40 or len(indices(free, "free")) < 10:
            assert not group.wait(0.01)
        while not jobs[2].stats.snapshot().dropped.get("sink behind", 0) > 10:
            assert not group.wait(0.01)
        assert [len(jam.results) for jam in jams] == [1, 1]
        for jam in jams:
            jam.free.set()
        while len(jams[0].results) < 40:
            group.wait(0.01)
        group.stop()
    assert indices(jams[0], clips[0]) == list(range(40))
    assert [job.error for job in jobs] == [None] * 4


def test_what_one_sink_draws_no_other_one_is_given(
    model: Model, tmp_path: Path, make_clip: MakeClip
) -> None:
    """The picture that becomes evidence is the camera's, whatever is drawn elsewhere."""
    clip = make_clip(tmp_path / "clip.mp4", frames=3)
    first, last = FakeSink(), FakeSink()
    video = Video(tmp_path / "out.mp4", fps=25.0, labels=model.spec.labels)
    run(model, [job(clip, lambda _: [first, video, last])])
    for recorder in (first, last):
        with open_source(clip) as source:
            for result, frame in zip(recorder.results, source, strict=True):
                np.testing.assert_array_equal(result.frame.pixels, frame.pixels)


def test_cameras_over_the_network_share_a_model(model: Model, camera: Callable[..., Any]) -> None:
    streams = [camera("--fps", "15"), camera("--fps", "15")]
    jobs, sink = [job(stream.url()) for stream in streams], FakeSink()
    run(model, jobs, sink, max_frames=10)
    for entry, stream in zip(jobs, streams, strict=True):
        assert entry.error is None
        seen = indices(sink, stream.url())
        assert len(seen) == 10
        assert seen == sorted(seen)
        assert entry.stats.snapshot().wait is not None


def test_a_camera_that_freezes_is_lost_while_the_other_goes_on(
    model: Model, camera: Callable[..., Any]
) -> None:
    """Nobody reads from a source but the scheduler, and its silence is noticed all the same."""
    frozen, steady = camera(), camera()
    jobs = [job(frozen.url(), read_timeout=3.0), job(steady.url())]
    with CameraGroup(Scheduler(ModelInference(model)), jobs) as group:
        while jobs[0].stats.snapshot().frames < 3:
            assert not group.wait(0.01)
        frozen.freeze()
        while jobs[0].error is None:
            assert not group.wait(0.01)
        count = jobs[1].stats.snapshot().frames
        while jobs[1].stats.snapshot().frames < count + 3:
            assert not group.wait(0.01)
    assert isinstance(jobs[0].error, SourceLostError)
    assert jobs[1].error is None


def test_one_lost_source_does_not_stop_the_others(
    model: Model, tmp_path: Path, make_clip: MakeClip
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    jobs = [job(broken), job(make_clip(tmp_path / "clip.mp4", frames=9))]
    run(model, jobs)
    assert isinstance(jobs[0].error, SourceLostError)
    assert jobs[1].error is None
    assert jobs[1].stats.snapshot().frames == 9


def test_stopping_completes_what_was_written(
    model: Model, tmp_path: Path, make_clip: MakeClip
) -> None:
    started = threading.Event()
    clip = make_clip(tmp_path / "clip.mp4", frames=20)
    path = tmp_path / "out.mp4"

    def sinks(source: Any) -> list[Any]:
        started.set()
        return [Video(path, fps=source.fps)]

    with CameraGroup(Scheduler(ModelInference(model)), [job(clip, sinks, loop=True)]) as group:
        started.wait(20)
        while group.jobs[0].stats.snapshot().frames < 5:
            assert not group.wait(0.01)
        group.stop()
    assert group.jobs[0].error is None
    assert cv2.VideoCapture(str(path)).isOpened()


def test_a_source_that_opens_after_the_stop_is_closed_at_once(model: Model) -> None:
    stopped, sources = threading.Event(), queue.SimpleQueue[Source]()

    def open_late() -> Source:
        assert stopped.wait(30)
        sources.put(source := Source("late", FakeReader))
        return source

    late = CameraJob("late", open_late, lambda _: [])
    with CameraGroup(Scheduler(ModelInference(model)), [late]) as group:
        group.stop()
    stopped.set()
    source = sources.get(timeout=30)
    while source.read() is not None:  # None once it is closed
        pass


def test_a_defect_in_a_thread_reaches_the_caller(
    model: Model, tmp_path: Path, make_clip: MakeClip
) -> None:
    def defective(_: Any) -> list[Any]:
        raise ZeroDivisionError

    group = CameraGroup(
        Scheduler(ModelInference(model)), [job(make_clip(tmp_path / "clip.mp4"), defective)]
    )
    with pytest.raises(ZeroDivisionError), group:
        group.wait(20)
