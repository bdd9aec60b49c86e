"""Which artifact, on which backend, at which precision and with how many threads, and why.

``candidates`` lists what could run here, best first by rule: what processors of this kind do well.
Only measuring on the device can tell, so ``rank_candidates`` puts what was measured here before
the rule. What the caller asks for goes before both. Nothing is measured in this module.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgecnn_runtime.backends import (
    BACKENDS,
    Engine,
    get_engine,
    real_engines,
    require_installed,
)
from edgecnn_runtime.backends.candidate import Candidate
from edgecnn_runtime.bundle.bundle import Bundle
from edgecnn_runtime.bundle.manifest import Artifact, artifact_name
from edgecnn_runtime.device.cpu import INT8_DOT, WIDE, cpu_features, saturates, usable_cores
from edgecnn_runtime.errors import BackendMissingError, UsageError
from edgecnn_runtime.selection.record import read_selection
from edgecnn_runtime.verification.selftest import SelfTest

ALL = "all"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a model runs on; it prints as a few lines of text.

    Attributes:
        candidate: what was chosen.
        test: its self-test; None where none was run.
        refused: the candidates that stood before it, and what was wrong with each. They belong in
            metrics: this machine does not do what the bundle was verified to do.
    """

    candidate: Candidate
    test: SelfTest | None = None
    refused: tuple[tuple[Candidate, str], ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.candidate}: {self.candidate.reason}"]
        lines.append(f"self-test: {self.test or 'not run'}")
        lines += [f"refused: {candidate}: {why}" for candidate, why in self.refused]
        return "\n".join(lines)


def candidates(
    bundle: Bundle,
    *,
    backend: str = "",
    artifact: str = "",
    precision: str = "",
    threads: int = 0,
    features: frozenset[str] | None = None,
    engines: Sequence[str] = (),
) -> list[Candidate]:
    """What could run the bundle on this machine, best first by rule.

    Args:
        bundle: What to run.
        backend: Only this engine; "" is any that is installed.
        artifact: Only this one, by its file name or by its short one, "int8-cpu"; "" is any.
        precision: "" is each engine's exact one, "all" every one that it offers here.
        threads: 0 is every core this process may use.
        features: What the processor offers; None looks.
        engines: Which engines are installed; empty looks.

    Raises:
        UsageError: A name does not exist.
        BackendMissingError: Nothing is left, as for a precision that no engine here computes in.
    """
    processor = cpu_features() if features is None else features
    names = [get_engine(backend).name] if backend else list(engines or require_installed())
    ranked = [
        (rank, Candidate(entry, name, offered, _threads(name, threads), why))
        for entry in _artifacts(bundle, artifact)
        for name in names
        if _takes(get_engine(name), entry)
        for rank, why in [_rank(entry, name, processor)]
        for offered in _precisions(name, precision)
    ]
    offers = [candidate for _, candidate in sorted(ranked, key=lambda pair: pair[0])]
    if not offers:
        _check_precision(precision, names)
        what = artifact or precision or "any of its artifacts"
        raise BackendMissingError(
            f"{bundle.path}: no backend here takes {what} (tried {', '.join(names)}); "
            "`edgecnn doctor` shows what is installed"
        )
    return offers


def rank_candidates(
    bundle: Bundle,
    cache: Path,
    *,
    batch: int = 1,
    backend: str = "",
    artifact: str = "",
    precision: str = "",
    threads: int = 0,
) -> list[Candidate]:
    """What to try, in this order: what was measured here, then the rest of ``candidates``.

    A measured candidate that no longer exists is left out with a warning. A candidate whose engine
    has to be built for minutes is listed only if it was measured, which built it, or named.

    Args:
        bundle: What to run.
        cache: Where measurements are stored.
        batch: Frames per inference; each batch size is measured by itself.
        backend: Only this engine, also among what was measured; "" is any.
        artifact: Only this artifact, likewise.
        precision: Only this precision, likewise.
        threads: Only this number of threads, likewise; 0 is any.

    Raises:
        UsageError: A name does not exist.
        BackendMissingError: Nothing is left, or only engines that would have to be built.
    """
    offers = candidates(
        bundle, backend=backend, artifact=artifact, precision=precision, threads=threads
    )
    by_rule = [candidate for candidate in offers if backend or not candidate.needs_build]
    record = read_selection(bundle, cache, batch)
    if record is None:
        return by_rule or _only_builders(bundle, offers)
    known = {
        (each.artifact.file, each.backend, each.precision): each
        for each in candidates(bundle, precision=ALL)
        if each.verified_at_export
    }
    measured: list[Candidate] = []
    for standing in record.standings:
        candidate = known.get((standing.artifact, standing.backend, standing.precision))
        if candidate is None:
            log.warning(
                "%s: %s was measured here on %s and does not exist any more: "
                "`edgecnn bench %s --select` measures again",
                bundle.path, standing.name, record.created[:10], bundle.path,
            )  # fmt: skip
        elif (
            backend in {"", candidate.backend}
            and artifact in {"", candidate.artifact.file, artifact_name(candidate.artifact.file)}
            and precision in {"", ALL, candidate.precision}
            and _threads(candidate.backend, threads or standing.threads) == standing.threads
        ):
            why = record.reason(standing)
            measured.append(replace(candidate, threads=standing.threads, reason=why))
    known_ways = {(c.artifact.file, c.engine, c.threads) for c in measured}
    rest = [c for c in by_rule if (c.artifact.file, c.engine, c.threads) not in known_ways]
    return measured + rest or _only_builders(bundle, offers)


