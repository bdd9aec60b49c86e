"""The choice that was measured on this machine: what is stored of it, and its words.

``edgecnn bench BUNDLE --select`` measures and stores it; ``load`` only reads it.
"""

import logging
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from edgecnn_runtime import __version__
from edgecnn_runtime.backends import installed
from edgecnn_runtime.bundle.bundle import Bundle
from edgecnn_runtime.bundle.manifest import artifact_name
from edgecnn_runtime.device.cache import Key, describe_outdated, read_entry, write_entry
from edgecnn_runtime.device.fingerprint import performance_key

KIND = "choice"

log = logging.getLogger(__name__)

Name: TypeAlias = Annotated[str, Meta(pattern=r"^[\w][\w.\-]*$", max_length=128)]
Factor: TypeAlias = Annotated[float, Meta(gt=0.0)]


class CandidateTiming(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A candidate, and how long an inference takes with it.

    Attributes:
        artifact: Its file name.
        backend: The engine's name.
        precision: What the engine computes in.
        threads: Of the engine.
        milliseconds: p50 of an inference.
        relative: The same in units of the reference workload's time in the same rounds.
        ratio: Its time over the chosen candidate's, round by round.
        low: Lower end of the 99 % interval of ``ratio``.
        high: Upper end.
        rounds: In how many rounds both were measured.
    """

    artifact: Name
    backend: Name
    precision: Name
    threads: Annotated[int, Meta(ge=1, le=1024)]
    milliseconds: Factor
    relative: Factor
    ratio: Factor
    low: Factor
    high: Factor
    rounds: Annotated[int, Meta(ge=1)]

    @property
    def name(self) -> str:
        """``int8-cpu on openvino/f32, 2 threads``."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{artifact_name(self.artifact)} on {self.backend}/{self.precision}, {threads}"


class SelectionRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All candidates that were measured here.

    Attributes:
        created: When, in UTC, ISO 8601.
        batch: Frames per inference.
        standings: The timings, the chosen candidate first, the others by time.
        plain: Index of the fastest float candidate on the first engine that has one, with which
            the others are compared; None if float was not measured.
    """

    created: Annotated[str, Meta(max_length=40)]
    batch: Annotated[int, Meta(ge=1)]
    standings: Annotated[tuple[CandidateTiming, ...], Meta(min_length=1, max_length=4096)]
    plain: Annotated[int, Meta(ge=0)] | None = None

    def reason(self, standing: CandidateTiming) -> str:
        """Why a candidate was chosen, in the words of ``model.choice``."""
        others = [other for other in self.standings if other != standing]
        comparisons = [
            f"{speedup_text(other.ratio / standing.ratio)} float on {other.backend}"
            for index, other in enumerate(self.standings)
            if index == self.plain and other != standing
        ]
        if others:
            place = "the fastest" if standing != self.standings[0] else "the next"
            comparisons.append(
                f"{speedup_text(others[0].ratio / standing.ratio)} {place}, {others[0].name}"
            )
        text = ", ".join(comparisons) or "the only candidate"
        return f"measured here on {self.created[:10]}: {text}"


def speedup_text(factor: float) -> str:
    """``2.1 × faster than``, ``1.25 × slower than``, or ``as fast as`` within 2 %."""
    if abs(factor - 1) < 0.02:
        return "as fast as"
    if factor < 1:
        return f"{1 / factor:.2f} × slower than"
    return f"{factor:.2f} × faster than" if factor < 1.2 else f"{factor:.1f} × faster than"


def read_selection(bundle: Bundle, cache: Path, batch: int) -> SelectionRecord | None:
    """The choice for this bundle, this batch, these engines and this machine; None without one.

    A choice that was measured under other circumstances is not used; a warning says so.
    """
    key = _key(bundle, batch)
    record = read_entry(cache, KIND, key, SelectionRecord)
    if record is None and (outdated := describe_outdated(cache, KIND, key, identity=2)):
        log.warning(
            "%s: the choice measured here is not used: %s. `edgecnn bench %s --select` measures "
            "again", bundle.path, outdated, bundle.path,
        )  # fmt: skip
    return record


def write_selection(bundle: Bundle, cache: Path, measured: SelectionRecord) -> bool:
    """Store a choice for ``load``; False if the folder cannot be written."""
    return write_entry(cache, KIND, _key(bundle, measured.batch), measured)


def _key(bundle: Bundle, batch: int) -> Key:
    versions = (f"{name} {version}" for name, version in installed().items())
    words = (f"batch {batch}", f"edgecnn {__version__}", *versions)
    return (bundle.digest, *words, *performance_key())
