"""Every artifact on every engine here: golden data replayed, and more pictures compared.

The self-test at load asks about one candidate; this asks about all of them, and tells. With
pictures of one's own, the engines are compared with each other: the float artifact on the first
engine that passed is what the others have to say too.
"""

from collections.abc import Sequence

import msgspec

from edgecnn_runtime.backends import Options, get_engine, open_backend
from edgecnn_runtime.bundle.bundle import Bundle
from edgecnn_runtime.bundle.manifest import Parity
from edgecnn_runtime.device.cache import default_cache_dir
from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.parity import parity
from edgecnn_runtime.preprocess import prepare
from edgecnn_runtime.selection.candidates import Candidate, candidates
from edgecnn_runtime.types import Floats, Pixels
from edgecnn_runtime.verification.selftest import (
    SelfTest,
    golden_agreement,
    required_db,
    run_batches,
    run_selftest,
)


class OutputCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate against the float artifact on the pictures given.

    parity: of each output. agreement: the share of pictures with an equal decoded result.
    """

    parity: dict[str, Parity]
    agreement: float


class BackendCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one artifact on one engine.

    selftest: None where the engine could not be opened, for which ``problem`` says why.
    comparison: None without pictures, for the candidate the others are compared with, and for
        those that failed before.
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
    bundle: Bundle,
    *,
    backend: str = "",
    precision: str = "",
    frames: Sequence[Pixels] = (),
) -> list[BackendCheck]:
    """A verdict on every candidate, the exact precision of each engine unless told.

    backend, precision: as for ``candidates``. frames: uint8[H,W,3] BGR, of any sizes.
    Raises BackendMissingError where no engine is installed, BundleError for a damaged bundle.
    """
    pixels = prepare(bundle.manifest.model.input, frames) if frames else None
    floats = sorted(
        candidates(bundle, backend=backend, precision=precision),
        key=lambda candidate: candidate.artifact.precision != "fp32",
    )
    reference: dict[str, Floats] = {}
    verdicts = []
    for candidate in floats:
        verdict, outputs = _verdict(bundle, candidate, pixels, reference)
        if not reference and verdict.passed:
            reference = outputs
        verdicts.append(verdict)
    return verdicts


def _verdict(
    bundle: Bundle, candidate: Candidate, pixels: Pixels | None, reference: dict[str, Floats]
) -> tuple[BackendCheck, dict[str, Floats]]:
    model, artifact, engine = bundle.manifest.model, candidate.artifact, candidate.engine
    options = Options(
        threads=candidate.threads,
        batch=model.smallest_batch,
        precision=candidate.precision,
        cache_dir=default_cache_dir(),
    )
    version = get_engine(candidate.backend).version()
    try:
        with open_backend(candidate.backend, bundle.file(artifact), options, model) as backend:
            test = run_selftest(bundle, artifact, engine, backend)
            outputs = run_batches(backend, pixels, model) if pixels is not None else {}
    except EdgecnnError as error:
        verdict = BackendCheck(
            artifact=artifact.file, engine=engine, version=version, problem=str(error)
        )
        return verdict, {}
    comparison = None
    problem = "" if test.passed else f"does not reproduce the golden outputs: {test}"
    if reference and outputs:
        comparison = OutputCheck(
            parity={name: parity(reference[name], outputs[name]) for name in reference},
            agreement=golden_agreement(model, reference, outputs),
        )
        problem = problem or _difference(comparison, required_db(artifact, engine, model))
    verdict = BackendCheck(
        artifact=artifact.file,
        engine=engine,
        version=version,
        selftest=test,
        comparison=comparison,
        problem=problem,
    )
    return verdict, outputs


def _difference(found: OutputCheck, required: dict[str, float]) -> str:
    for name, need in required.items():
        if not found.parity[name].snr_db >= need:
            return (
                f"differs from the float model on these pictures: {found.parity[name].snr_db:.1f} "
                f"dB on {name!r} (needs {need:.1f})"
            )
    return ""
