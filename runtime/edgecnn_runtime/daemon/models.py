"""One bundle in use by any number of cameras: its engine, its loop, and its replacement.

When the bundle on disk becomes another one, it is opened beside the one in use, self-test included,
and takes over between two runs. For a minute the old one stays loaded: the first error of the new
one, or a run that takes far longer, brings it back. All of that happens in the thread of the loop,
so a model is never closed under a run.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from edgecnn_runtime.bundle.bundle import MANIFEST
from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.inference import ModelInference
from edgecnn_runtime.model import Model, load
from edgecnn_runtime.preprocess import Geometry, Region
from edgecnn_runtime.scheduler import Scheduler
from edgecnn_runtime.selection.candidates import Choice
from edgecnn_runtime.stages.model_reader import ModelReader
from edgecnn_runtime.types import Frame, FrameResult, Result, Tensors

TRIAL = 60.0
"""Seconds in which a new model may still give way to the one before."""
TOO_SLOW = 0.5
"""Seconds of one run, in a trial, after which the model before comes back, if that was faster."""
SLOW_RUNS = 3
"""How many such runs in a row bring it back."""
RESTART_PAUSE = 1.0
"""Seconds between a defect in the loop and its next start."""

log = logging.getLogger(__name__)


class ModelKey(NamedTuple):
    """What has to be the same for two cameras to share a model.

    Attributes:
        path: The bundle.
        digest: The only content that is accepted; empty for any.
        backend: The only engine; empty for any.
        threads: Of the engine; 0 for any.
        batch: The most frames, or crops, of one run.
        score: The least score of a detection; None for the bundle's own.
    """

    path: Path
    digest: str = ""
    backend: str = ""
    threads: int = 0
    batch: int = 1
    score: float | None = None


class SwappedModels:
    """The models of a bundle, one per batch size; used by one thread at a time.

    Attributes:
        path: The bundle.
        models: Those in use.
        problem: Why they are not what lies on disk, or do not run; empty otherwise.
        swaps: How often others took over.
    """

    def __init__(
        self,
        path: Path,
        open_model: Callable[[int], Model],
        sizes: Sequence[int],
        *,
        at_most: bool = False,
    ) -> None:
        """Open them, self-test included.

        Args:
            path: The bundle.
            open_model: Opens it for so many frames per run.
            sizes: The batch sizes, 1 first.
            at_most: Whether a bundle that takes smaller batches only is opened for these.

        Raises:
            EdgecnnError: It cannot be used here.
        """
        self.path = path
        self.problem = ""
        self.swaps = 0
        self._open_model, self._sizes, self._at_most = open_model, sizes, at_most
        self._stamp = file_stamp(path / MANIFEST)
        self.models = self._open()
        self._next: list[Model] = []
        self._previous: list[Model] = []
        self._trial_end = 0.0
        self._run_seconds = 0.0
        self._slow_runs = 0
        self._opening: threading.Thread | None = None
        self._closed = False

    def look(self) -> None:
        """Open the bundle on disk, in a thread of its own, where it became another one."""
        stamp = file_stamp(self.path / MANIFEST)
        if stamp is None or stamp == self._stamp or self._opening is not None:
            return
        self._stamp = stamp
        self._opening = threading.Thread(
            target=self._prepare, name=f"open {self.path.stem}", daemon=True
        )
        self._opening.start()

    def take_over(self) -> None:
        """Before a run: use the next models where there are any, and forget those before."""
        if self._previous and time.monotonic() >= self._trial_end:
            _close(self._previous)
            self._previous = []
        if not self._next or self._previous:
            return
        self._previous, self.models, self._next = self.models, self._next, []
        self._trial_end = time.monotonic() + TRIAL
        self._slow_runs = 0
        self.problem = ""
        self.swaps += 1
        log.info("%s: %s took over", self.path, self.models[0].choice.candidate)

    def recover(self, error: Exception) -> None:
        """After an error of the engine: back to the models before, or the same opened again.

        Raises:
            EdgecnnError: That is impossible, too.
        """
        log.error("%s: the engine failed", self.path, exc_info=error)
        reason = f"{type(error).__name__}: {error}"
        if self._previous:
            self._roll_back(reason)
            return
        models, failed = self._open(), self.models
        self.models = models
        _close(failed)
        self.problem = f"the engine failed and was opened again: {reason}"

    def judge(self, seconds: float) -> None:
        """After a run: are new models far slower than those before?"""
        if not self._previous:
            self._run_seconds = seconds
        elif seconds <= max(TOO_SLOW, 5 * self._run_seconds):
            self._slow_runs = 0
        else:
            self._slow_runs += 1
            if self._slow_runs == SLOW_RUNS:
                usual = f"where {self._run_seconds:.3f} s was usual"
                self._roll_back(f"{SLOW_RUNS} runs took {seconds:.1f} s, {usual}")

    def close(self) -> None:
        """Release the engines; nobody may use them any more."""
        self._closed = True
        _close([*self.models, *self._previous, *self._next])

    def _open(self) -> list[Model]:
        models: list[Model] = []
        try:
            for size in self._sizes:
                fits = models[0].spec.largest_batch(size) if models and self._at_most else size
                is_there = bool(models) and fits <= models[0].batch_size
                models.append(models[0] if is_there else self._open_model(fits))
        except BaseException:
            _close(models)
            raise
        return models

    def _prepare(self) -> None:
        """Open what lies on disk now; it is taken between two runs."""
        try:
            models = self._open()
            reason = _difference(self.models[0], models[0])
            if models[-1].batch_size < self.models[-1].batch_size:  # a run may be made up already
                reason = reason or "it takes smaller batches"
            if reason or self._closed:
                _close(models)
            else:
                self._next = models
            if reason:
                raise EdgecnnError(f"{self.path}: {reason}: restart to use it")
        except Exception as error:
            self.problem = str(error)
            log.error("%s: the model that is in use stays: %s", self.path, error)
        finally:
            self._opening = None

    def _roll_back(self, reason: str) -> None:
        failed, self.models, self._previous = self.models, self._previous, []
        _close(failed)
        self.problem = f"the new model was taken back: {reason}"
        log.error("%s: %s", self.path, self.problem)


class ServedModel:
    """Runs a model for cameras that are added to ``scheduler``.

    Attributes:
        bundle: Its models.
        scheduler: Its loop.
    """

    def __init__(self, path: Path, open_model: Callable[[int], Model], *, batch: int = 1) -> None:
        """Open it, self-test included, and start its loop.

        Args:
            path: The bundle.
            open_model: Opens it for so many frames per run.
            batch: The most frames of one run.

        Raises:
            EdgecnnError: It cannot be used here.
        """
        sizes = sorted({1, batch})
        self.bundle = SwappedModels(path, open_model, sizes)
        self._busy_since: float | None = None
        self._stopped = threading.Event()
        self.scheduler = Scheduler(*(_Turn(self, index) for index in range(len(sizes))))
        self._thread = threading.Thread(target=self._run, name=f"model {path.stem}", daemon=True)
        self._thread.start()

    @property
    def digest(self) -> str:
        """Of the bundle in use."""
        return self.bundle.models[0].digest

    @property
    def choice(self) -> Choice:
        """What it runs on."""
        return self.bundle.models[0].choice

    @property
    def problem(self) -> str:
        """Why it is not what lies on disk, or does not run; empty otherwise."""
        return self.bundle.problem

    def busy_seconds(self) -> float:
        """How long the run of the engine that goes on has taken; 0.0 while it is free."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def close(self, wait: float = 1.0) -> None:
        """End the loop and release the engines; a run that does not return is left alone."""
        self._stopped.set()
        self.scheduler.stop()
        self._thread.join(wait)
        if not self._thread.is_alive():
            self.bundle.close()

    def infer(self, index: int, frames: Sequence[Frame]) -> Sequence[FrameResult]:
        """One run, in the thread of the loop.

        Args:
            index: Of the model's batch size.
            frames: At most so many.

        Raises:
            EdgecnnError: A frame cannot be inferred, or no engine works any more.
        """
        bundle = self.bundle
        bundle.take_over()
        self._busy_since = start = time.monotonic()
        try:
            results = self._again(index, frames)
        except EdgecnnError:
            raise
        except Exception as error:  # of the engine: whatever it is, the cameras go on
            bundle.recover(error)
            try:
                results = self._again(index, frames)
            except EdgecnnError:
                raise
            except Exception as again:
                raise EdgecnnError(f"{bundle.path}: the engine fails: {again}") from again
        finally:
            self._busy_since = None
        bundle.judge(time.monotonic() - start)
        return results

    def _again(self, index: int, frames: Sequence[Frame]) -> Sequence[FrameResult]:
        return ModelInference(self.bundle.models[index])(frames)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.scheduler.run()
            except Exception:  # a defect: said, and not the end of every camera
                self.bundle.problem = "its loop failed and was started again; the log says why"
                log.exception("%s: the loop failed", self.bundle.path)
                self._stopped.wait(RESTART_PAUSE)


