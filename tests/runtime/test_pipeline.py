"""From source to writers, with a real model and real sources."""

import csv
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecnn_runtime.errors import EdgecnnError, SourceLostError, UsageError
from edgecnn_runtime.model import Model, load
from edgecnn_runtime.pipeline import infer_frames, run
from edgecnn_runtime.runner import CameraJob, Runner
from edgecnn_runtime.sinks import CsvTable, JsonLines, Snapshot, Video, check_output
from edgecnn_runtime.sinks.encoders import H264, OpenCvVideo
from edgecnn_runtime.source import open_source
from edgecnn_runtime.stats import StreamStats
from edgecnn_runtime.types import (
    Box,
    Classification,
    Detection,
    Embedding,
    Frame,
    FrameResult,
    Reading,
    Timings,
)  # fmt: skip

MakeClip = Callable[..., Path]
SCORES = np.array([0.1, 0.9], np.float32)
FACE = Detection(Box(10.0, 20.0, 110.25, 140.0), 0.93123, "face", 0, ((30.0, 40.5),))


@pytest.fixture(scope="module")
def model(make_bundle: Callable[..., Path]) -> Iterator[Model]:
    with load(make_bundle("pipeline"), backend="onnxruntime") as model:
        yield model


def seen(
    result: Any, *, index: int = 0, pts: float | None = None, age: float | None = None,
    at: float = 0.0, size: tuple[int, int] = (240, 320),
) -> FrameResult:  # fmt: skip
    pixels = np.full((*size, 3), 90, np.uint8)
    frame = Frame(pixels, index, at, pts, "rtsp://u:***@cam/1")
    return FrameResult(frame, result, age, Timings(0.0, 0.001, 0.005, 0.001))


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


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (
            [FACE],
            [{"label": "face", "index": 0, "score": 0.9312, "box": [10.0, 20.0, 110.2, 140.0],
              "points": [[30.0, 40.5]]}],
        ),
        (Classification("on", 1, 0.9, SCORES), [{"label": "on", "index": 1, "score": 0.9}]),
        (
            Reading("苏A1", 0.5, (0.9, 0.5, 0.8)),
            [{"text": "苏A1", "score": 0.5, "char_scores": [0.9, 0.5, 0.8]}],
        ),
        (Embedding(np.array([0.5, -0.25], np.float32)), [{"vector": [0.5, -0.25]}]),
    ],
    ids=["detect", "classify", "ocr", "embed"],
)  # fmt: skip
def test_a_json_line(tmp_path: Path, result: Any, expected: Any) -> None:
    path = tmp_path / "events.jsonl"
    events = JsonLines(path)
    taken = time.monotonic() - 0.063
    events.write(seen(result, index=7, pts=0.28, age=0.0631, at=taken))
    line = json.loads(path.read_text())  # it is there before the file is closed
    events.close()
    assert line.pop("results") == expected
    captured = datetime.fromisoformat(line.pop("captured").replace("Z", "+00:00"))
    assert abs((datetime.now(timezone.utc) - captured).total_seconds()) < 60
    assert line == {"source": "rtsp://u:***@cam/1", "index": 7, "time": 0.28, "age_ms": 63.1}


def test_frames_of_a_file_have_no_age(tmp_path: Path) -> None:
    events = JsonLines(tmp_path / "events.jsonl")
    events.write(seen([FACE], pts=1.0))
    line = json.loads((tmp_path / "events.jsonl").read_text())
    assert (line["captured"], line["age_ms"], line["time"]) == (None, None, 1.0)


@pytest.mark.parametrize("result", [[], Reading("", 1.0)], ids=["no box", "no text"])
def test_where_nothing_was_found_nothing_is_written(tmp_path: Path, result: Any) -> None:
    for writer in (JsonLines(tmp_path / "a"), CsvTable(tmp_path / "b")):
        writer.write(seen(result))
        writer.close()
        writer.close()
    assert (tmp_path / "a").read_text() == ""
    assert len((tmp_path / "b").read_text().splitlines()) == 1


def test_table_rows(tmp_path: Path) -> None:
    table = CsvTable(tmp_path / "out.csv")
    table.write(seen([FACE, FACE], index=3, pts=0.12))
    table.write(seen(Reading('a "b", c', 0.5)))
    table.write(seen(Embedding(np.array([0.5, -0.25], np.float32))))
    table.close()
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert rows[0] == rows[1]
    assert (rows[0]["label"], rows[0]["class"], rows[0]["x2"]) == ("face", "0", "110.2")
    assert (rows[0]["index"], rows[0]["points"]) == ("3", "30.0 40.5")
    assert rows[2]["text"] == 'a "b", c'
    assert rows[3]["vector"] == "0.5 -0.25"


@pytest.mark.parametrize("writer", [JsonLines, CsvTable])
def test_a_full_disk_is_said(writer: Any) -> None:
    with pytest.raises(EdgecnnError, match="cannot write /dev/full: No space left on device"):
        writer(Path("/dev/full")).write(seen([FACE]))


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="make it first"):
        check_output(tmp_path / "no" / "out.jsonl", ())
    with pytest.raises(UsageError, match="is a folder"):
        check_output(tmp_path, ())
    with pytest.raises(UsageError, match=r"must end in \.mp4"):
        check_output(tmp_path / "out.gif", (".mp4",))


