"""The story: source → model → results → whoever wants them.

    frames ──▶ model ──▶ FrameResult ──▶ sinks (annotated video, events, table), watch (live line)

The source decodes in a thread of its own while the model works on the frame before, and always
hands over the newest frame of a camera. Tracking, reading and voting go between ``infer_frames``
and its writers: each takes what was seen and passes on what it made of it.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice

from edgecnn_runtime.model import Model
from edgecnn_runtime.preprocess import Roi
from edgecnn_runtime.sinks.base import FrameSink
from edgecnn_runtime.source import Source
from edgecnn_runtime.types import FrameResult, Timings


def infer_frames(
    model: Model,
    source: Source,
    *,
    roi: Roi | None = None,
    lock: AbstractContextManager[object] | None = None,
) -> Iterator[FrameResult]:
    """Run a model on every frame a source hands over, until it ends or is closed.

    roi: the part of each frame to look at: x, y, width, height in pixels.
    turn: a lock, where several streams share the model.
    Raises what the source raises (SourceLostError), and UsageError for a roi outside the frame.
    """
    lock = lock or nullcontext()
    asked = time.monotonic()
    for frame in source:
        with lock:
            taken = time.monotonic()
            geometry = model.prepare(frame, 0, roi)
            prepared = time.monotonic()
            outputs = model.infer()
            inferred = time.monotonic()
            result = model.decode(outputs, 0, geometry)
            done = time.monotonic()
        timings = Timings(taken - asked, prepared - taken, inferred - prepared, done - inferred)
        yield FrameResult(frame, result, done - frame.captured if source.live else None, timings)
        asked = time.monotonic()


def run(
    model: Model,
    source: Source,
    writers: Sequence[FrameSink],
    *,
    roi: Roi | None = None,
    max_frames: int | None = None,
    turn: AbstractContextManager[object] | None = None,
    on_result: Callable[[FrameResult], None] = lambda _: None,
) -> None:
    """Everything a source shows, seen by the model and kept by the writers.

    watch: told of every frame, before the writers. Raises what the source and the writers raise.
    """
    for seen in islice(infer_frames(model, source, roi=roi, lock=turn), max_frames):
        on_result(seen)
        for writer in writers:
            writer.write(seen)
