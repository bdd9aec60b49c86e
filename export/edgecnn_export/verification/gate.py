"""What a graph has to reach on an engine, measured against the reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.parity import cosine_text, percent_text
from edgecnn_runtime.tasks import task_of
from edgecnn_runtime.types import Result
from edgecnn_runtime.verification.row_matching import rows_may_swap

ANY_COSINE = -1.0
"""The cosine of a gate that only asks for equal results."""
MIN_AGREEMENT = 0.99
MIN_FINDINGS = 30
"""The fewest boxes that prove something: where 30 of 30 are equal, 90 % or more are, in 95 of 100
cases."""


@dataclass(frozen=True)
class Gate:
    """What a run has to reach to be emitted.

    Attributes:
        cosine: The smallest centered cosine of any output.
        agreement: The share of decoded results, of a detector's boxes, that equal the reference's.
    """

    cosine: float
    agreement: float

    def margin(self, cosine: float, agreement: float) -> float:
        """How far above the gate these figures are; negative where they fail."""
        return min(cosine - self.cosine, agreement - self.agreement)

    def requirement(self, cosine: float, agreement: float) -> str:
        """The figures reached, each beside the one required; none is rounded up to it."""
        least = f" (at least {100 * self.agreement:g}%)" if self.agreement else ""
        results = f"{percent_text(agreement, 1)} of results equal{least}"
        if self.cosine == ANY_COSINE:
            return results
        return f"centered cosine {cosine_text(cosine, 4)} (at least {self.cosine:.4g}), {results}"


EXACT = Gate(cosine=0.9999, agreement=0.0)
"""Float graphs at an engine's exact precision."""
LOWER = Gate(cosine=0.99, agreement=0.99)
"""INT8 without evaluation data, and precisions below the exact one."""
HALF = Gate(cosine=0.999, agreement=0.0)
"""Half precision. Its errors are so small that a result changes only where two were alike."""
GATES: Mapping[str, Gate] = {
    "fp32": EXACT,
    "fp16": HALF,
    "int8": Gate(ANY_COSINE, agreement=0.0),
}
"""By the artifact's precision. An INT8 artifact passed the accuracy gate, on more images, before it
was written; here its figures are only recorded."""


def applicable_gate(gate: Gate, spec: ModelSpec, results: Sequence[Result]) -> Gate:
    """The part of a gate that proves something about this model.

    What a task that locates finds proves something from MIN_FINDINGS on. Then it is all that counts
    where selection inside the graph may swap rows, and below half precision, because most of the
    outputs are about background that no threshold lets through. With fewer findings two graphs
    agree on empty pictures, so every output has to follow the reference as well.

    Args:
        gate: What is required in general.
        spec: What the model takes and gives.
        results: The reference's results on the images compared.
    """
    task, swapping = task_of(spec), rows_may_swap(spec.decode)
    agreement = gate.agreement or (MIN_AGREEMENT if swapping else 0.0)
    if gate.cosine == ANY_COSINE or not task.locates:
        return gate
    enough = sum(map(task.count, results)) >= MIN_FINDINGS
    if enough and (swapping or gate.cosine < HALF.cosine):
        return Gate(ANY_COSINE, agreement)
    return Gate(gate.cosine, agreement)
