"""Several sources through one model, a thread each, until they end or are told to."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.model import Model
from edgecnn_runtime.pipeline import run
from edgecnn_runtime.preprocess import Roi
from edgecnn_runtime.sinks.base import FrameSink
from edgecnn_runtime.source import Source
from edgecnn_runtime.stats import StreamStats


@dataclass
class CameraJob:
    """One source's way through the model; its figures may be read while it runs.

    open, writers: called in the job's own thread; writers are closed when it ends.
    source: once it is open. error: why it ended, unless the source did or it was stopped.
    """

    name: str
    open: Callable[[], Source]
    writers: Callable[[Source], Sequence[FrameSink]]
    meter: StreamStats = field(default_factory=StreamStats)
    source: Source | None = None
    error: EdgecnnError | None = None


class Runner:
    """Runs jobs: ``with Runner(…) as runner: while not runner.wait(0.2): …``."""

    def __init__(
        self,
        model: Model,
        jobs: Sequence[CameraJob],
        shared: Sequence[FrameSink] = (),
        *,
        roi: Roi | None = None,
        max_frames: int | None = None,
    ) -> None:
        """shared: writers that every job writes to; they must be thread-safe.

        max_frames: of each source.
        """
        self.jobs = jobs
        self._model = model
        self._shared = shared
        self._roi = roi
        self._max_frames = max_frames
        self._turn = threading.Lock()
        self._stopped = threading.Event()
        self._crash: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._work, args=(job,), name=f"run {job.name}", daemon=True)
            for job in jobs
        ]

    def __enter__(self) -> "Runner":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self.stop()
        while not self.wait(1.0):
            pass

    def wait(self, seconds: float) -> bool:
        """Whether every job has ended, after at most so long. Raises what is no EdgecnnError.

        Once stopped, a job whose source has not answered yet is not waited for.
        """
        going = [
            thread
            for thread, job in zip(self._threads, self.jobs, strict=True)
            if thread.is_alive() and not (self._stopped.is_set() and job.source is None)
        ]
        for thread in going:
            thread.join(seconds / len(going))
        if self._crash is not None:
            raise self._crash
        return not any(thread.is_alive() for thread in going)

    def stop(self) -> None:
        """End every source: what was written is completed. Does not wait."""
        self._stopped.set()
        for job in self.jobs:
            if job.source is not None:
                job.source.close(wait=0.0)

    def _work(self, job: CameraJob) -> None:
        try:
            with job.open() as source:
                job.source = source
                if not self._stopped.is_set():
                    self._run(job, source)
        except EdgecnnError as error:
            job.error = error
        except BaseException as error:  # a defect: the caller is told, not the terminal
            self._crash = error

    def _run(self, job: CameraJob, source: Source) -> None:
        writers = job.writers(source)
        try:
            run(
                self._model,
                source,
                [*writers, *self._shared],
                roi=self._roi,
                max_frames=self._max_frames,
                turn=self._turn,
                on_result=job.meter.add,
            )
        finally:
            for writer in writers:
                writer.close()
