"""The engines that can be timed here; for the others, why they cannot and what would help."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgecnn_bench.schema import UnavailableBackend
from edgecnn_runtime.backends import get_engine, real_engines
from edgecnn_runtime.backends.base import NOT_INSTALLED
from edgecnn_runtime.errors import BackendMissingError, UsageError
from edgecnn_runtime.requirements import install_command

TORCH: Mapping[str, str] = {
    "torch": "the checkpoint itself, eager",
    "torch-compile": "the checkpoint through torch.compile",
}
"""Not backends of the runtime, but what people have before they export; needs --checkpoint."""


@dataclass(frozen=True, slots=True)
class InstalledEngine:
    """An engine that can be used here.

    Attributes:
        name: as in a report's rows.
        version: of its package.
        precisions: what it computes in on this machine, the most exact first.
        device: "cpu" or "gpu".
    """

    name: str
    version: str
    precisions: tuple[str, ...]
    device: str = "cpu"


def find_engines(
    names: Sequence[str] | None, *, checkpoint: bool
) -> tuple[list[InstalledEngine], list[UnavailableBackend]]:
    """The engines to time, and those that are absent.

    Args:
        names: only these; None means all.
        checkpoint: whether there is one to time in torch.

    Raises:
        UsageError: a name that means no engine.
        BackendMissingError: an engine in ``names`` is absent, or all are.
    """
    present, absent = [], []
    for name in names or [*(engine.name for engine in real_engines()), *TORCH]:
        engine = _find(name, checkpoint=checkpoint)
        if isinstance(engine, InstalledEngine):
            present.append(engine)
        else:
            absent.append(engine)
    if names and absent:
        first = absent[0]
        raise BackendMissingError(f"{first.backend}: {first.why}. {first.install}".rstrip())
    if not present:
        lines = "\n  ".join(each.install for each in absent if each.install)
        raise BackendMissingError(f"no engine is installed here; any of these helps:\n  {lines}")
    return present, absent


def check_precisions(names: Sequence[str] | None, engines: Sequence[InstalledEngine]) -> None:
    """Raise UsageError for a precision that no engine here computes in."""
    offered = sorted({precision for engine in engines for precision in engine.precisions})
    for precision in names or ():
        if precision not in offered:
            raise UsageError(
                f"no engine here computes in {precision!r}; they offer {', '.join(offered)}"
            )


def _find(name: str, *, checkpoint: bool) -> InstalledEngine | UnavailableBackend:
    if name in TORCH:
        return _find_torch(name, checkpoint=checkpoint)
    engine = get_engine(name)
    if problem := engine.problem():
        install = engine.install if problem == NOT_INSTALLED else ""  # no package adds a GPU
        return UnavailableBackend(backend=name, why=problem, install=install)
    return InstalledEngine(name, engine.version(), engine.precisions(), engine.device)


def _find_torch(name: str, *, checkpoint: bool) -> InstalledEngine | UnavailableBackend:
    from importlib import metadata

    if importlib.util.find_spec("torch") is None:
        install = install_command("export", "edgecnn")
        return UnavailableBackend(backend=name, why="not installed", install=install)
    if not checkpoint:
        return UnavailableBackend(
            backend=name, why=TORCH[name], install="add --checkpoint model.pt"
        )
    return InstalledEngine(name, metadata.version("torch"), ("f32",))
