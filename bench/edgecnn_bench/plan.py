"""What to time: every useful combination of artifact, engine, precision, threads, batch, scope."""

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
"""Artifact name of a torch row."""


@dataclass(frozen=True, slots=True)
class NamedBundle:
    """A bundle and its name in this report, which is unique also among bundles of one name."""

    name: str
    bundle: Bundle


def open_bundles(paths: Sequence[str | Path]) -> list[NamedBundle]:
    """Open and check every bundle.

    Args:
        paths: Bundle directories.

    Returns:
        The bundles, named by their manifest; by their path where two have one name.

    Raises:
        BundleError: A bundle is damaged.
    """
    bundles = [(path, open_bundle(path)) for path in paths]
    named: list[NamedBundle] = []
    for path, bundle in bundles:
        name = bundle.manifest.name
        if sum(other.manifest.name == name for _, other in bundles) > 1:
            name = str(Path(path)).removesuffix(".edge")
        duplicates = sum(each.name.split(" #")[0] == name for each in named)
        named.append(NamedBundle(f"{name} #{duplicates + 1}" if duplicates else name, bundle))
    return named


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A row to measure and what to open for it; without a candidate, the checkpoint in torch."""

    spec: RowSpec
    bundle: Bundle
    candidate: Candidate | None


def make_plan(
    named: Sequence[NamedBundle], engines: Sequence[InstalledEngine], config: BenchConfig
) -> list[PlannedRow]:
    """Every row to measure, engine by engine.

    Args:
        named: The bundles.
        engines: The engines to time.
        config: What to time.

    Returns:
        At least one row.

    Raises:
        UsageError: An artifact, precision or scope does not exist, or nothing is left to measure.
    """
    check_precisions(config.precisions, engines)
    _check_artifacts(named, config.artifacts)
    plan = [
        planned
        for each in named
        for engine in engines
        for threads in _threads(engine, config)
        for planned in _planned(each, engine, threads, config)
    ]
    if not plan:
        raise UsageError(
            "nothing to measure: no artifact of these bundles fits the engines, precisions and "
            "batch sizes asked for; `edgecnn inspect` shows what there is"
        )
    return plan


def scopes(config: BenchConfig) -> tuple[Scope, ...]:
    """The scopes of ``config``, or the default ones.

    Raises:
        UsageError: The stream scope is asked for without a source.
    """
    if config.scopes and "stream" in config.scopes and not config.source:
        raise UsageError("--scopes stream needs a --source to take the stream from: a video file")
    if config.scopes:
        return tuple(dict.fromkeys(config.scopes))
    return ("engine", "frame", "stream") if config.source else ("engine", "frame")


def model_of(named: NamedBundle) -> BenchedModel:
    """The bundle as the report names it."""
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
        return (1,)  # one thread feeds the GPU
    return config.threads or dict.fromkeys((1, usable_cores()))


def _planned(
    named: NamedBundle, engine: InstalledEngine, threads: int, config: BenchConfig
) -> Iterator[PlannedRow]:
    torch = engine.name in TORCH
    model = named.bundle.manifest.model
    for candidate in [None] if torch else _candidates(named.bundle, engine, threads, config):
        row = _spec(named, engine, candidate, threads)
        for scope in scopes(config):
            if torch and scope != "engine":
                continue
            sizes = config.batch if scope == "engine" else (1,)
            if scope == "engine" and not torch:  # a bundle of a fixed batch runs full ones only
                fitting = (model.batch_for(batch) for batch in config.batch)
                sizes = tuple(dict.fromkeys(batch for batch in fitting if batch is not None))
            for batch in sizes:
                yield PlannedRow(replace(row, scope=scope, batch=batch), named.bundle, candidate)


def _candidates(
    bundle: Bundle, engine: InstalledEngine, threads: int, config: BenchConfig
) -> list[Candidate]:
    try:
        options = candidates(bundle, backend=engine.name, precision="all", threads=threads)
    except BackendMissingError:  # the engine is here, but no artifact fits it
        return []
    return [
        each
        for each in options
        if (not config.precisions or each.precision in config.precisions)
        and (not config.artifacts or artifact_name(each.artifact.file) in config.artifacts)
    ]


def _spec(
    named: NamedBundle, engine: InstalledEngine, candidate: Candidate | None, threads: int
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
        accuracy=_accuracy(named.bundle.manifest.artifacts, candidate),
    )


def _check_artifacts(named: Sequence[NamedBundle], names: Sequence[str] | None) -> None:
    known = {artifact_name(a.file) for each in named for a in each.bundle.manifest.artifacts}
    for name in names or ():
        if name not in known:
            raise UsageError(f"no artifact {name!r} in these bundles: {', '.join(sorted(known))}")


EXACT = Accuracy(metric="agreement", value=1.0, cosine=1.0)
"""The checkpoint against itself."""


def _accuracy(artifacts: Sequence[Artifact], candidate: Candidate | None) -> Accuracy | None:
    """What is known of a row; the float model has a metric where INT8 was compared with it."""
    known = accuracy(candidate.artifact, candidate.engine) if candidate else EXACT
    quality = next((artifact.quality for artifact in artifacts if artifact.quality), None)
    is_float = candidate is None or (candidate.artifact.precision == "fp32" and candidate.exact)
    if quality and is_float:
        cosine = known.cosine if known else None
        return Accuracy(metric=quality.metric, value=quality.reference, cosine=cosine)
    return known


def accuracy(artifact: Artifact, engine: str) -> Accuracy | None:
    """The manifest's quality: the task's metric if it was evaluated, else agreement with torch."""
    runs = {run.engine: run for run in artifact.runs}
    # measured at export where INT8 saturates on the exporting processor
    exact = f"{onnxruntime_exact.ENGINE.name}/{engine.partition('/')[2]}"
    run = runs.get(engine, runs.get(exact))
    cosine = min((parity.cosine for parity in run.parity.values()), default=None) if run else None
    if quality := artifact.quality:
        return Accuracy(metric=quality.metric, value=quality.value, cosine=cosine)
    if run is None:
        return None
    return Accuracy(metric="agreement", value=run.agreement, cosine=cosine)
