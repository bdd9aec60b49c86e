"""One camera: a failure of one part is said, and that part starts again."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from edgecnn_runtime.assembly import make_pipeline
from edgecnn_runtime.daemon.looks import Neighbors
from edgecnn_runtime.daemon.models import ServedModel
from edgecnn_runtime.daemon.worker import CameraWorker, Parts, PipelineJob
from edgecnn_runtime.errors import OutboxError
from edgecnn_runtime.model import load
from edgecnn_runtime.recipe import read_recipe
from edgecnn_runtime.rules.privacy import FramePrivacy, PrivacyConfig, hash_text
from edgecnn_runtime.source import ReconnectingSource, open_camera
from edgecnn_runtime.types import Event, Frame
from edgecnn_runtime.web.operations import LiveView

Until = Callable[..., None]


class Rig:
    """A camera that plays a clip, and everything that it gives."""

    def __init__(
        self,
        clip: Path,
        served: ServedModel,
        bundle: Path,
        jobs: int = 1,
        *,
        loop: bool = True,
        labels: Sequence[tuple[str, ...]] = ((), ()),
        defects: Sequence[Exception] = (),
    ) -> None:
        self.defects = list(defects)
        self.clip, self.loop = clip, loop
        self.events: list[Event] = []
        self.views: list[LiveView] = []
        self.stored: list[Frame] = []
        self.errors: list[Exception] = []
        self.view_errors: list[Exception] = []
        recipe = read_recipe(bundle)

        def make(neighbors: Neighbors) -> Parts:
            hide, privacy = (
                partial(hash_text, key=b"k" * 16),
                FramePrivacy(PrivacyConfig(blur="all")),
            )
            assert recipe.detect is not None
            detect = replace(recipe.detect, labels=labels[neighbors.pipeline])
            watch = partial(neighbors.tell, privacy.hidden)
            own = replace(recipe, detect=detect)
            return Parts(make_pipeline(own, served, camera="c", watch=watch), privacy, hide)

        self.jobs = [PipelineJob(f"pipeline {n}", make) for n in range(jobs)]
        self.worker = CameraWorker(
            "c",
            self.jobs,
            self.open_camera,
            store=self.store,
            show=self.show,
            watch=lambda _, frame: self.stored.append(frame),
            max_age=5.0,
            rate=None,
            idle_rate=None,
            paused=False,
        )
        self.worker.start([served] * jobs)

    def open_camera(self, **options: Any) -> ReconnectingSource:
        source = open_camera(self.clip, realtime=True, loop=self.loop, **options)
        if self.defects:
            source.frames.finish(self.defects.pop())
        return source

    def show(self, _camera: str, view: LiveView) -> None:
        if self.view_errors:
            raise self.view_errors.pop()
        self.views.append(view)

    def store(self, events: Sequence[Event]) -> None:
        if self.errors and threading.current_thread().name.startswith("pipeline"):
            raise self.errors.pop()
        self.events += events


@pytest.fixture
def rig(clips: Path, color_bundles: dict[str, Path]) -> Iterator[Callable[..., Rig]]:
    bundle = color_bundles["blobs"]
    served = ServedModel(bundle, lambda batch: load(bundle, batch=batch))
    rigs: list[Rig] = []

    def start(**options: Any) -> Rig:
        rigs.append(Rig(clips / "red.mp4", served, bundle, **options))
        return rigs[-1]

    yield start
    for each in rigs:
        each.worker.stop()
        each.worker.join(time.monotonic() + 60)
    served.close()


@pytest.mark.parametrize("error", [OutboxError("the disk is gone"), ValueError("a defect")])
def test_a_pipeline_that_fails_starts_again_and_says_why(
    rig: Callable[..., Rig], until: Until, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    camera = rig()
    camera.errors.append(error)
    until(lambda: not camera.errors, "the failure")
    until(lambda: "failed and starts again" in caplog.text, "the log")
    assert ("Traceback" in caplog.text) == isinstance(error, ValueError)
    until(lambda: any(event.type == "left" for event in camera.events), "events after it")
    assert camera.jobs[0].problem == ""
    assert camera.worker.status().reconnects == 0, "the camera itself went on"


def test_several_pipelines_share_a_camera(rig: Callable[..., Rig], until: Until) -> None:
    camera = rig(jobs=2)
    until(lambda: [e.type for e in camera.events].count("left") >= 2, "events of both")
    assert all(job.stats.snapshot().frames for job in camera.jobs)
    assert camera.worker.status().pipelines == ["pipeline 0", "pipeline 1"]


def test_what_is_shown_is_blurred(rig: Callable[..., Rig], until: Until) -> None:
    camera = rig()
    until(lambda: any(view.tracks for view in camera.views), "something to be blurred")
    view = next(view for view in camera.views if view.tracks)
    x1, y1, x2, y2 = (int(value) for value in view.tracks[0].box)
    pixels = view.result.frame.pixels[y1:y2, x1:x2, 2].astype(float)
    assert np.abs(np.diff(pixels, axis=0)).max() < 30, "its stripes cannot be seen"
    assert not view.result.frame.pixels.flags.writeable


def test_a_view_that_fails_is_not_the_last_one(
    rig: Callable[..., Rig], until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    camera = rig(jobs=2)
    camera.view_errors += [ValueError("a defect")] * 2
    until(lambda: not camera.view_errors, "the failures")
    until(lambda: len({view.pipeline for view in camera.views}) == 2, "views after them")
    assert "a view cannot be shown" in caplog.text


def test_what_does_not_count_is_neither_counted_nor_shown(
    rig: Callable[..., Rig], until: Until
) -> None:
    camera = rig(labels=[("another class",)])
    until(lambda: camera.jobs[0].stats.snapshot().frames > 60, "the square to come and to go")
    assert camera.jobs[0].stats.snapshot().results == 0
    assert all(view.result.result == [] for view in camera.views)


def test_what_one_pipeline_sees_is_blurred_in_the_pictures_of_all(
    rig: Callable[..., Rig], until: Until
) -> None:
    """The first one follows nothing; it is the second one that sees the square."""
    camera = rig(jobs=2, labels=[("another class",), ()])
    until(lambda: camera.events and len(camera.stored) > 60, "the square to come and to go")
    views = [view for view in camera.views if view.pipeline == "pipeline 0"]
    assert len(views) > 30
    assert {view.pipeline for view in camera.views} == {"pipeline 0", "pipeline 1"}
    assert not any(view.tracks for view in views)
    red = 0
    for frame in [*camera.stored, *(view.result.frame for view in views)]:
        pixels = frame.pixels[..., 2].astype(int)
        columns = np.flatnonzero((pixels[170:230] > 100).any(axis=0))
        if len(columns) > 50:
            red += 1
            square = pixels[175:225, columns[5] : columns[-5]]
            assert np.abs(np.diff(square, axis=0)).max() < 30, "its stripes can be seen"
    assert red > 20


def test_a_change_of_state_is_an_event(rig: Callable[..., Rig], until: Until) -> None:
    camera = rig()
    until(lambda: camera.events, "an event")
    assert camera.events[0].type == "camera"
    assert camera.events[0].details["before"] == "connecting"
    assert camera.events[0].details["state"] == "live"
    camera.worker.pause(True)
    until(lambda: camera.events[-1].details.get("state") == "paused", "the pause")


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_source_that_fails_is_opened_anew(
    rig: Callable[..., Rig], until: Until, jobs: int
) -> None:
    camera = rig(jobs=jobs, defects=[RuntimeError("a defect of the decoder")])
    until(lambda: all(job.stats.snapshot().frames for job in camera.jobs), "frames after it")
    until(lambda: camera.worker.status().state == "live", "its state")


def test_a_file_that_has_ended_says_so(rig: Callable[..., Rig], until: Until) -> None:
    camera = rig(loop=False)
    until(lambda: camera.worker.status().reason == "the file has ended", "its end")
    assert camera.worker.status().state == "paused"
    until(lambda: camera.events[-1].type == "left", "the end of what was followed")


def test_whoever_is_there_has_left_when_the_camera_is_lost(
    rig: Callable[..., Rig], until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecnn_runtime.daemon.worker.LOST", 0.2)
    camera = rig()
    until(lambda: any(event.type == "entered" for event in camera.events), "somebody")
    camera.worker.pause(True)
    until(lambda: camera.worker.status().state == "paused", "the loss")

    def still_there() -> set[int | None]:
        tracks = {"entered": set[int | None](), "left": set[int | None]()}
        for event in camera.events:
            if event.type in tracks:
                tracks[event.type].add(event.track)
        return tracks["entered"] - tracks["left"]

    until(lambda: not still_there(), "everybody to have left")
