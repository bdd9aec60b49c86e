"""What to time: every artifact × engine × precision × threads × batch × scope that makes sense."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgecnn_bench.config import BenchConfig
from edgecnn_bench.engines import TORCH, InstalledEngine, check_precisions
from edgecnn_bench.rows import RowSpec
from edgecnn_bench.schema import Accuracy, BenchedModel, Scope
from edgecnn_runtime.backends import onnxruntime_exact
from edgecnn_runtime.backends.candidate import Candidate
from edgecnn_runtime.bundle.bundle import Bundle, open_bundle
from edgecnn_runtime.bundle.manifest import Artifact, artifact_name
from edgecnn_runtime.device.cpu import usable_cores
from edgecnn_runtime.errors import BackendMissingError, UsageError
from edgecnn_runtime.selection.candidates import candidates

CHECKPOINT = "checkpoint"
"""What the artifact of a torch row is called."""


@dataclass(frozen=True, slots=True)
class Named:
    """A bundle under the name it has in this report: unique, also among bundles named alike."""

    name: str
    bundle: Bundle


def open_bundles(paths: Sequence[str | Path]) -> list[Named]:
    """Open and check every bundle. Raises what ``open_bundle`` raises."""
    opened = [(path, open_bundle(path)) for path in paths]
    found: list[Named] = []
    for path, bundle in opened:
        name = bundle.manifest.name
        if sum(other.manifest.name == name for _, other in opened) > 1:
            name = str(Path(path)).removesuffix(".edge")
        taken = sum(each.name.split(" #")[0] == name for each in found)
        found.append(Named(f"{name} #{taken + 1}" if taken else name, bundle))
    return found


@dataclass(frozen=True, slots=True)
class Planned:
    """A row to be measured, and what to open for it; no candidate means the checkpoint in torch."""

    job: RowSpec
    bundle: Bundle
    candidate: Candidate | None


def make_plan(
    named: Sequence[Named], engines: Sequence[InstalledEngine], config: BenchConfig
) -> list[Planned]:
    """Every row to be measured, engine by engine.

    Raises UsageError where what was asked for does not exist or leaves nothing to measure.
    """
    check_precisions(config.precisions, engines)
    _check_artifacts(named, config.artifacts)
    found = [
        planned
        for each in named
        for engine in engines
        for threads in _threads(engine, config)
        for planned in _planned(each, engine, threads, config)
    ]
    if not found:
        raise UsageError(
            "nothing to measure: no artifact of these bundles fits the engines, precisions and "
            "batch sizes asked for; `edgecnn inspect` shows what there is"
        )
    return found


def scopes(config: BenchConfig) -> tuple[Scope, ...]:
    """The scopes asked for, or the default ones."""
    if config.scopes and "stream" in config.scopes and not config.source:
        raise UsageError("--scopes stream needs a --source to take the stream from: a video file")
    if config.scopes:
        return tuple(dict.fromkeys(config.scopes))
    return ("engine", "frame", "stream") if config.source else ("engine", "frame")


def model_of(named: Named) -> BenchedModel:
    """How the report names a bundle."""
    manifest = named.bundle.manifest
    return BenchedModel(
        name=named.name,
        digest=named.bundle.digest,
        source_sha256=manifest.provenance.source_sha256,
        task=manifest.model.task,
        input=f"{manifest.model.input.width}x{manifest.model.input.height}",
    )


def _threads(engine: InstalledEngine, config: BenchConfig) -> Iterable[int]:
    if engine.device == "gpu":
        return (1,)  # one feeds it
    return config.threads or dict.fromkeys((1, usable_cores()))


def _planned(
    named: Named, engine: InstalledEngine, threads: int, config: BenchConfig
) -> Iterator[Planned]:
    torch = engine.name in TORCH
    for candidate in [None] if torch else _candidates(named.bundle, engine, threads, config):
        for scope in scopes(config):
            if torch and scope != "engine":
                continue
            for batch in config.batch if scope == "engine" else (1,):
                allowed = named.bundle.manifest.model.batch
                if torch or allowed is None or batch in allowed:
                    job = _job(named, engine, candidate, threads)
                    yield Planned(replace(job, scope=scope, batch=batch), named.bundle, candidate)


def _candidates(
    bundle: Bundle, engine: InstalledEngine, threads: int, config: BenchConfig
) -> list[Candidate]:
    try:
        found = candidates(bundle, backend=engine.name, precision="all", threads=threads)
    except BackendMissingError:  # the engine is here, but no artifact is made for it
        return []
    return [
        each
        for each in found
        if (not config.precisions or each.precision in config.precisions)
        and (not config.artifacts or artifact_name(each.artifact.file) in config.artifacts)
    ]


def _job(
    named: Named, engine: InstalledEngine, candidate: Candidate | None, threads: int
) -> RowSpec:
    return RowSpec(
        model=named.name,
        scope="engine",
        artifact=artifact_name(candidate.artifact.file) if candidate else CHECKPOINT,
        backend=engine.name,
        precision=candidate.precision if candidate else "f32",
        threads=threads,
        batch=1,
        version=engine.version,
        accuracy=accuracy(candidate.artifact, candidate.engine) if candidate else EXACT,
    )


def _check_artifacts(named: Sequence[Named], wanted: Sequence[str] | None) -> None:
    known = {artifact_name(a.file) for each in named for a in each.bundle.manifest.artifacts}
    for name in wanted or ():
        if name not in known:
            raise UsageError(f"no artifact {name!r} in these bundles: {', '.join(sorted(known))}")


EXACT = Accuracy(metric="agreement", value=1.0, cosine=1.0)
"""The checkpoint against itself."""


def accuracy(artifact: Artifact, engine: str) -> Accuracy | None:
    """What the manifest says: the task's metric if it was evaluated, else agreement with torch."""
    runs = {run.engine: run for run in artifact.runs}
    # what export measured where INT8 saturates on the exporting processor
    exact = f"{onnxruntime_exact.ENGINE.name}/{engine.partition('/')[2]}"
    run = runs.get(engine, runs.get(exact))
    cosine = min((parity.cosine for parity in run.parity.values()), default=None) if run else None
    if artifact.quality is not None:
        quality = artifact.quality
        return Accuracy(metric=quality.metric, value=quality.value, cosine=cosine)
    if run is None:
        return None
    return Accuracy(metric="agreement", value=run.agreement, cosine=cosine)
