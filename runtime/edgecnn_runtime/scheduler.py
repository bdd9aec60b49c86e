"""One inference loop per model, for any number of cameras and files.

    capture thread ─▶ frames ─┐                  ┌─▶ results ─▶ sink thread
    capture thread ─▶ frames ─┼─▶ Scheduler.run ─┼─▶ results ─▶ sink thread
    capture thread ─▶ frames ─┘                  └─▶ results ─▶ sink thread

Threads: each source has one that reads and decodes and leaves the newest frame in a slot (see
``source.capture``); the loop has one; each camera has one that takes its results and writes them
to its sinks (see ``camera``). A slot is all that two threads share.

When the engine is free, and never before, the loop takes the newest frame of the camera whose last
turn is longest ago. A frame that is taken first and then waits for the engine grows old meanwhile,
while newer ones are thrown away. A camera whose sinks still have its last result to write is not
served, so a slow sink costs nobody else anything. Nothing of a file is lost, because its capture
thread waits until there is room for the next frame. A camera before which nothing moves may be
looked at less often: its frame is compared when it is its turn, and dropped if nothing is new.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.source.latest import LatestSlot
from edgecnn_runtime.source.motion import MotionCheck
from edgecnn_runtime.stats import DropReason, StreamStats
from edgecnn_runtime.types import Frame, FrameResult

MAX_AGE = 0.5
"""Seconds that a camera's frame may be old when its inference begins, where none are given."""


class Inference(Protocol):
    """What the loop runs; ``inference.ModelInference`` is one."""

    @property
    def batch_size(self) -> int:
        """The most frames of one run."""

    def measure(self) -> float:
        """Seconds that one run takes here."""

    def __call__(self, frames: Sequence[Frame], /) -> Sequence[FrameResult]:
        """One result per frame, in their order.

        Raises:
            EdgecnnError: A frame cannot be inferred.
        """


