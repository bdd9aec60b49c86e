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
"""Bytes of frames in memory for the frame scope."""
MAX_FRAMES = 32


class EngineWorkload:
    """The engine's run and nothing else; its buffer holds the golden pictures."""

    def __init__(self, key: str, model: Model, golden: Pixels) -> None:
        self.key, self.frames = key, model.batch_size
        self.run: Callable[[], object] = model.infer
        self._model = model
        self._golden = golden

    def begin(self) -> None:
        """Put the golden pictures back, because another row may share the engine."""
        for slot in range(self.frames):
            self._model.prepare(self._golden[slot % len(self._golden)], slot)

    def stages(self) -> Mapping[str, Sequence[float]]:
        """There are no stages."""
        return {}


class Network(Protocol):
    """A network that is not a bundle: the checkpoint in torch."""

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
        """There is nothing to prepare: nothing else writes into the buffer."""

    def stages(self) -> Mapping[str, Sequence[float]]:
        """There are no stages."""
        return {}


class FrameWorkload:
    """One frame in memory → prepare → engine → decode, with the time of each stage."""

    frames = 1

    def __init__(self, key: str, model: Model, frames: Sequence[Pixels]) -> None:
        self.key = key
        self._model = model
        self._frames, self._next = frames, 0
        self._clock = StageClock("prepare", "engine", "decode")

    def begin(self) -> None:
        """Clear the stages of runs outside the slot."""
        self._clock.clear()

    def run(self) -> object:
        """The next frame's result."""
        self._next = (self._next + 1) % len(self._frames)
        return self.result(self._frames[self._next])

    def result(self, frame: Pixels) -> object:
        """The result of a frame; the times of its stages are noted."""
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
    """A video or folder of pictures in a loop, read, decoded and inferred frame by frame.

    The source's own thread reads on while a frame is worked on, so ``capture`` is the remaining
    wait, and a run is the time from one result to the next.
    """

    frames = 1

    def __init__(self, key: str, work: FrameWorkload, source: str) -> None:
        self.key = key
        self._work = work
        self._stream = cycle_frames(source)
        self._clock = StageClock("capture")

    def begin(self) -> None:
        """Clear the stages of runs outside the slot."""
        self._clock.clear()
        self._work.begin()

    def run(self) -> object:
        """The result of the stream's next frame."""
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
    """Nanoseconds by stage, one entry per run."""

    def __init__(self, *names: str) -> None:
        self._times = {name: array("q") for name in names}
        self._columns = tuple(self._times.values())

    def note(self, *nanoseconds: int) -> None:
        """Add one run's stages, in the order of the names."""
        for column, value in zip(self._columns, nanoseconds, strict=True):
            column.append(value)

    def clear(self) -> None:
        """Remove all entries."""
        for column in self._columns:
            del column[:]

    def milliseconds(self) -> dict[str, Sequence[float]]:
        """Milliseconds by stage, in the order of the runs."""
        return {name: [value / 1e6 for value in column] for name, column in self._times.items()}


def cycle_frames(source: str) -> Generator[Frame, None, None]:
    """Frames of a file or folder in an endless loop."""
    while True:
        with open_source(source, loop=True) as stream:
            yield from stream


def read_frames(source: str) -> list[Pixels]:
    """The first frames of a file or folder.

    Args:
        source: Path of a video or of pictures.

    Returns:
        uint8[H,W,3] BGR each, all of one size; at most MAX_FRAMES, and at most MEMORY bytes.

    Raises:
        UsageError: The source is live, and would deliver at its own pace, or has no frame.
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
            if len(frames) == MAX_FRAMES or len(frames) * frame.pixels.nbytes > MEMORY:
                break
    if not frames:
        raise UsageError(f"{source}: no frame in it")
    return frames


def golden_as_frames(golden: Pixels, width: int = 1920, height: int = 1080) -> list[Pixels]:
    """The golden pictures, uint8[N,h,w,3] BGR, enlarged to frames of a camera."""
    import cv2

    return [
        np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
        for picture in golden[:MAX_FRAMES]
    ]
