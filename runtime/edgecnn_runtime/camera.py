"""Cameras and files on their way from an open source to closed sinks, a thread each."""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Protocol

from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.scheduler import MAX_AGE, Scheduler
from edgecnn_runtime.sinks.base import FrameSink
from edgecnn_runtime.source import FrameSource
from edgecnn_runtime.source.latest import LatestSlot
from edgecnn_runtime.stats import StreamStats
from edgecnn_runtime.types import FrameResult

log = logging.getLogger(__name__)

FILE_RESULTS = 2
"""Results of a file that wait for its sinks, so that the engine need not; of a camera it is one."""
FILES_AT_ONCE = 4
"""Files that are open at the same time; each has a decoder, and the frames that it holds."""


class Follow(Protocol):
    """What is behind the model, such as a pipeline; called in the job's own thread."""

    def __call__(self, result: FrameResult, /) -> FrameResult:
        """Take a frame's result, and give what the sinks are given.

        Raises:
            EdgecnnError: It cannot go on; the job ends.
            BrokenPipeError: Whoever reads what it prints has enough: all jobs end.
        """

    def close(self) -> None:
        """No more results come. Raises what a call raises."""


@dataclass
class CameraJob:
    """One camera or file; its figures may be read while it runs.

    Attributes:
        name: What is shown of it, without a password.
        open: Opens the source, in the job's own thread.
        sinks: Opens what only this source's results are written to, in the same thread and once the
            source is open; they are closed when the job ends.
        follow: What is behind the model; None where its results go to the sinks as they are.
        may_wait: Whether it is opened once fewer than ``files_at_once`` others are: a file, of
            which nothing is lost meanwhile.
        stats: Its figures.
        source: The source once it was begun to be opened; its ``connection`` says where it stands.
        error: Why it ended, unless the source did or it was stopped.
        output_error: The first error of its own sinks, which does not end it.
    """

    name: str
    open: Callable[[], FrameSource]
    sinks: Callable[[FrameSource], Sequence[FrameSink]]
    may_wait: bool = False
    follow: Follow | None = None
    stats: StreamStats = field(default_factory=StreamStats)
    source: FrameSource | None = None
    error: EdgecnnError | None = None
    output_error: EdgecnnError | None = None


class CameraGroup:
    """Runs jobs on a scheduler: ``with CameraGroup(…) as group: while not group.wait(0.2): …``."""

    def __init__(
        self,
        scheduler: Scheduler,
        jobs: Sequence[CameraJob],
        shared: Sequence[FrameSink] = (),
        *,
        max_frames: int | None = None,
        max_age: float = MAX_AGE,
        files_at_once: int = FILES_AT_ONCE,
    ) -> None:
        """Nothing starts yet.

        Args:
            scheduler: Run by this group, in a thread of its own.
            jobs: Each is run once.
            shared: Sinks that every job writes to; they must be thread-safe, and stay open.
            max_frames: Results of each source, after which it is closed.
            max_age: Seconds after which a live frame is dropped instead of inferred.
            files_at_once: Jobs that may wait are opened while fewer of them are open.
        """
        self.jobs = jobs
        self._scheduler = scheduler
        self._shared = shared
        self._max_frames = max_frames
        self._max_age = max_age
        self._places = threading.Semaphore(files_at_once)
        self._stopped = threading.Event()
        self._crash: Exception | None = None
        self._loop = self._thread(scheduler.run)
        self._threads = [
            self._thread(self._work, job, f"{job.name} {i}") for i, job in enumerate(jobs)
        ]

    def __enter__(self) -> "CameraGroup":
        for thread in (self._loop, *self._threads):
            thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self.stop()
        while not self.wait(1.0):
            pass
        self._scheduler.stop()
        self._loop.join()

    def wait(self, seconds: float) -> bool:
        """Whether every job has ended, after at most so many seconds.

        Once stopped, a job whose source has not answered yet is not waited for. Cameras that were
        never there are waited for as long as another source runs: then each ends with its error.

        Raises:
            Exception: A defect: any error in a thread but an EdgecnnError.
        """
        going = [
            thread
            for thread, job in zip(self._threads, self.jobs, strict=True)
            if thread.is_alive() and not (self._stopped.is_set() and job.source is None)
        ]
        for thread in going:
            thread.join(seconds / len(going))
        self._give_up_unreachable()
        if self._crash is not None:
            raise self._crash
        return not any(thread.is_alive() for thread in going)

    def stop(self) -> None:
        """End every source: what was written is completed. Does not wait."""
        self._stopped.set()
        for job in self.jobs:
            if job.source is None:
                continue
            if job.source.connection.unreachable:  # it was never there: that is told as an error
                job.source.give_up()
            job.source.close(wait=0.0)

    def _give_up_unreachable(self) -> None:
        jobs = [
            job for thread, job in zip(self._threads, self.jobs, strict=True) if thread.is_alive()
        ]
        sources = [job.source for job in jobs if job.source is not None]
        if len(sources) == len(jobs) and all(each.connection.unreachable for each in sources):
            for source in sources:
                source.give_up()

    def _thread(self, target: Callable[..., None], *args: object) -> threading.Thread:
        def run() -> None:
            try:
                target(*args)
            except Exception as error:  # a defect: told to who waits, not to the terminal
                self._crash = error

        return threading.Thread(target=run, daemon=True)

    def _work(self, job: CameraJob, name: str) -> None:
        """Everything a source shows, inferred by the scheduler, to its sinks."""
        try:
            with ExitStack() as stack:
                if job.may_wait:
                    stack.enter_context(self._places)
                if self._stopped.is_set():
                    return
                job.source = source = stack.enter_context(job.open())
                if self._stopped.is_set() or not source.wait_open():
                    return
                sinks = job.sinks(source)
                for sink in sinks:
                    stack.callback(sink.close)
                stack.callback(self._scheduler.remove, name)
                results: LatestSlot[FrameResult] = LatestSlot(1 if source.live else FILE_RESULTS)
                self._scheduler.add(
                    name, source.frames, results, stats=job.stats, max_age=self._max_age
                )
                stream = iter(partial(source.wait_for, results), None)
                if job.follow is not None:
                    stack.callback(job.follow.close)
                    stream = map(job.follow, stream)
                for result in islice(stream, self._max_frames):
                    job.stats.add(result)
                    for sink in self._shared:
                        sink.write(result)
                    for sink in sinks:
                        _write(job, sink, result)
        except EdgecnnError as error:
            job.error = error
        except BrokenPipeError:  # whoever reads the results has enough of them, as `head` has
            self.stop()


def _write(job: CameraJob, sink: FrameSink, result: FrameResult) -> None:
    """To a sink of the job's own: one that cannot go on, on a full disk, ends nothing else."""
    try:
        sink.write(result)
    except EdgecnnError as error:
        if job.output_error is None:
            log.warning("%s; the run goes on", error)
            job.output_error = error
