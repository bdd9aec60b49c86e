"""Precisions below an engine's exact one, bf16 and f16: faster on some chips, and candidates only.

A device may choose one only if it passed at export, so each is one more check. One that fails is
left out with a warning, and costs the export nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edgecnn_export.progress import Progress
from edgecnn_export.verification.gate import LOWER, Gate
from edgecnn_export.verification.verify import Check, Verifier, step_name
from edgecnn_runtime.backends import get_engine
from edgecnn_runtime.errors import VerificationError

MARGIN = 0.005
"""How much cosine an INT8 artifact may lose on top of what its own gate allowed it."""


@dataclass(frozen=True)
class Reduced:
    """What the reduced precisions gave.

    Attributes:
        passed: One check for each precision that devices may choose.
        warnings: Why devices may not choose the others.
    """

    passed: tuple[Check, ...] = ()
    warnings: tuple[str, ...] = ()


def check_reduced(verifier: Verifier, exact: Sequence[Check], progress: Progress) -> Reduced:
    """Check every artifact and engine at the precisions the engine offers below its exact one.

    Args:
        verifier: Of the artifacts.
        exact: The checks at the exact precision, all passed.
        progress: Where each step is announced.
    """
    passed, warnings = [], []
    for check in exact:
        engine, artifact = get_engine(check.backend), check.artifact
        if not engine.takes(artifact.target, artifact.format, artifact.precision):
            continue
        for precision in engine.precisions()[1:]:
            name = f"{check.backend}/{precision}"
            with progress.step(step_name(artifact, name)):
                try:
                    reduced = verifier.check(
                        artifact, check.backend, _gate(check), precision=precision
                    )
                except VerificationError as error:
                    warnings.append(f"{name} is not a candidate: {error}")
                    continue
            if reduced.failed:
                figures = reduced.comparison.cosine, reduced.comparison.agreement
                reason = reduced.gate.requirement(*figures)
                warnings.append(f"{artifact.file} is not a candidate in {name}: {reason}")
            else:
                passed.append(reduced)
    return Reduced(tuple(passed), tuple(warnings))


def _gate(exact: Check) -> Gate:
    """LOWER, or what the artifact reaches at the exact precision where that is less."""
    comparison = exact.comparison
    return Gate(
        min(LOWER.cosine, comparison.cosine - MARGIN),
        min(LOWER.agreement, comparison.agreement),
    )
