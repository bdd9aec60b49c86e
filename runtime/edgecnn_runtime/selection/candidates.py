"""Which artifact, on which backend, at which precision and with how many threads; and why.

``candidates`` lists what could run here, best first by rule: what processors of this kind do well.
Only measuring can tell, and only the device can measure: ``rank_candidates`` puts what was
measured here before the rule, and an argument goes before both. Nothing is measured here.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgecnn_runtime.backends import get_engine, require_installed
from edgecnn_runtime.bundle.bundle import Bundle
from edgecnn_runtime.bundle.manifest import Artifact
from edgecnn_runtime.device.cpu import INT8_DOT, SATURATING, WIDE, cpu_features, usable_cores
from edgecnn_runtime.errors import BackendMissingError, UsageError
from edgecnn_runtime.selection.record import read_selection
from edgecnn_runtime.verification.selftest import SelfTest

ALL = "all"
FULL_PRECISION = "f32"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run a bundle here. reason: why it stands where it stands."""

    artifact: Artifact
    backend: str
    precision: str
    threads: int
    reason: str

    @property
    def engine(self) -> str:
        """``backend/precision``, as in the manifest's runs."""
        return f"{self.backend}/{self.precision}"

    @property
    def exact(self) -> bool:
        """Whether the engine rounds nothing that the artifact does not."""
        return self.precision == FULL_PRECISION

    @property
    def needs_build(self) -> bool:
        """Whether opening it may take minutes: its engine is built here, once."""
        return get_engine(self.backend).needs_build

    @property
    def verified_at_export(self) -> bool:
        """Whether export measured this precision of this artifact, and it passed.

        An engine's exact precision needs no proof but the self-test.
        """
        measured = {run.engine.partition("/")[2] for run in self.artifact.runs}
        return self.exact or self.precision in measured

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.artifact.file} on {self.engine}, {threads}"


@dataclass(frozen=True, slots=True)
class Choice:
    """What a model runs on. test: None where no self-test was asked for.

    refused: the candidates that stood before it, and what was wrong with each; to be counted in
    metrics, for it means that the machine does not do what the bundle was verified to do.
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
    engines: Sequence[str] | None = None,
) -> list[Candidate]:
    """What could run the bundle on this machine, best first by rule.

    backend, artifact, precision: only these ("" is any; an artifact by its file name or its middle
    part, "int8-cpu"). precision "" is each backend's exact one, "all" every one it offers here.
    threads: 0 is every core this process may use.
    features, engines: what the processor offers and which backends are installed; None looks.
    Raises UsageError for a name that does not exist, BackendMissingError where nothing is left,
    as of a precision that no engine computes in here.
    """
    here = cpu_features() if features is None else features
    names = _backends(backend, engines)
    placed = [
        (rank, Candidate(entry, name, offered, _threads(name, threads), why))
        for entry in _artifacts(bundle, artifact)
        for name in names
        if get_engine(name).takes(entry.target, entry.format)
        for rank, why in [_rank(entry, name, here)]
        for offered in _precisions(name, precision)
    ]
    found = [candidate for _, candidate in sorted(placed, key=lambda pair: pair[0])]
    if not found:
        _check_precision(precision, names)
        what = artifact or precision or "any of its artifacts"
        raise BackendMissingError(
            f"{bundle.path}: no backend here takes {what} (tried {', '.join(names)}); "
            "`edgecnn doctor` shows what is installed"
        )
    return found


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

    cache: where measurements are kept. batch: frames an inference; each is measured by itself.
    backend, artifact, precision, threads: only these, also of what was measured; "" and 0 are any.
    A measured candidate that is no longer there is left out with a warning. Whatever has to build
    an engine for minutes is only here if it was measured, which built it, or named.
    Raises what ``candidates`` raises, BackendMissingError also where only such are left.
    """
    offered_here = candidates(
        bundle, backend=backend, artifact=artifact, precision=precision, threads=threads
    )
    by_rule = [each for each in offered_here if backend or not each.needs_build]
    measured = read_selection(bundle, cache, batch)
    if measured is None:
        return by_rule or _only_builders(bundle, offered_here)
    offered = candidates(bundle, precision=ALL)
    known = {(c.artifact.file, c.backend, c.precision): c for c in offered if c.verified_at_export}
    found: list[Candidate] = []
    for standing in measured.standings:
        candidate = known.get((standing.artifact, standing.backend, standing.precision))
        if candidate is None:
            log.warning(
                "%s: %s was measured here on %s and is not there any more: "
                "`edgecnn bench %s --select` measures again",
                bundle.path, standing.name, measured.created[:10], bundle.path,
            )  # fmt: skip
        elif (
            backend in {"", candidate.backend}
            and artifact in {"", candidate.artifact.file, _middle(candidate.artifact.file)}
            and precision in {"", ALL, candidate.precision}
            and _threads(candidate.backend, threads or standing.threads) == standing.threads
        ):
            why = measured.reason(standing)
            found.append(replace(candidate, threads=standing.threads, reason=why))
    tried = {(c.artifact.file, c.engine, c.threads) for c in found}
    found += (c for c in by_rule if (c.artifact.file, c.engine, c.threads) not in tried)
    return found or _only_builders(bundle, offered_here)


