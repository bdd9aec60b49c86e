"""Engines opened for their rows, self-tested, shared between scopes, and closed at the end."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

from edgecnn_bench.config import BenchConfig
from edgecnn_bench.latency import Workload
from edgecnn_bench.plan import PlannedRow
from edgecnn_bench.progress import BenchProgress
from edgecnn_bench.workloads import (
    EngineWorkload,
    FrameWorkload,
    StreamWorkload,
    TorchWorkload,
    golden_as_frames,
    read_frames,
)
from edgecnn_runtime.bundle.bundle import Bundle, load_golden
from edgecnn_runtime.errors import BackendMissingError, SelfTestError, UnsupportedModelError
from edgecnn_runtime.model import Model, open_model
from edgecnn_runtime.types import Pixels

ROW_ERRORS = (SelfTestError, UnsupportedModelError, BackendMissingError)
"""Errors that leave one row out and let the others go on."""

OpenRow: TypeAlias = tuple[PlannedRow, Workload]
RowFailure: TypeAlias = tuple[PlannedRow, Exception]


class SessionPool:
    """A context in which rows are opened; leaving it closes their engines and sources."""

    def __init__(self, config: BenchConfig, cache: Path | None = None) -> None:
        """Read the frames of ``config.source``.

        Args:
            config: What is timed.
            cache: Folder of self-test records and built engines; None is the default one.

        Raises:
            UsageError: The source is live or has no frame.
        """
        self._config, self._cache = config, cache
        self._stack = ExitStack()
        self._models: dict[tuple[Any, ...], tuple[Model, str]] = {}
        self._golden: dict[str, Pixels] = {}
        self._frames: list[Pixels] = read_frames(config.source) if config.source else []
        self._module: Any = None

    def __enter__(self) -> "SessionPool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def frames_name(self) -> str:
        """Size and origin of the frames that the frame scope runs on."""
        if not self._config.source:
            return "1920x1080 golden pictures"
        height, width = self._frames[0].shape[:2]
        return f"{width}x{height} {self._config.source.rstrip('/').rpartition('/')[2]}"

    def open_all(
        self, plan: Sequence[PlannedRow], progress: BenchProgress
    ) -> tuple[list[OpenRow], list[RowFailure]]:
        """Open every row that can be opened.

        Returns:
            The rows with their work, and the others with the error of each.
        """
        rows: list[OpenRow] = []
        failures: list[RowFailure] = []
        for done, planned in enumerate(plan):
            progress("opening", done, len(plan))
            try:
                rows.append(self.open(planned))
            except ROW_ERRORS as error:
                failures.append((planned, error))
        progress("opening", len(plan), len(plan))
        return rows, failures

    def open(self, planned: PlannedRow) -> OpenRow:
        """Open the engine of a row.

        Returns:
            The row with the outcome of the self-test, and its work.

        Raises:
            SelfTestError: It does not reproduce the golden outputs, and ``unverified`` is off.
            UnsupportedModelError: The engine cannot run this artifact.
            BackendMissingError: The engine cannot be used here.
        """
        if planned.candidate is None:
            return planned, self._torch(planned)
        model, failure = self._model(planned)
        spec = replace(planned.spec, verified=not failure, self_test=failure)
        planned = replace(planned, spec=spec)
        if spec.scope == "engine":
            return planned, EngineWorkload(spec.key, model, self._golden_pixels(planned.bundle))
        frames = self._frames or golden_as_frames(self._golden_pixels(planned.bundle))
        work = FrameWorkload(spec.key, model, frames)
        if spec.scope == "frame":
            return planned, work
        stream = StreamWorkload(spec.key, work, self._config.source)
        self._stack.callback(stream.close)
        return planned, stream

    def _model(self, planned: PlannedRow) -> tuple[Model, str]:
        """The engine of a row, opened once for all its scopes, and why its self-test failed."""
        spec, candidate = planned.spec, planned.candidate
        assert candidate is not None
        key = (spec.model, spec.artifact, spec.backend, spec.precision, spec.threads, spec.batch)
        if key not in self._models:
            opening = partial(
                open_model, planned.bundle, candidate, batch=spec.batch, cache_dir=self._cache
            )
            failure = ""
            try:
                model = opening()
            except SelfTestError as error:
                if not self._config.unverified:
                    raise
                failure = str(error)
                model = opening(self_test=False)
            self._models[key] = (self._stack.enter_context(model), failure)
        return self._models[key]

    def _torch(self, planned: PlannedRow) -> Workload:
        from edgecnn_bench.torch_engine import Torch, load_checkpoint

        if self._module is None:
            self._module = load_checkpoint(self._config.checkpoint, self._config.arch)
        spec = planned.spec
        network = Torch(
            self._module, planned.bundle.manifest.model.input, threads=spec.threads,
            batch=spec.batch, compiled=spec.backend == "torch-compile",
        )  # fmt: skip
        return TorchWorkload(spec.key, network, self._golden_pixels(planned.bundle))

    def _golden_pixels(self, bundle: Bundle) -> Pixels:
        if bundle.digest not in self._golden:
            self._golden[bundle.digest] = load_golden(bundle).pixels
        return self._golden[bundle.digest]


def short_reason(error: Exception) -> str:
    """An error's message without the advice that does not apply to a benchmark."""
    return str(error).partition(". It is not used")[0]
