"""From source to sinks, with a real model and real sources."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecnn_runtime.errors import SourceLostError, UsageError
from edgecnn_runtime.model import Model, load
from edgecnn_runtime.pipeline import infer_frames, run
from edgecnn_runtime.runner import CameraJob, Runner
from edgecnn_runtime.sinks.fake import FakeSink
from edgecnn_runtime.sinks.jsonl import JsonLines
from edgecnn_runtime.sinks.video import Video
from edgecnn_runtime.source import open_source
from edgecnn_runtime.stats import StreamStats
from edgecnn_runtime.types import Box, Classification, Detection, FrameResult, Reading

MakeClip = Callable[..., Path]
MakeResult = Callable[..., FrameResult]
FACE = Detection(Box(10.0, 20.0, 110.25, 140.0), 0.93123, "face", 0, ((30.0, 40.5),))


@pytest.fixture(scope="module")
def model(make_bundle: Callable[..., Path]) -> Iterator[Model]:
    with load(make_bundle("pipeline"), backend="onnxruntime") as model:
        yield model


def test_every_frame_is_seen(model: Model, tmp_path: Path, make_clip: MakeClip) -> None:
    with open_source(make_clip(tmp_path / "clip.mp4", frames=12)) as source:
        everything = list(infer_frames(model, source))
    assert [one.frame.index for one in everything] == list(range(12))
    for one in everything:
        direct = model(one.frame)
        assert isinstance(one.result, Classification)
        assert isinstance(direct, Classification)
        np.testing.assert_array_equal(one.result.scores, direct.scores)
        assert one.age is None
        assert one.timings.total > 0


def test_a_live_result_has_an_age(model: Model, tmp_path: Path, make_clip: MakeClip) -> None:
    with open_source(make_clip(tmp_path / "clip.mp4", frames=5), realtime=True) as source:
        for one in infer_frames(model, source):
            assert one.age is not None
            assert one.age >= one.timings.infer


def test_only_the_roi_is_looked_at(model: Model, tmp_path: Path, make_clip: MakeClip) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=2)
    with open_source(clip) as source:
        one = next(infer_frames(model, source, roi=(40, 60, 100, 80)))
    cut = model(np.ascontiguousarray(one.frame.pixels[60:140, 40:140]))
    assert isinstance(one.result, Classification)
    assert isinstance(cut, Classification)
    np.testing.assert_array_equal(one.result.scores, cut.scores)
    with open_source(clip) as source, pytest.raises(UsageError, match="not inside the 320x240"):
        next(infer_frames(model, source, roi=(300, 0, 100, 80)))


def test_run_stops_after_max_frames(model: Model, tmp_path: Path, make_clip: MakeClip) -> None:
    meter = StreamStats()
    with open_source(make_clip(tmp_path / "clip.mp4", frames=30)) as source:
        run(model, source, [], max_frames=7, on_result=meter.add)
    assert meter.snapshot().frames == 7


@pytest.mark.parametrize("first", ["video", "recorder"])
def test_what_one_sink_draws_no_other_one_is_given(
    tmp_path: Path, make_clip: MakeClip, model: Model, first: str
) -> None:
    """The picture that becomes evidence is the camera's, whatever is drawn elsewhere."""
    clip, recorder = make_clip(tmp_path / "clip.mp4", frames=3), FakeSink()
    video = Video(tmp_path / "out.mp4", fps=25.0, labels=model.spec.labels)
    with open_source(clip) as source:
        run(model, source, [video, recorder] if first == "video" else [recorder, video])
    video.close()
    with open_source(clip) as source:
        for result, frame in zip(recorder.results, source, strict=True):
            np.testing.assert_array_equal(result.frame.pixels, frame.pixels)


def job(
    path: Path, writers: Callable[[Any], list[Any]] = lambda _: [], **options: Any
) -> CameraJob:
    return CameraJob(str(path), lambda: open_source(path, **options), writers)


def test_several_sources_share_a_model_and_a_file(
    model: Model, tmp_path: Path, make_clip: MakeClip
) -> None:
    clips = [make_clip(tmp_path / f"{i}.mp4", frames=10 + i) for i in range(3)]
    events = JsonLines(tmp_path / "events.jsonl")
    jobs = [job(clip) for clip in clips]
    with Runner(model, jobs, [events]) as runner:
        while not runner.wait(0.1):
            pass
    events.close()
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    for i, clip in enumerate(clips):
        own = [line["index"] for line in lines if line["source"] == str(clip)]
        assert own == list(range(10 + i))
        assert jobs[i].meter.snapshot().frames == 10 + i
        assert jobs[i].error is None


def test_one_lost_source_does_not_stop_the_others(
    model: Model, tmp_path: Path, make_clip: MakeClip
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    jobs = [job(broken), job(make_clip(tmp_path / "clip.mp4", frames=9))]
    with Runner(model, jobs) as runner:
        while not runner.wait(0.1):
            pass
    assert isinstance(jobs[0].error, SourceLostError)
    assert jobs[1].error is None
    assert jobs[1].meter.snapshot().frames == 9


def test_stopping_completes_what_was_written(
    model: Model, tmp_path: Path, make_clip: MakeClip
) -> None:
    started = threading.Event()
    clip = make_clip(tmp_path / "clip.mp4", frames=20)
    path = tmp_path / "out.mp4"

    def writers(source: Any) -> list[Any]:
        started.set()
        return [Video(path, fps=source.fps)]

    with Runner(model, [job(clip, writers, loop=True)]) as runner:
        started.wait(20)
        while runner.jobs[0].meter.snapshot().frames < 5:
            assert not runner.wait(0.01)
        runner.stop()
    assert runner.jobs[0].error is None
    assert cv2.VideoCapture(str(path)).isOpened()


def test_a_defect_in_a_thread_reaches_the_caller(
    model: Model, tmp_path: Path, make_clip: MakeClip
) -> None:
    def defective(_: Any) -> list[Any]:
        raise ZeroDivisionError

    runner = Runner(model, [job(make_clip(tmp_path / "clip.mp4"), defective)])
    with pytest.raises(ZeroDivisionError), runner:
        runner.wait(20)


def test_a_meter_counts(tmp_path: Path, frame_result: MakeResult) -> None:
    meter = StreamStats()
    assert meter.snapshot().frames == 0
    meter.add(frame_result([FACE, FACE]))
    meter.add(frame_result([], age=0.2))
    meter.add(frame_result(Reading("", 1.0), age=0.4))
    figures = meter.snapshot()
    assert (figures.frames, figures.found) == (3, 2)
    assert figures.p50 == pytest.approx(0.007)
    assert figures.age_p50 == pytest.approx(0.3)
    assert figures.fps > 0
