"""One way to run a bundle on this machine: an artifact, a backend, a precision, threads."""

from dataclasses import dataclass
from pathlib import Path

from edgecnn_runtime.backends import Options, get_engine
from edgecnn_runtime.bundle.manifest import Artifact

FULL_PRECISION = "f32"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run a bundle here.

    Attributes:
        artifact: the file.
        backend: the engine's name.
        precision: what the engine computes in.
        threads: threads inside one operator.
        reason: why it stands where it stands.
    """

    artifact: Artifact
    backend: str
    precision: str
    threads: int
    reason: str

    @property
    def engine(self) -> str:
        """``backend/precision``, as in ``manifest.Run.engine``."""
        return f"{self.backend}/{self.precision}"

    @property
    def exact(self) -> bool:
        """Whether the engine rounds nothing that the artifact does not."""
        return self.precision == FULL_PRECISION

    @property
    def needs_build(self) -> bool:
        """Whether opening it may take minutes, because its engine is built here, once."""
        return get_engine(self.backend).needs_build

    @property
    def verified_at_export(self) -> bool:
        """Whether export measured this precision of this artifact, and it passed.

        The self-test is enough for an engine's exact precision.
        """
        precisions = {run.engine.partition("/")[2] for run in self.artifact.runs}
        return self.exact or self.precision in precisions

    def options(self, batch: int, cache_dir: Path) -> Options:
        """How to open its engine, for ``batch`` frames per inference."""
        return Options(self.threads, batch, self.precision, cache_dir)

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.artifact.file} on {self.engine}, {threads}"