def _only_builders(bundle: Bundle, offered: Sequence[Candidate]) -> list[Candidate]:
    names = list(dict.fromkeys(candidate.backend for candidate in offered))
    raise BackendMissingError(
        f"{bundle.path}: here is only {', '.join(names)}, which builds its engine for minutes: "
        f"`edgecnn bench {bundle.path} --select` builds and measures, backend={names[0]!r} builds"
    )


def _threads(name: str, wanted: int) -> int:
    """Of a candidate on this backend; one thread feeds a GPU."""
    return 1 if get_engine(name).device == "gpu" else wanted or usable_cores()


def _backends(named: str, engines: Sequence[str] | None) -> list[str]:
    if named:
        return [get_engine(named).name]
    return list(require_installed() if engines is None else engines)


def _artifacts(bundle: Bundle, named: str) -> list[Artifact]:
    entries = bundle.manifest.artifacts
    if not named:
        return list(entries)
    found = [entry for entry in entries if named in (entry.file, _middle(entry.file))]
    if not found:
        known = ", ".join(_middle(entry.file) for entry in entries)
        raise UsageError(f"{bundle.path} has no artifact {named!r}; it has {known}")
    return found


def _middle(file: str) -> str:
    """model.int8-cpu.onnx → int8-cpu."""
    return file.removeprefix("model.").removesuffix(".onnx")


def _rank(
    artifact: Artifact, name: str, features: frozenset[str]
) -> tuple[tuple[int, int, int], str]:
    """Where an artifact on a backend stands on this machine, lowest first, and why.

    Of forms that the processor likes as well, the one that the backend names first.
    """
    engine = get_engine(name)
    preferred = engine.targets.index(artifact.target)
    if engine.device == "gpu":
        return (0, 0, preferred), "there is a GPU; nothing was measured"
    place, why = _cpu_rank(artifact, features)
    return (1, place, preferred), why


def _cpu_rank(artifact: Artifact, features: frozenset[str]) -> tuple[int, str]:
    if artifact.precision != "int8":
        half = artifact.precision == "fp16"
        return (2, "half precision") if half else (1, "float, exact on every processor")
    dot = sorted(features & INT8_DOT)
    sums = "exact" if dot else "saturating" if features & SATURATING else "unknown"
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
    kind = "cpu" if artifact.target == "openvino" else artifact.target
    return ranks.get((kind, sums), (5, "made for another kind of processor"))


def _check_precision(wanted: str, engines: Sequence[str]) -> None:
    offered = sorted({each for name in engines for each in get_engine(name).precisions()})
    if wanted and wanted != ALL and wanted not in offered:
        raise BackendMissingError(
            f"no engine here computes in {wanted!r}; {', '.join(engines)} offer "
            f"{', '.join(offered)}"
        )


def _precisions(name: str, wanted: str) -> Iterator[str]:
    offered = get_engine(name).precisions()
    if wanted == ALL:
        yield from offered
    elif not wanted:
        yield offered[0]
    elif wanted in offered:
        yield wanted
