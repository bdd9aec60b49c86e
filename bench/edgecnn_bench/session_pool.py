"""Engines opened for their rows, self-tested, shared between scopes, and closed at the end."""

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from edgecnn_bench.config import BenchConfig
from edgecnn_bench.latency import Workload
from edgecnn_bench.plan import Planned
from edgecnn_bench.rows import RowSpec
from edgecnn_bench.workloads import (
    EngineSubject,
    FrameWorkload,
    StreamWorkload,
    TorchSubject,
    golden_as_frames,
    read_frames,
)
from edgecnn_runtime.bundle.bundle import Bundle, load_golden
from edgecnn_runtime.errors import (
    BackendMissingError,
    SelfTestError,
    UnsupportedModelError,
)
from edgecnn_runtime.model import Model, open_model
from edgecnn_runtime.types import Pixels

REFUSALS = (SelfTestError, UnsupportedModelError, BackendMissingError)
"""What leaves one row out and lets the others go on."""


class SessionPool:
    """A context in which rows are opened; leaving it closes their engines and sources.

    cache: where what was learnt here is kept; None is the default place.
    """

    def __init__(self, config: BenchConfig, cache: Path | None = None) -> None:
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
        """Size and origin of the frames that the frame scope is given."""
        if not self._config.source:
            return "1920x1080 golden pictures"
        height, width = self._frames[0].shape[:2]
        return f"{width}x{height} {self._config.source.rstrip('/').rpartition('/')[2]}"

    def open(self, planned: Planned) -> tuple[RowSpec, Workload]:
        """A row and its work; the job comes back with what the self-test said.

        Raises one of REFUSALS where this row cannot be measured.
        """
        if planned.candidate is None:
            return planned.job, self._torch(planned)
        model, failure = self._model(planned)
        job = replace(planned.job, verified=not failure, self_test=failure)
        if job.scope == "engine":
            return job, EngineSubject(job.key, model, self._golden_pixels(planned.bundle))
        frames = self._frames or golden_as_frames(self._golden_pixels(planned.bundle))
        work = FrameWorkload(job.key, model, frames)
        if job.scope == "frame":
            return job, work
        stream = StreamWorkload(job.key, work, self._config.source)
        self._stack.callback(stream.close)
        return job, stream

    def _model(self, planned: Planned) -> tuple[Model, str]:
        """The engine of a row, opened once for all its scopes, and why its self-test failed."""
        job, candidate = planned.job, planned.candidate
        assert candidate is not None
        key = (job.model, job.artifact, job.backend, job.precision, job.threads, job.batch)
        if key not in self._models:
            opening = partial(
                open_model, planned.bundle, candidate, batch=job.batch, cache_dir=self._cache
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

    def _torch(self, planned: Planned) -> Workload:
        from edgecnn_bench.torch_engine import Torch, load_checkpoint

        if self._module is None:
            self._module = load_checkpoint(self._config.checkpoint, self._config.arch)
        job, spec = planned.job, planned.bundle.manifest.model.input
        network = Torch(
            self._module, spec, threads=job.threads, batch=job.batch,
            compiled=job.backend == "torch-compile",
        )  # fmt: skip
        return TorchSubject(job.key, network, self._golden_pixels(planned.bundle))

    def _golden_pixels(self, bundle: Bundle) -> Pixels:
        if bundle.digest not in self._golden:
            self._golden[bundle.digest] = load_golden(bundle).pixels
        return self._golden[bundle.digest]