def best_by_artifact(
    bundle: Bundle, cache: Path, *, backend: str = "", artifact: str = "", threads: int = 0
) -> tuple[list[Candidate], dict[str, str]]:
    """For every artifact what runs it here, by ``rank_candidates``.

    Args:
        bundle: What to run.
        cache: Where measurements are stored.
        backend: Only this engine; "" is any.
        artifact: Only this one beside float; "" is all.
        threads: Only this number of threads; 0 is any.

    Returns:
        One candidate per artifact, the float ones first; and why the others have none, by name.

    Raises:
        UsageError: A name does not exist.
        BackendMissingError: No artifact has one.
    """
    named = _artifacts(bundle, artifact)
    ranked = rank_candidates(
        bundle, cache, batch=bundle.manifest.model.smallest_batch, backend=backend, threads=threads
    )
    chosen: list[Candidate] = []
    missing: dict[str, str] = {}
    for entry in sorted(bundle.manifest.artifacts, key=lambda each: each.precision != "fp32"):
        if entry not in named and entry.precision != "fp32":
            continue
        offers = [candidate for candidate in ranked if candidate.artifact == entry]
        if not offers and not backend:
            offers = _slow_offers(bundle, entry, threads)
        chosen += offers[:1]
        if not offers:
            takers = [engine.name for engine in real_engines() if _takes(engine, entry)]
            missing[artifact_name(entry.file)] = f"it is for {', '.join(takers) or 'no engine'}"
    return chosen, missing


def _slow_offers(bundle: Bundle, artifact: Artifact, threads: int) -> list[Candidate]:
    """An artifact on engines that compute it correctly here, and are used only by name."""
    engines = [get_engine(name) for name in BACKENDS]
    return [
        candidate
        for engine in engines
        if engine.by_name_only and not engine.is_fake and not engine.problem()
        if _takes(engine, artifact)
        for candidate in candidates(
            bundle, backend=engine.name, artifact=artifact.file, threads=threads
        )
    ]


def _takes(engine: Engine, artifact: Artifact) -> bool:
    return engine.takes(artifact.target, artifact.format, artifact.precision)


def _only_builders(bundle: Bundle, offers: Sequence[Candidate]) -> list[Candidate]:
    names = list(dict.fromkeys(candidate.backend for candidate in offers))
    raise BackendMissingError(
        f"{bundle.path}: only {', '.join(names)} is here, which builds its engine for minutes: "
        f"`edgecnn bench {bundle.path} --select` builds and measures, backend={names[0]!r} builds"
    )


def _threads(name: str, threads: int) -> int:
    """How many threads a candidate on this engine has; one thread feeds a GPU."""
    return 1 if get_engine(name).device == "gpu" else threads or usable_cores()


def _artifacts(bundle: Bundle, named: str) -> list[Artifact]:
    entries = bundle.manifest.artifacts
    if not named:
        return list(entries)
    matches = [entry for entry in entries if named in (entry.file, artifact_name(entry.file))]
    if not matches:
        known = ", ".join(artifact_name(entry.file) for entry in entries)
        raise UsageError(f"{bundle.path} has no artifact {named!r}; it has {known}")
    return matches


def _rank(artifact: Artifact, name: str, features: frozenset[str]) -> tuple[tuple[int, ...], str]:
    """Where an artifact on an engine stands on this machine, lowest first, and why.

    Of forms that suit the processor equally, the one that the engine lists first.
    """
    engine = get_engine(name)
    preferred = engine.weights.index(artifact.precision), engine.targets.index(artifact.target)
    if engine.device == "gpu":
        return (0, 0, *preferred), "there is a GPU; nothing was measured"
    place, why = _cpu_rank(artifact, features)
    return (1, place, *preferred), why


def _cpu_rank(artifact: Artifact, features: frozenset[str]) -> tuple[int, str]:
    if artifact.precision != "int8":
        half = artifact.precision == "fp16"
        return (2, "half precision") if half else (1, "float, exact on every processor")
    dot = sorted(features & INT8_DOT)
    sums = "exact" if dot else "saturating" if saturates(features) else "unknown"
    ranks: Mapping[tuple[str, str], tuple[int, str]] = {
        ("cpu", "exact"): (0, f"INT8 products are fast and exact here ({', '.join(dot)})"),
        ("cpu", "saturating"): (4, "INT8 products saturate here"),
        ("cpu", "unknown"): (2, "INT8 is not known to be fast here"),
        ("cpu-rr", "exact"): (3, "its reduced range is for processors that saturate"),
        ("cpu-rr", "saturating"): (
            0 if features & WIDE else 2,
            "INT8 in the reduced range that cannot saturate here",
        ),
        ("cpu-rr", "unknown"): (3, "INT8 is not known to be fast here"),
    }
    kind = artifact.target if artifact.target in ("cpu-rr", "trt") else "cpu"
    return ranks.get((kind, sums), (5, "made for another kind of processor"))


def _check_precision(precision: str, engines: Sequence[str]) -> None:
    offered = sorted({each for name in engines for each in get_engine(name).precisions()})
    if precision and precision != ALL and precision not in offered:
        raise BackendMissingError(
            f"no engine here computes in {precision!r}; {', '.join(engines)} offer "
            f"{', '.join(offered)}"
        )


def _precisions(name: str, precision: str) -> Sequence[str]:
    engine = get_engine(name)
    try:
        offered = engine.precisions()
    except BackendMissingError as error:  # such as "no NVIDIA driver", which names no engine
        raise BackendMissingError(
            f"{engine.label} cannot be used here ({error}); `edgecnn doctor` lists the engines "
            "that can"
        ) from None
    if precision in {"", ALL}:
        return offered if precision else offered[:1]
    return [precision] if precision in offered else []
