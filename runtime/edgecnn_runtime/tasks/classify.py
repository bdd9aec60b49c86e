"""One class for a picture."""

import heapq
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgecnn_runtime.bundle import manifest
from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.decode.base import DecoderFactory
from edgecnn_runtime.decode.classify import ClassifyDecoder
from edgecnn_runtime.tasks.base import Matches, printable
from edgecnn_runtime.types import Classification

if TYPE_CHECKING:
    from edgecnn_runtime.draw import Canvas
    from edgecnn_runtime.evaluation.dataset import LabeledImage, LabeledSet, SourceLocation
    from edgecnn_runtime.evaluation.metrics import Score

TOP_K = 2
"""Further classes that are drawn below the best one."""
TIE_MARGIN = 0.01
"""Scores of two classes that differ by less decide nothing: either of them may come first."""

decoders: Mapping[type[Any], DecoderFactory[Classification]] = {manifest.Classify: ClassifyDecoder}
columns: tuple[str, ...] = ("label", "class", "score")
decides, locates = True, False


def serialize(result: Classification) -> list[dict[str, object]]:
    """One record: ``label``, ``index`` and ``score`` of the best class."""
    return [{"label": result.label, "index": result.index, "score": round(result.score, 4)}]


def draw(canvas: "Canvas", result: Classification) -> None:
    """The best class and its runners-up as a banner."""
    from edgecnn_runtime.draw import QUIET, BannerLine, class_color

    lines = [BannerLine(result.label, result.score, class_color(result.index))]
    if len(canvas.labels) == len(result.scores):
        scores = result.scores
        best = heapq.nlargest(TOP_K + 1, range(len(scores)), key=scores.__getitem__)
        others = [index for index in best if index != result.index][:TOP_K]
        lines += [BannerLine(canvas.labels[i], float(scores[i]), QUIET) for i in others]
    canvas.banner(lines)


def count(_result: Classification) -> int:
    """Every picture has a class."""
    return 1


def detections(_result: Classification) -> tuple[()]:
    """None: it is about the whole picture."""
    return ()


def matches(ours: Classification, reference: Classification, _threshold: float) -> Matches:
    """The best class is the same, or both give the two classes scores within TIE_MARGIN."""
    return Matches(int(ours.index == reference.index or _is_tie(ours, reference)), 1)


def distances(
    _ours: Classification, _reference: Classification, _threshold: float
) -> Sequence[float]:
    """None: the scores themselves tell."""
    return ()


def read_labels(source: "SourceLocation", model: ModelSpec) -> "LabeledSet":
    """A folder with one subfolder per class, IDX files, or a table with ``file`` and ``label``."""
    from edgecnn_runtime.evaluation import dataset
    from edgecnn_runtime.evaluation.image_labels import read_image_labels

    labeled = read_image_labels(source, "label", folder="class", names=model.labels)
    unknown = [s for s in labeled.samples if dataset.class_index(s.label, model.labels) is None]
    if unknown:
        names = sorted({sample.label for sample in unknown})
        raise dataset.first_place(source, unknown).error(
            f"{len(names)} of its classes {'is' if len(names) == 1 else 'are'} not among the "
            f"model's labels: {dataset.list_names(names)}; "
            f"the model says {dataset.list_names(model.labels) or 'only numbers'}: "
            "export it with --labels FILE, which names the classes"
        )
    return labeled


def score(
    samples: "Sequence[LabeledImage]", results: Sequence[Classification], model: ModelSpec
) -> "Score":
    """The share of images whose best class is the label."""
    from edgecnn_runtime.evaluation import metrics

    return metrics.top1(samples, results, model)


def score_classes(
    samples: "Sequence[LabeledImage]", results: Sequence[Classification], model: ModelSpec
) -> "Mapping[str, Score]":
    """For each class, the share of its images that get it."""
    from edgecnn_runtime.evaluation import metrics

    return metrics.recall_by_class(samples, results, model)


def summarize(result: Classification) -> str:
    """``7, 98 %``."""
    return f"{printable(result.label)}, {100 * result.score:.0f} %"


def _is_tie(ours: Classification, reference: Classification) -> bool:
    if ours.scores.shape != reference.scores.shape:
        return False
    pairs = (scores[[ours.index, reference.index]] for scores in (ours.scores, reference.scores))
    return all(abs(float(first) - float(second)) <= TIE_MARGIN for first, second in pairs)
