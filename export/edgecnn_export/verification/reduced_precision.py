"""Precisions below an engine's exact one, bf16 and f16: faster on some chips, and only candidates.

A device may choose one only if export has seen it pass, so each is run as one more check. One that
fails is left out with a word, and costs the export nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edgecnn_export.progress import Progress
from edgecnn_export.verification.verify import Check, Gate, Verifier, step_name
from edgecnn_runtime.backends import get_engine
from edgecnn_runtime.errors import VerificationError

GATE = Gate(cosine=0.99, agreement=0.99)
"""As for INT8."""
MARGIN = 0.005
"""How much cosine an INT8 artifact may lose on top of what its own gate allowed it."""


@dataclass(frozen=True)
class Reduced:
    """passed: a check for each that devices may choose. left_out: why the others may not be."""

    passed: tuple[Check, ...]
    left_out: tuple[str, ...]


NOT_CHECKED = Reduced((), ())


def check_reduced(verifier: Verifier, exact: Sequence[Check], progress: Progress) -> Reduced:
    """Every artifact and engine that passed at its exact precision, at the others it offers."""
    passed, left_out = [], []
    for check in exact:
        runner = get_engine(check.backend)
        if not runner.takes(check.artifact.target, check.artifact.format):
            continue
        for precision in runner.precisions()[1:]:
            engine = f"{check.backend}/{precision}"
            with progress.step(step_name(check.artifact, engine)):
                gate = _gate(check)
                try:
                    found = verifier.check_reduced(check.artifact, check.backend, precision, gate)
                except VerificationError as error:
                    left_out.append(f"{engine} is no candidate: {error}")
                    continue
            if found.failed:
                said = found.gate.requirement(_cosine(found), found.run.agreement)
                left_out.append(f"{check.artifact.file} is no candidate in {engine}: {said}")
            else:
                passed.append(found)
    return Reduced(tuple(passed), tuple(left_out))


def _gate(exact: Check) -> Gate:
    """GATE, or what the artifact reaches exactly where that is less."""
    reached = _cosine(exact) - MARGIN
    return Gate(min(GATE.cosine, reached), min(GATE.agreement, exact.run.agreement))


def _cosine(check: Check) -> float:
    return min(parity.cosine for parity in check.run.parity.values())