class _Turn:
    """The loop's view of one batch size of a served model."""

    def __init__(self, served: ServedModel, index: int) -> None:
        self._served = served
        self._index = index

    @property
    def _model(self) -> Model:
        return self._served.bundle.models[self._index]

    @property
    def batch_size(self) -> int:
        return self._model.batch_size

    def measure(self) -> float:
        return ModelInference(self._model).measure()

    def __call__(self, frames: Sequence[Frame], /) -> Sequence[FrameResult]:
        return self._served.infer(self._index, frames)


def _close(models: Sequence[Model]) -> None:
    for model in models:
        model.close()


def file_stamp(path: Path) -> tuple[int, int, int] | None:
    """What differs once a file was replaced or changed; None while it is not there.

    Args:
        path: The file.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _difference(before: Model, after: Model) -> str:
    """Why a model cannot stand in for another one while cameras are followed; empty if it can."""
    old, new = before.spec, after.spec
    if old.task != new.task:
        return f"its task was {old.task} and is {new.task} now"
    if old.labels != new.labels:
        return "it has other classes"
    if getattr(old.decode, "points", None) != getattr(new.decode, "points", None):
        return "it finds other points"
    return ""


class ServedReader:
    """A second model that all cameras share.

    Attributes:
        bundle: Its models.
        read: Runs them, for the cameras in turn.
    """

    def __init__(self, path: Path, open_model: Callable[[int], Model], *, batch: int = 1) -> None:
        """Open it, self-test included.

        Args:
            path: The bundle.
            open_model: Opens it for so many crops per run.
            batch: The most crops of one run; fewer where the bundle takes no more.

        Raises:
            EdgecnnError: It cannot be used here.
        """
        sizes = sorted({1, batch})
        self.bundle = SwappedModels(path, open_model, sizes, at_most=True)
        self.read = ModelReader(*(_ReaderTurn(self.bundle, index) for index in range(len(sizes))))

    @property
    def digest(self) -> str:
        """Of the bundle in use."""
        return self.bundle.models[0].digest

    @property
    def choice(self) -> Choice:
        """What it runs on."""
        return self.bundle.models[0].choice

    def close(self) -> None:
        """Release the engine."""
        self.bundle.close()


class _ReaderTurn:
    """The reader's view of one batch size of a second model."""

    def __init__(self, bundle: SwappedModels, index: int) -> None:
        self._bundle, self._index = bundle, index
        self._model_of_run = bundle.models[index]

    @property
    def batch_size(self) -> int:
        return self._bundle.models[self._index].batch_size

    @property
    def spec(self) -> ModelSpec:
        return self._bundle.models[self._index].spec

    def prepare(self, frame: Frame, slot: int, region: Region) -> Geometry:
        """The first of three steps, as of ``Model``; another model takes over before it."""
        if slot == 0:
            self._bundle.take_over()
            self._model_of_run = self._bundle.models[self._index]
        return self._model_of_run.prepare(frame, slot, region)

    def infer(self) -> Tensors:
        """The second step.

        Raises:
            EdgecnnError: The engine failed; the model before, or the same again, reads the next.
        """
        start = time.monotonic()
        try:
            outputs = self._model_of_run.infer()
        except EdgecnnError:
            raise
        except Exception as error:
            self._bundle.recover(error)
            raise EdgecnnError(f"{self._bundle.path}: the engine failed: {error}") from error
        self._bundle.judge(time.monotonic() - start)
        return outputs

    def decode(self, outputs: Tensors, slot: int, geometry: Geometry) -> Result:
        """The third step."""
        return self._model_of_run.decode(outputs, slot, geometry)