@pytest.fixture(params=["H.264", "MPEG-4"])
def encoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to write a video, whatever is installed."""
    from edgecnn_runtime.sinks import video

    if request.param == "H.264":
        pytest.importorskip("av")
    kind = {"H.264": H264, "MPEG-4": OpenCvVideo}[request.param]
    monkeypatch.setattr(video, "open_encoder", kind)
    return str(request.param)


def times(path: Path) -> list[float]:
    capture, found = cv2.VideoCapture(str(path)), []
    while capture.grab():
        found.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    return found


def test_a_video_keeps_the_pace_of_its_source(tmp_path: Path, encoder: str) -> None:
    path = tmp_path / "out.mp4"
    video = Video(path, fps=10.0)
    for i in range(15):
        video.write(seen([FACE], index=i, pts=i / 10, at=50 + i / 10))
    assert not path.exists()  # whole or not at all
    assert video.codec == encoder
    video.close()
    video.close()
    assert times(path) == pytest.approx([i / 10 for i in range(15)], abs=0.01)
    assert list(tmp_path.iterdir()) == [path]


def test_a_camera_that_pauses_pauses_in_the_video(tmp_path: Path, encoder: str) -> None:
    path = tmp_path / "out.mp4"
    video = Video(path, fps=10.0)
    for at in (0.0, 0.1, 2.1, 2.2):
        video.write(seen([FACE], age=0.05, at=100 + at))
    video.close()
    assert times(path)[-1] == pytest.approx(2.2, abs=0.05)


def test_pictures_of_many_sizes_fit_one_video(tmp_path: Path, encoder: str) -> None:
    path = tmp_path / "out.mp4"
    video = Video(path, fps=0.0)
    for size in ((101, 151), (240, 320), (60, 40)):
        video.write(seen([FACE], size=size))
    video.close()
    capture = cv2.VideoCapture(str(path))
    assert capture.read()[1].shape[:2] in {(100, 150), (101, 151), (102, 152)}
    assert times(path)[-1] >= 0.9


def test_what_stood_there_before_stays_until_the_end(tmp_path: Path, encoder: str) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"the old one")
    unused = Video(path, fps=10.0)
    unused.close()
    video = Video(path, fps=10.0)
    video.write(seen([FACE]))
    assert path.read_bytes() == b"the old one"
    video.close()
    assert path.read_bytes() != b"the old one"


FULL = """
import resource, sys
import numpy as np
from pathlib import Path
from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.types import Frame, FrameResult, Timings
from edgecnn_runtime.sinks import encoders
from edgecnn_runtime.sinks import video

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
video.open_encoder = getattr(encoders, sys.argv[1])
rng, path = np.random.default_rng(0), Path(sys.argv[2])
out = video.Video(path, fps=10.0)
said = ""
for closing in range(2):
    try:
        for i in range(0 if closing else 60):
            pixels = rng.integers(0, 255, (240, 320, 3), np.uint8)
            frame = Frame(pixels, i, i / 10, i / 10, "")
            out.write(FrameResult(frame, [], None, Timings(0, 0, 0, 0)))
        if closing:
            out.close()
    except EdgecnnError as error:
        said = str(error)
print(said)
"""


@pytest.mark.parametrize("kind", ["H264", "OpenCvVideo"])
def test_a_video_that_cannot_be_completed_is_said_and_replaces_nothing(
    tmp_path: Path, kind: str
) -> None:
    """The kernel refuses to let the file grow, as it does on a full disk."""
    if kind == "H264":
        pytest.importorskip("av")
    path = tmp_path / "out.mp4"
    path.write_bytes(b"the old one")
    command = [sys.executable, "-c", FULL, kind, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"cannot write {path}" in done.stdout
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_recording_stops_while_it_can_still_be_completed(
    tmp_path: Path, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgecnn_runtime.sinks import video as module

    path = tmp_path / "out.mp4"
    video = Video(path, fps=10.0)
    video.write(seen([FACE], pts=0.0))
    monkeypatch.setattr(module, "RESERVE", 1 << 62)  # no disk is that large
    later = (seen([FACE], pts=i / 10, at=i / 10) for i in range(1, 60))
    with pytest.raises(EdgecnnError, match="MiB are left on its disk"):
        list(map(video.write, later))
    video.close()
    assert 1 <= len(times(path)) <= 30


def test_a_snapshot_is_the_latest_frame(tmp_path: Path) -> None:
    path = tmp_path / "now.png"
    snapshot = Snapshot(path)
    for size in ((60, 80), (120, 160)):
        snapshot.write(seen([FACE], size=size))
    snapshot.close()
    assert cv2.imread(str(path)).shape == (120, 160, 3)
    assert list(tmp_path.iterdir()) == [path]


def test_a_meter_counts(tmp_path: Path) -> None:
    meter = StreamStats()
    assert meter.snapshot().frames == 0
    meter.add(seen([FACE, FACE]))
    meter.add(seen([], age=0.2))
    meter.add(seen(Reading("", 1.0), age=0.4))
    figures = meter.snapshot()
    assert (figures.frames, figures.found) == (3, 2)
    assert figures.p50 == pytest.approx(0.007)
    assert figures.age_p50 == pytest.approx(0.3)
    assert figures.fps > 0


def test_every_key_of_an_event_is_documented(root: Path) -> None:
    from edgecnn_runtime.sinks.lines import COLUMNS
    from edgecnn_runtime.sinks.serialize import frame_record, result_records

    text = (root / "docs" / "streams.md").read_text()
    keys = {*COLUMNS, "results", *frame_record(seen([FACE]))}
    for result in ([FACE], Reading("A", 0.5, (0.5,)), Embedding(SCORES)):
        keys |= {key for found in result_records(seen(result)) for key in found}
    assert {"char_scores", "vector", "age_ms"} <= keys
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []
