"""The work of each row, opened and ready: engine only, frame to result, stream to result."""

import time
from array import array
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Protocol

import numpy as np

from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.model import Model
from edgecnn_runtime.source import open_source
from edgecnn_runtime.types import Frame, Pixels

MEMORY = 256 << 20
"""Bytes of frames kept in memory for the frame scope."""
MOST = 32


class EngineWorkload:
    """The engine's run and nothing else; its buffer holds the golden pictures."""

    def __init__(self, key: str, model: Model, golden: Pixels) -> None:
        self.key, self.frames = key, model.batch_size
        self.run: Callable[[], object] = model.infer
        self._model = model
        self._golden = golden

    def begin(self) -> None:
        """Put the golden pictures back: another row may share the engine."""
        for slot in range(self.frames):
            self._model.prepare(self._golden[slot % len(self._golden)], slot)

    def stages(self) -> Mapping[str, Sequence[float]]:
        """One stage is none."""
        return {}


class Network(Protocol):
    """What is not a bundle: the checkpoint in torch."""

    @property
    def pixels(self) -> Pixels:
        """uint8[N,H,W,3], written before ``run``."""

    def run(self) -> object:
        """Infer what ``pixels`` holds."""


class TorchWorkload:
    """The checkpoint's run, on the golden pictures."""

    def __init__(self, key: str, network: Network, golden: Pixels) -> None:
        self.key, self.frames = key, len(network.pixels)
        self.run: Callable[[], object] = network.run
        network.pixels[...] = np.resize(golden, network.pixels.shape)

    def begin(self) -> None:
        """Nothing else writes into the buffer."""

    def stages(self) -> Mapping[str, Sequence[float]]:
        """One stage is none."""
        return {}


class FrameWorkload:
    """One frame in memory → prepared → engine → decoded; each stage on the clock."""

    frames = 1

    def __init__(self, key: str, model: Model, frames: Sequence[Pixels]) -> None:
        self.key = key
        self._model = model
        self._frames, self._next = frames, 0
        self._clock = StageClock("prepare", "engine", "decode")

    def begin(self) -> None:
        """Forget the stages of runs outside the slot."""
        self._clock.clear()

    def run(self) -> object:
        """The next frame's result."""
        self._next = (self._next + 1) % len(self._frames)
        return self.result(self._frames[self._next])

    def result(self, frame: Pixels) -> object:
        """A frame's result, its stages noted."""
        clock = time.perf_counter_ns
        start = clock()
        geometry = self._model.prepare(frame)
        prepared = clock()
        outputs = self._model.infer()
        inferred = clock()
        result = self._model.decode(outputs, 0, geometry)
        self._clock.note(prepared - start, inferred - prepared, clock() - inferred)
        return result

    def stages(self) -> Mapping[str, Sequence[float]]:
        """Milliseconds by stage since ``begin``."""
        return self._clock.milliseconds()


class StreamWorkload:
    """A video or folder of pictures, read and decoded again and again, frame by frame to results.

    Reading goes on in the source's own thread while a frame is worked on, so ``capture`` is what
    is left to wait for, and a run is the time from one result to the next.
    """

    frames = 1

    def __init__(self, key: str, work: FrameWorkload, source: str) -> None:
        self.key = key
        self._work = work
        self._stream = cycle_frames(source)
        self._clock = StageClock("capture")

    def begin(self) -> None:
        """Forget the stages of runs outside the slot."""
        self._clock.clear()
        self._work.begin()

    def run(self) -> object:
        """The next frame of the stream, to its result."""
        start = time.perf_counter_ns()
        frame = next(self._stream)
        self._clock.note(time.perf_counter_ns() - start)
        return self._work.result(frame.pixels)

    def stages(self) -> Mapping[str, Sequence[float]]:
        """Milliseconds by stage since ``begin``."""
        return {**self._clock.milliseconds(), **self._work.stages()}

    def close(self) -> None:
        """Release the source."""
        self._stream.close()


class StageClock:
    """Nanoseconds by stage, one entry a run."""

    def __init__(self, *names: str) -> None:
        self._times = {name: array("q") for name in names}
        self._columns = tuple(self._times.values())

    def note(self, *nanoseconds: int) -> None:
        """One run's stages, in the order of the names."""
        for column, value in zip(self._columns, nanoseconds, strict=True):
            column.append(value)

    def clear(self) -> None:
        """Forget everything."""
        for column in self._columns:
            del column[:]

    def milliseconds(self) -> dict[str, Sequence[float]]:
        """By name, in the order of the runs."""
        return {name: [value / 1e6 for value in column] for name, column in self._times.items()}


def cycle_frames(source: str) -> Generator[Frame, None, None]:
    """Frames of a file or folder, from the start again after the last one."""
    while True:
        with open_source(source, loop=True) as stream:
            yield from stream


def read_frames(source: str) -> list[Pixels]:
    """The first frames of a file or folder, as many as fit, at most 32; all of one size.

    Raises UsageError for a live source: it delivers at its own pace, whatever is measured.
    """
    frames: list[Pixels] = []
    with open_source(source) as stream:
        if stream.live:
            raise UsageError(
                f"{stream.name} is live: --source takes a video file or pictures. "
                f"`edgecnn run` shows the pace of a camera"
            )
        for frame in stream:
            if frames and frame.pixels.shape != frames[0].shape:
                continue
            frames.append(frame.pixels)
            if len(frames) == MOST or len(frames) * frame.pixels.nbytes > MEMORY:
                break
    if not frames:
        raise UsageError(f"{source}: no frame in it")
    return frames


def golden_as_frames(golden: Pixels, width: int = 1920, height: int = 1080) -> list[Pixels]:
    """The golden pictures as frames of a camera."""
    import cv2

    return [
        np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
        for picture in golden[:MOST]
    ]
