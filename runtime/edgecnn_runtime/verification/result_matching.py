"""Whether two runs of a model give the same results, by the rules of its task."""

from collections.abc import Iterable

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.tasks import task_of
from edgecnn_runtime.types import Result


def results_match(model: ModelSpec, ours: Result, reference: Result) -> bool:
    """Whether two results for the same picture agree in all they find."""
    equal, total = task_of(model).matches(ours, reference, model.score_threshold)
    return equal == total


def agreement_rate(model: ModelSpec, pairs: Iterable[tuple[Result, Result]]) -> float:
    """The share of findings two runs agree on: of the boxes of both, else of the pictures.

    Args:
        model: What gave the results.
        pairs: The results of both for each picture. One in which both find nothing counts as one
            finding.
    """
    task, threshold = task_of(model), model.score_threshold
    counts = [task.matches(ours, reference, threshold) for ours, reference in pairs]
    return sum(count.equal for count in counts) / sum(count.total for count in counts)
