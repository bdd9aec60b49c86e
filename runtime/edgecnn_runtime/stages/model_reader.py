"""One second model that reads the crops of many cameras, in turn."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.preprocess import Geometry, Region
from edgecnn_runtime.types import Frame, Result, Tensors

CROPS_PER_RUN = 4
"""Crops that one run takes, where nothing else is asked for: those of one frame, by default."""
MEASURED_RUNS = 5
"""The fastest of them counts."""


class CropModel(Protocol):
    """What it needs of a model; ``model.Model`` is one."""

    @property
    def batch_size(self) -> int:
        """How many crops one run takes."""

    @property
    def spec(self) -> ModelSpec:
        """What the model takes and returns."""

    def prepare(self, frame: Frame, slot: int, region: Region, /) -> Geometry:
        """Cut a crop into a slot of the engine's input."""

    def infer(self) -> Tensors:
        """Run the engine."""

    def decode(self, outputs: Tensors, slot: int, geometry: Geometry, /) -> Result:
        """The result of a slot."""


class ModelReader:
    """Reads crops on a model; the ``CropReader`` of any number of cameras, each in its own thread.

    Crops that wait together, such as those of one frame, share inferences where that is faster.
    Each camera has one crop read before any has its second one, so that none waits for more than
    one crop of every other camera per crop of its own. There is no thread for this: whoever waits
    and finds the model free runs it for all.

    Attributes:
        size: Width and height of the model's input, in pixels.
        run_seconds: How long one run takes here, of each of its models.
    """

    def __init__(self, model: CropModel, *batched: CropModel) -> None:
        """Measure which runs pay, where there are several to choose from.

        Args:
            model: Stays the caller's, as all of them do.
            batched: The same model loaded for more crops per run. One is used for crops that wait
                together when it takes less time than they would one after the other.
        """
        self.size = model.spec.input.width, model.spec.input.height
        self._models = (model, *batched)
        self.run_seconds = [_measure(each) for each in self._models] if batched else [0.0]
        self._requests: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._busy = False

    def __call__(self, frame: Frame, regions: Sequence[Region], /) -> list[Result]:
        """One result per region, in their order.

        Args:
            frame: The full frame.
            regions: At least one part of it.

        Raises:
            EdgecnnError: One of them, or one that it shared an inference with, cannot be read.
        """
        request = _Request(frame, deque(regions), len(regions))
        with self._changed:
            self._requests.append(request)
            while not request.done:
                if self._busy:
                    self._changed.wait()
                else:
                    self._run()
        if request.error is not None:
            raise request.error
        return request.results

    def _run(self) -> None:
        """One inference for whoever is next; the condition is held before and after."""
        model = self._choose(sum(len(request.regions) for request in self._requests))
        batch: list[tuple[_Request, Region]] = []
        while self._requests and len(batch) < model.batch_size:
            request = self._requests.popleft()
            batch.append((request, request.regions.popleft()))
            if request.regions:
                self._requests.append(request)
        self._busy = True
        self._changed.release()
        try:
            results = _infer(model, batch)
        finally:
            self._changed.acquire()
            self._busy = False
            self._changed.notify_all()
        for (request, _), result in zip(batch, results, strict=True):
            if isinstance(result, Exception):
                request.error = result
                if request in self._requests:
                    self._requests.remove(request)
            else:
                request.results.append(result)

    def _choose(self, waiting: int) -> CropModel:
        """The least time per crop that waits."""

        def seconds_per_crop(index: int) -> float:
            return self.run_seconds[index] / min(self._models[index].batch_size, waiting)

        return self._models[min(range(len(self._models)), key=seconds_per_crop)]


@dataclass(eq=False)
class _Request:
    """What one camera waits for.

    Attributes:
        frame: What its regions are parts of.
        regions: Those that are not read yet.
        count: How many there were.
        results: Of those that are, in order.
        error: Why it has none.
    """

    frame: Frame
    regions: deque[Region]
    count: int
    results: list[Result] = field(default_factory=list)
    error: Exception | None = None

    @property
    def done(self) -> bool:
        """Whether its caller need not wait any more."""
        return self.error is not None or len(self.results) == self.count


def _measure(model: CropModel) -> float:
    """Seconds that one run takes here, whatever lies in the engine's input."""
    seconds = []
    for _ in range(MEASURED_RUNS):
        start = time.monotonic()
        model.infer()
        seconds.append(time.monotonic() - start)
    return min(seconds)


def _infer(
    model: CropModel, batch: Sequence[tuple[_Request, Region]]
) -> Sequence[Result | Exception]:
    try:
        geometries = [
            model.prepare(request.frame, slot, region)
            for slot, (request, region) in enumerate(batch)
        ]
        outputs = model.infer()
        return [model.decode(outputs, slot, each) for slot, each in enumerate(geometries)]
    except Exception as error:  # told to everybody whose crop it was
        return [error] * len(batch)