class Scheduler:
    """Takes the newest frame of the least-served camera, each time the engine is free.

    Attributes:
        run_seconds: How long one run takes here, by its batch size; empty where there is only one
            size, which needs no measurement.
    """

    def __init__(
        self,
        inference: Inference,
        *batched: Inference,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Measure which runs pay, where there are several to choose from.

        Args:
            inference: Used only by the thread that calls ``run``.
            batched: The same model loaded with larger batches. One is used for frames that wait
                together when it takes less time than they would one after the other; no frame
                waits for others to come.
            clock: The clock of ``Frame.captured``.
        """
        self._inferences = (inference, *batched)
        self.run_seconds = (
            {each.batch_size: each.measure() for each in self._inferences} if batched else {}
        )
        self._clock = clock
        self._cameras: dict[str, _Camera] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopped = False
        self._turns = 0
        self._due = math.inf
        """When the first frame that waits for its rate limit may be taken."""

    def add(
        self,
        camera: str,
        frames: LatestSlot[Frame],
        results: LatestSlot[FrameResult],
        *,
        stats: StreamStats,
        max_age: float = MAX_AGE,
        rate: float | None = None,
        idle_rate: float | None = None,
    ) -> None:
        """Serve a camera or a file from now on; it comes first.

        Args:
            camera: A name that no other has.
            frames: Where its newest frame lies. Once it is finished and empty, ``results`` is
                finished with the same error, or with that of a frame that cannot be inferred.
            results: Where its results go; while it is full the camera is not served.
            stats: Told of every frame that is dropped.
            max_age: Seconds after which a live frame is dropped instead of inferred.
            rate: Results per second at most; None for as many as there are.
            idle_rate: The same while its frames show nothing but what the last one with a result
                showed; None where motion does not matter. Whoever follows its objects has to wait
                longer for them than that takes.
        """
        entry = _Camera(
            camera,
            frames,
            results,
            stats,
            max_age,
            1 / rate if rate else 0.0,
            1 / idle_rate if idle_rate else None,
        )
        with self._lock:
            if camera in self._cameras:
                raise ValueError(f"there is a camera {camera!r} already")
            self._cameras[camera] = entry

        def on_change(pushed_out: bool) -> None:
            if pushed_out:  # a frame: no result is ever pushed out
                stats.drop(entry.obstacle(self._clock()) or "replaced")
            if not self._wake.is_set():
                self._wake.set()

        frames.on_skip = lambda count, reason: stats.drop(reason, count)
        frames.watch = results.watch = on_change
        self._wake.set()

    def remove(self, camera: str) -> None:
        """Take none of its frames any more; the one in the engine may still have a result."""
        with self._lock:
            self._cameras.pop(camera, None)

    def stop(self) -> None:
        """End ``run``, after the inference that goes on. Does not wait."""
        self._stopped = True
        self._wake.set()

    def run(self) -> None:
        """Serve the cameras until ``stop``.

        Raises:
            Exception: Any error of the inference but an EdgecnnError; every camera's results are
                finished with it, too.
        """
        try:
            while not self._stopped:
                self._wake.clear()
                if not self.step():
                    due = self._due - self._clock()
                    self._wake.wait(None if due == math.inf else max(0.0, due))
        except Exception as error:
            for camera in self._in_turn():
                camera.results.finish(error)
            raise

    def step(self) -> bool:
        """One run of the engine, on what waits now; False where no frame could be taken."""
        now, self._due = self._clock(), math.inf
        waiting: list[_Camera] = []
        for camera in self._in_turn():
            if camera.frames.ended:
                self._end(camera, camera.frames.error)
            elif camera.frames:
                obstacle = camera.obstacle(now)
                if obstacle is None:
                    waiting.append(camera)
                elif obstacle == "rate limit":
                    self._due = min(self._due, camera.due)
        inference = self._choose(waiting)
        batch: list[tuple[_Camera, Frame]] = []
        took = False
        for camera in waiting:
            frame = self._take(camera) if len(batch) < inference.batch_size else None
            if frame is None:
                continue
            took = True
            if frame.live and now - frame.captured > camera.max_age:
                camera.stats.drop("too old")
                continue
            if frame.live and camera.is_idle(frame, now):
                camera.stats.drop("no motion")
                continue
            self._turns += 1
            camera.turn, camera.due = self._turns, now + camera.period
            batch.append((camera, frame))
        if batch:
            self._infer(inference, batch)
        return took

    def _take(self, camera: "_Camera") -> Frame | None:
        """Its newest frame, which is converted now; None where that fails, and it ends."""
        try:
            return camera.frames.poll()
        except Exception as error:  # whatever it is, only this camera has it
            self._end(camera, error)
            return None

    def _choose(self, waiting: Sequence["_Camera"]) -> Inference:
        """The least time per waiting frame, and no run so long that the next frames are late."""
        single, *batched = self._inferences
        if not batched or not waiting:
            return single

        def seconds_per_frame(inference: Inference) -> float:
            size = inference.batch_size
            return self.run_seconds[size] / min(size, len(waiting))

        deadline = min(camera.max_age for camera in waiting)
        in_time = [each for each in batched if self.run_seconds[each.batch_size] <= deadline]
        return min((single, *in_time), key=seconds_per_frame)

    def _infer(self, inference: Inference, batch: Sequence[tuple["_Camera", Frame]]) -> None:
        try:
            results = inference([frame for _, frame in batch])
        except EdgecnnError as error:
            if len(batch) == 1:
                self._end(batch[0][0], error)
            else:  # one frame at a time, to see whose it is
                for entry in batch:
                    self._infer(inference, [entry])
            return
        for (camera, _), result in zip(batch, results, strict=True):
            camera.results.put(result, replace=False)

    def _end(self, camera: "_Camera", error: Exception | None) -> None:
        self.remove(camera.name)
        camera.results.finish(error)

    def _in_turn(self) -> list["_Camera"]:
        """The cameras, least recently served first."""
        with self._lock:
            return sorted(self._cameras.values(), key=lambda camera: camera.turn)


@dataclass
class _Camera:
    """A camera that is served.

    Attributes:
        turn: The number of its last turn.
        due: When its rate limit allows the next one.
        idle_until: When it has its next turn without any motion.
    """

    name: str
    frames: LatestSlot[Frame]
    results: LatestSlot[FrameResult]
    stats: StreamStats
    max_age: float
    period: float
    idle_period: float | None
    turn: int = 0
    due: float = 0.0
    idle_until: float = 0.0
    motion: MotionCheck = field(default_factory=MotionCheck)

    def obstacle(self, now: float) -> DropReason | None:
        """Why none of its frames may be taken now."""
        if self.results.full:
            return "sink behind"
        return "rate limit" if now < self.due else None

    def is_idle(self, frame: Frame, now: float) -> bool:
        """Whether this frame, whose turn it is, shows nothing new."""
        if self.idle_period is None:
            return False
        if not self.motion.moved(frame.pixels) and now < self.idle_until:
            return True
        self.motion.remember()
        self.idle_until = now + self.idle_period
        return False
