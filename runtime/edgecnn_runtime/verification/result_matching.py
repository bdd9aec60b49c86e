"""Whether two runs of a model give the same results, by the rules of its task."""

from collections.abc import Iterable

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.tasks import task_of
from edgecnn_runtime.tasks.findings import SCORE_MARGIN
from edgecnn_runtime.types import Result


def results_match(model: ModelSpec, ours: Result, reference: Result) -> bool:
    """Whether two results for the same picture agree in all they find."""
    equal, total = task_of(model).matches(ours, reference, _least_score(model, ours, reference))
    return equal == total


def agreement_rate(model: ModelSpec, pairs: Iterable[tuple[Result, Result]]) -> float:
    """The share of findings two runs agree on: of the boxes of both, else of the pictures.

    Args:
        model: What gave the results.
        pairs: The results of both for each picture. One in which both find nothing counts as one
            finding.
    """
    task = task_of(model)
    counts = [task.matches(*pair, _least_score(model, *pair)) for pair in pairs]
    return sum(count.equal for count in counts) / sum(count.total for count in counts)


def _least_score(model: ModelSpec, *results: Result) -> float:
    """The score from which both results have every object.

    One that is as long as the head allows ends at the score of its last object, not at the
    threshold: rounding decides which of those about as sure are the last ones. Where most are about
    as sure, that would excuse whatever they are.
    """
    most, least = getattr(model.decode, "max_detections", None), model.score_threshold
    for result in results:
        if isinstance(result, list) and len(result) == most:
            scores = sorted(each.score for each in result)
            if scores[len(scores) // 2] > scores[0] + SCORE_MARGIN:
                least = max(least, scores[0])
    return least
