"""One camera of the daemon: from its source through its pipelines to the outbox and the page.

    capture thread ─▶ frames ─▶ the loop of each detector ─▶ results ─▶ a thread per pipeline
                                                          follow → outbox.append → view

Where people are blurred and there are several pipelines, a view waits, in a thread of its own,
until all of them have looked at its moment.

Whatever fails in a thread is logged, shown as the camera's reason, and that part starts again.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from msgspec.structs import replace

from edgecnn_runtime.daemon.looks import CameraLooks, Neighbors
from edgecnn_runtime.daemon.models import ServedModel
from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.event_id import event_id
from edgecnn_runtime.pipeline import Pipeline
from edgecnn_runtime.rules.privacy import FramePrivacy, blurred_frame
from edgecnn_runtime.sinks.serialize import wall_time
from edgecnn_runtime.source import ReconnectingSource
from edgecnn_runtime.source.connection import Connection
from edgecnn_runtime.source.latest import LatestSlot, SkipReason
from edgecnn_runtime.source.main_stream import MainStream
from edgecnn_runtime.stats import SpeedCheck, StreamStats
from edgecnn_runtime.types import Box, Event, Frame, FrameResult, Reading
from edgecnn_runtime.web.operations import CameraStatus, LiveView, StreamStatus

LOST = 5.0
"""Seconds without a result after which the tracks of a camera that is lost have left."""
PATIENCE = 1.0
"""Seconds, besides those that its rate needs, that a pipeline waits for what the others see."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds until a pipeline that failed starts again, at first and at most."""

log = logging.getLogger(__name__)


class Parts(NamedTuple):
    """What follows the detector.

    Attributes:
        pipeline: Makes events of its results.
        privacy: Says who is blurred in frames that are shown and stored.
        hide: Makes a text that may be shown.
    """

    pipeline: Pipeline
    privacy: FramePrivacy
    hide: Callable[[str], str]


@dataclass
class PipelineJob:
    """A pipeline of a camera.

    Attributes:
        name: As site.yaml names it.
        make: Makes what follows the detector, given the other pipelines of its camera.
        stats: Its figures.
        frames: Where the camera's newest frame lies for it.
        problem: Why it does not run now; empty while it does.
        renew: Whether zones, lines or rules are others now, so that ``make`` has to be called.
    """

    name: str
    make: Callable[[Neighbors], Parts]
    stats: StreamStats = field(default_factory=StreamStats)
    frames: LatestSlot[Frame] = field(default_factory=LatestSlot)
    problem: str = ""
    renew: bool = False