class ModelPool:
    """Every model that is in use, by what it was opened for.

    Attributes:
        detectors: Those that look at every frame.
        readers: Those that look at crops.
    """

    def __init__(self, cache_dir: Path) -> None:
        """Open nothing yet.

        Args:
            cache_dir: Where choices, engines and self-test results are stored.
        """
        self.detectors: dict[ModelKey, ServedModel] = {}
        self.readers: dict[ModelKey, ServedReader] = {}
        self._cache_dir = cache_dir

    def open(
        self,
        detectors: Collection[ModelKey],
        readers: Collection[ModelKey],
        *,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        """Open what is not open yet, side by side; all of it or nothing.

        Args:
            detectors: Those that look at every frame.
            readers: Those that look at crops.
            meanwhile: Called once a second: building an engine may take minutes.

        Raises:
            EdgecnnError: One of them cannot be used here.
        """
        new_detectors = [key for key in dict.fromkeys(detectors) if key not in self.detectors]
        new_readers = [key for key in dict.fromkeys(readers) if key not in self.readers]
        with ThreadPoolExecutor(4, thread_name_prefix="open") as threads:
            detector_futures = [threads.submit(self._serve, key) for key in new_detectors]
            reader_futures = [threads.submit(self._share, key) for key in new_readers]
            futures: list[Future[Any]] = [*detector_futures, *reader_futures]
            while wait(futures, timeout=1.0).not_done:
                meanwhile()
        if error := next((each.exception() for each in futures if each.exception()), None):
            for model in futures:
                if model.exception() is None:
                    model.result().close()
            raise error
        self.detectors |= zip(
            new_detectors, (each.result() for each in detector_futures), strict=True
        )
        self.readers |= zip(new_readers, (each.result() for each in reader_futures), strict=True)

    def choices(self) -> dict[str, str]:
        """What every bundle runs on."""
        bundles = self._bundles()
        return {str(each.path): str(each.models[0].choice.candidate) for each in bundles}

    def look(self) -> None:
        """Open every bundle anew that was replaced on disk."""
        for each in self._bundles():
            each.look()

    def _bundles(self) -> list[SwappedModels]:
        detectors = [each.bundle for each in list(self.detectors.values())]
        return [*detectors, *(each.bundle for each in list(self.readers.values()))]

    def keep(self, detectors: Collection[ModelKey], readers: Collection[ModelKey]) -> None:
        """Close all others; nobody uses them any more."""
        for models, wanted in ((self.detectors, detectors), (self.readers, readers)):
            _close_others(models, wanted)

    def _serve(self, key: ModelKey) -> ServedModel:
        return ServedModel(key.path, partial(self._load, key), batch=key.batch)

    def _share(self, key: ModelKey) -> ServedReader:
        return ServedReader(key.path, partial(self._load, key), batch=key.batch)

    def _load(self, key: ModelKey, batch: int) -> Model:
        return load(
            key.path,
            digest=key.digest,
            backend=key.backend,
            threads=key.threads,
            score=key.score,
            batch=batch,
            cache_dir=self._cache_dir,
        )


def _close_others(
    models: dict[ModelKey, ServedModel] | dict[ModelKey, ServedReader], wanted: Collection[ModelKey]
) -> None:
    for key in [key for key in models if key not in wanted]:
        models.pop(key).close()
