"""Every artifact on every engine here: golden data replayed, and further pictures compared.

The self-test at load is about one candidate, this is about all of them. On further pictures the
engines are compared with each other: the float artifact on the first engine that passed is the
reference for the others.
"""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from edgecnn_runtime.backends import get_engine, open_backend
from edgecnn_runtime.backends.candidate import Candidate
from edgecnn_runtime.bundle.bundle import Bundle, load_golden
from edgecnn_runtime.bundle.manifest import Decode, Parity
from edgecnn_runtime.device.cache import default_cache_dir
from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.parity import parity
from edgecnn_runtime.preprocess import prepare
from edgecnn_runtime.types import Floats, Pixels
from edgecnn_runtime.verification.row_matching import comparable
from edgecnn_runtime.verification.selftest import (
    SelfTest,
    golden_agreement,
    required_db,
    run_batches,
    run_selftest,
)


class OutputCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate against the float artifact on further pictures.

    Attributes:
        parity: how close each output is, by name. The SNR is taken to the variation of the
            golden outputs where that is larger: one picture, or equal ones, have none.
        agreement: the share of pictures with an equal decoded result.
    """

    parity: dict[str, Parity]
    agreement: float


class BackendCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on one artifact on one engine.

    Attributes:
        artifact: its file.
        engine: ``backend/precision``.
        version: the engine's.
        selftest: None where the engine could not be opened.
        comparison: None without further pictures, for the reference itself, and for those that
            were opened before there was one.
        problem: what is wrong; "" where nothing is.
    """

    artifact: str
    engine: str
    version: str
    selftest: SelfTest | None = None
    comparison: OutputCheck | None = None
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.problem


def verify_bundle(
    bundle: Bundle, candidates: Sequence[Candidate], frames: Sequence[Pixels] = ()
) -> list[BackendCheck]:
    """A verdict on each candidate, the float artifacts first.

    Args:
        bundle: what to verify.
        candidates: the ways to run it.
        frames: further pictures to compare engines on, uint8[H,W,3] BGR of any sizes.

    Raises:
        BackendMissingError: the engine of a candidate is not here.
        BundleError: a damaged bundle.
    """
    pixels = prepare(bundle.manifest.model.input, frames) if frames else None
    reference: dict[str, Floats] = {}
    verdicts = []
    for candidate in sorted(candidates, key=lambda each: each.artifact.precision != "fp32"):
        verdict, outputs = _verdict(bundle, candidate, pixels, reference)
        if not reference and verdict.passed:
            reference = outputs
        verdicts.append(verdict)
    return verdicts


def _verdict(
    bundle: Bundle, candidate: Candidate, pixels: Pixels | None, reference: dict[str, Floats]
) -> tuple[BackendCheck, dict[str, Floats]]:
    spec, artifact, engine = bundle.manifest.model, candidate.artifact, candidate.engine
    options = candidate.options(spec.smallest_batch, default_cache_dir())
    version = get_engine(candidate.backend).version()
    check = BackendCheck(artifact=artifact.file, engine=engine, version=version)
    try:
        with open_backend(candidate.backend, bundle.file(artifact), options, spec) as backend:
            test = run_selftest(bundle, artifact, engine, backend)
            outputs = run_batches(backend, pixels, spec) if pixels is not None else {}
    except EdgecnnError as error:
        return replace(check, problem=str(error)), {}
    comparison = None
    problem = "" if test.passed else f"does not reproduce the golden outputs: {test}"
    if reference and outputs:
        typical = load_golden(bundle).outputs
        comparison = OutputCheck(
            parity={
                name: _parity(spec.decode, name, reference, outputs, typical) for name in reference
            },
            agreement=golden_agreement(spec, reference, outputs),
        )
        problem = problem or _difference(comparison, required_db(artifact, engine, spec))
    return replace(check, selftest=test, comparison=comparison, problem=problem), outputs


def _parity(
    decode: Decode,
    name: str,
    reference: Mapping[str, Floats],
    outputs: Mapping[str, Floats],
    typical: Mapping[str, Floats],
) -> Parity:
    """Of an output whose rows may swap, between rows about the same box."""
    expected, matched = comparable(decode, name, reference, outputs)
    return parity(expected, matched, typical=comparable(decode, name, typical, typical)[0])


def _difference(check: OutputCheck, required: dict[str, float]) -> str:
    for name, need in required.items():
        if not check.parity[name].snr_db >= need:
            return (
                f"differs from the float model on these pictures: {check.parity[name].snr_db:.1f} "
                f"dB on {name!r} (needs {need:.1f})"
            )
    return ""