class CameraWorker:
    """Runs one camera from ``start`` until ``stop``.

    Attributes:
        name: In site.yaml.
    """

    def __init__(
        self,
        name: str,
        jobs: Sequence[PipelineJob],
        open_camera: Callable[..., ReconnectingSource],
        *,
        store: Callable[[Sequence[Event]], None],
        show: Callable[[str, LiveView], None],
        watch: Callable[[str, Frame], None],
        max_age: float,
        rate: float | None,
        idle_rate: float | None,
        paused: bool,
        main: MainStream | None = None,
    ) -> None:
        """The camera is opened in the background; nobody looks at its pictures yet.

        Args:
            name: In site.yaml.
            jobs: Its pipelines, at least one.
            open_camera: Opens the source, given ``on_change`` and ``too_slow``.
            store: Takes events.
            show: Takes each result, as it may be shown.
            watch: Takes each frame of the first pipeline, as it may be stored.
            max_age: As in ``Scheduler.add``.
            rate: As in ``Scheduler.add``, of each pipeline.
            idle_rate: The same.
            paused: Whether it waits for ``resume``.
            main: The larger stream that crops are cut from; it ends and pauses with the camera.
        """
        self.name = name
        self._jobs = jobs
        self._store, self._show, self._watch = store, show, watch
        self._max_age, self._rate, self._idle_rate = max_age, rate, idle_rate
        self._stopped = threading.Event()
        self._since = time.time()
        self._main = main
        self._lock = threading.Lock()
        self._speed: SpeedCheck | None = None
        self._open_camera = partial(open_camera, on_change=self._report, too_slow=self._is_too_slow)
        self._paused = paused
        rarely = max((1 / each for each in (rate, idle_rate) if each), default=0.0)
        self._looks = CameraLooks(len(jobs), PATIENCE + rarely, gap=PATIENCE + rarely)
        self._neighbors = [Neighbors(self._looks, number) for number in range(len(jobs))]
        self._unseen: list[LatestSlot[tuple[LiveView, list[Box]]]] = [LatestSlot() for _ in jobs]
        self._detectors: Sequence[ServedModel] = ()
        self._threads: list[threading.Thread] = []
        self._open()

    def start(self, detectors: Sequence[ServedModel]) -> None:
        """Look at its pictures.

        Args:
            detectors: Runs the first model of each pipeline.
        """
        self._detectors = detectors
        self._speed = SpeedCheck(self._jobs[0].stats, self._rate)
        numbers, name = range(len(self._jobs)), self.name
        threads = [(self._run, number, f"pipeline {name}") for number in numbers]
        if len(self._jobs) > 1:
            threads += [(self._show_later, number, f"view {name}") for number in numbers]
        self._threads = [
            threading.Thread(target=target, args=(number,), name=words, daemon=True)
            for target, number, words in threads
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pipelines(self) -> list[str]:
        """The names of its pipelines."""
        return [job.name for job in self._jobs]

    def is_live(self) -> bool:
        """Whether its newest picture shows what happens now."""
        source = self._source
        return source.connection.state == "live" and not source.frames.finished

    def status(self) -> CameraStatus:
        """The camera as it is now."""
        where, since, frames = self._source.connection, self._since, self._source.frames
        if frames.finished:
            where = replace(where, state="paused", reason="the file has ended")
            since = wall_time(frames.last_change)
        problems = [
            job.problem or detector.problem
            for job, detector in zip(self._jobs, self._detectors, strict=True)
        ]
        width, height = self._source.size
        names = self.pipelines
        stats = [job.stats.snapshot() for job in self._jobs]
        return CameraStatus(
            name=self.name,
            state=where.state,
            since=since,
            source=self._source.name,
            reason=where.reason or "; ".join(dict.fromkeys(filter(None, problems))),
            problem=where.problem,
            pipelines=names,
            width=width,
            height=height,
            stats=stats[0],
            pipeline_stats=dict(zip(names, stats, strict=True)) if len(names) > 1 else {},
            reconnects=where.reconnects,
            main=None if self._main is None else _stream_status(self._main.connection),
        )

    def pause(self, paused: bool) -> None:
        """Hang up, or go on."""
        with self._lock:
            self._paused = paused
            for stream in self._streams():
                if paused:
                    stream.pause()
                else:
                    stream.resume()

    def renew(self, makers: Sequence[Callable[[Neighbors], Parts]]) -> None:
        """Follow with other zones, lines and rules from the next frame on; the camera goes on."""
        for job, make in zip(self._jobs, makers, strict=True):
            job.make, job.renew = make, True

    def stop(self) -> None:
        """End it; does not wait."""
        self._stopped.set()
        self._looks.close()
        for slot in self._unseen:
            slot.finish()
        with self._lock:  # a pipeline may be opening the source anew
            for stream in self._streams():
                stream.close(wait=0.0)

    def join(self, deadline: float) -> None:
        """Wait for its threads, until a time on the monotonic clock."""
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _streams(self) -> list[ReconnectingSource | MainStream]:
        return [self._source] if self._main is None else [self._source, self._main]

    def _open(self) -> None:
        """Open the source, and lead its frames to every pipeline."""
        self._source = self._open_camera(paused=self._paused)
        if len(self._jobs) == 1:
            self._jobs[0].frames = self._source.frames
            return
        for job in self._jobs:
            job.frames = LatestSlot()
        frames = self._source.frames
        frames.watch = partial(self._hand_out, frames)
        frames.on_skip = self._hand_on_skip
        frames.watch(False)  # of what came, or has ended, before

    def _run(self, number: int) -> None:
        """A pipeline, again and again."""
        job, pause = self._jobs[number], FIRST_PAUSE
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                self._follow(number, job)
                return
            except Exception as error:
                expected = isinstance(error, EdgecnnError)
                log.error(
                    "%s: %s failed and starts again: %s", self.name, job.name, error,
                    exc_info=None if expected else error, extra={"camera": self.name},
                )  # fmt: skip
                job.problem = f"{job.name} failed: {error}"
            if time.monotonic() - began > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            self._stopped.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            with self._lock:
                if self._source.frames.finished and not self._stopped.is_set():
                    self._open()  # it was the source that failed

    def _follow(self, number: int, job: PipelineJob) -> None:
        """Results of the detector → events and views, until the source ends."""
        key = f"{self.name} {job.name}"
        results: LatestSlot[FrameResult] = LatestSlot(1)
        scheduler = self._detectors[number].scheduler
        parts = job.make(self._neighbors[number])
        scheduler.add(
            key,
            job.frames,
            results,
            stats=job.stats,
            max_age=self._max_age,
            rate=self._rate,
            idle_rate=self._idle_rate,
        )
        try:
            while (result := self._take(results, parts)) is not None:
                if job.renew:
                    job.renew, before = False, parts.pipeline
                    parts = job.make(self._neighbors[number])
                    before.renew(parts.pipeline)
                    parts = parts._replace(pipeline=before)
                events = parts.pipeline.follow(result)
                result = parts.pipeline.counted(result)
                job.stats.add(result)
                for event in events:
                    parts.privacy.note(event)
                if events:
                    self._store(events)
                self._view(number, result, parts)
                job.problem = ""
            if events := parts.pipeline.end():
                self._store(events)
        finally:
            scheduler.remove(key)

    def _view(self, number: int, result: FrameResult, parts: Parts) -> None:
        """Show a result, at once or when the other pipelines have looked at its moment."""
        pipeline = parts.pipeline
        names = {track: parts.hide(each.text) for track, each in pipeline.decisions.items()}
        values = result.result
        if isinstance(values, Reading):
            values = replace(values, text=parts.hide(values.text), char_scores=(), alternatives=())
        name = self._jobs[number].name
        view = LiveView(replace(result, result=values), pipeline.tracks, names, name)
        hidden = [*parts.privacy.hidden(pipeline.tracks).values()]
        if len(self._jobs) > 1 and parts.privacy.blurs:
            self._unseen[number].put((view, hidden), replace=True)
        else:
            self._show_blurred(number, view, hidden)

    def _show_later(self, number: int) -> None:
        """Show what waits for the other pipelines; where they do not look, it is not shown."""
        while (entry := self._unseen[number].take()) is not None:
            view, hidden = entry
            try:
                others = self._neighbors[number].boxes(view.result.frame)
                if others is not None:
                    self._show_blurred(number, view, [*hidden, *others])
            except Exception:  # a defect: this picture is not shown, the next one may be
                log.exception("%s: a view cannot be shown", self.name, extra={"camera": self.name})

    def _show_blurred(self, number: int, view: LiveView, hidden: Sequence[Box]) -> None:
        frame = blurred_frame(view.result.frame, hidden)
        self._show(self.name, replace(view, result=replace(view.result, frame=frame)))
        if number == 0:
            self._watch(self.name, frame)

    def _take(self, results: LatestSlot[FrameResult], parts: Parts) -> FrameResult | None:
        """The next result; every track ends where none comes because the camera is lost."""
        while True:
            try:
                return results.take(LOST)
            except TimeoutError:
                if self._source.connection.state != "live" and (events := parts.pipeline.end()):
                    self._store(events)

    def _hand_out(self, frames: LatestSlot[Frame], _pushed_out: bool) -> None:
        """In the capture thread: the newest frame to every pipeline."""
        if frames is not self._source.frames:
            return  # of a source that has failed
        if frame := frames.pop():
            for job in self._jobs:
                job.frames.put(frame, replace=True)
        if frames.ended:
            for job in self._jobs:
                job.frames.finish(frames.error)

    def _hand_on_skip(self, count: int, reason: SkipReason) -> None:
        """In the capture thread: frames that were never made count for every pipeline."""
        for job in self._jobs:
            job.frames.skip(count, reason)

    def _is_too_slow(self) -> bool:
        """In the camera's thread: as of ``start``; nothing can be slow while models are opened."""
        return self._speed is not None and self._speed()

    def _report(self, before: Connection, after: Connection) -> None:
        """In the camera's thread: a change of state is a line in the log and an event."""
        if before.state != after.state:
            self._since = time.time()
        report_change(self._store, self.name, before, after)


def report_change(
    store: Callable[[Sequence[Event]], None],
    camera: str,
    before: Connection,
    after: Connection,
    *,
    stream: str = "",
) -> None:
    """A change of state is a line in the log and an event.

    Args:
        store: Takes the event.
        camera: The camera's name.
        before: Where it stood.
        after: Where it stands.
        stream: "main" where it is about the stream that crops are cut from: the camera itself goes
            on without it.
    """
    words = ": ".join(filter(None, (after.state, after.reason, after.problem)))
    level = logging.INFO if after.state in {"live", "paused"} else logging.WARNING
    subject = f"{camera}: its {stream} stream is" if stream else f"{camera}:"
    log.log(level, "%s %s", subject, words, extra={"camera": camera, "state": after.state})
    details: dict[str, Any] = {
        "before": before.state, "state": after.state, "reason": after.reason,
        "problem": after.problem,
    }  # fmt: skip
    details |= {"stream": stream} if stream else {}
    store([Event(id=event_id(), type="camera", camera=camera, time=time.time(), details=details)])


def _stream_status(connection: Connection) -> StreamStatus:
    return StreamStatus(
        state=connection.state,
        since=wall_time(connection.since),
        reason=connection.reason,
        reconnects=connection.reconnects,
    )
