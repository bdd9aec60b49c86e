"""A line of text for a picture."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgecnn_runtime.bundle import manifest
from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.decode.base import DecoderFactory
from edgecnn_runtime.decode.ctc import CtcDecoder
from edgecnn_runtime.tasks.base import Matches, printable
from edgecnn_runtime.types import Reading

if TYPE_CHECKING:
    from edgecnn_runtime.draw import Canvas
    from edgecnn_runtime.evaluation.dataset import LabeledImage, LabeledSet, SourceLocation
    from edgecnn_runtime.evaluation.metrics import Score

MAX_UNCERTAIN = 0.525
"""The most a character's probability can be while that of another one is within 0.05 of it."""

decoders: Mapping[type[Any], DecoderFactory[Reading]] = {manifest.Ctc: CtcDecoder}
columns: tuple[str, ...] = ("score", "text")
decides, locates = True, False


def serialize(result: Reading) -> list[dict[str, object]]:
    """One record, ``text``, ``score`` and ``char_scores``; none of an empty text."""
    if not result.text:
        return []
    scores = [round(score, 4) for score in result.char_scores]
    return [{"text": result.text, "score": round(result.score, 4), "char_scores": scores}]


def draw(canvas: "Canvas", result: Reading) -> None:
    """The text as a banner."""
    from edgecnn_runtime.draw import PALETTE, BannerLine

    text, score = (result.text, result.score) if result.text else ("–", None)
    canvas.banner([BannerLine(text, score, PALETTE[0])])


def count(result: Reading) -> int:
    """Whether there is a text."""
    return 1 if result.text else 0


def detections(_result: Reading) -> tuple[()]:
    """None: it is about the whole picture."""
    return ()


def matches(ours: Reading, reference: Reading, _threshold: float) -> Matches:
    """The text is the same, but for characters that both read with MAX_UNCERTAIN or less."""
    return Matches(int(_same_text(ours, reference)), 1)


def distances(_ours: Reading, _reference: Reading, _threshold: float) -> Sequence[float]:
    """None: the scores themselves tell."""
    return ()


def read_labels(source: "SourceLocation", _model: ModelSpec) -> "LabeledSet":
    """A table with ``file`` and ``text``."""
    from edgecnn_runtime.evaluation.image_labels import read_image_labels

    return read_image_labels(source, "text")


def score(
    samples: "Sequence[LabeledImage]", results: Sequence[Reading], model: ModelSpec
) -> "Score":
    """The share of images whose text is right to the last character."""
    from edgecnn_runtime.evaluation import metrics

    return metrics.exact_match(samples, results, model)


def score_classes(
    _samples: "Sequence[LabeledImage]", _results: Sequence[Reading], _model: ModelSpec
) -> "Mapping[str, Score]":
    """None: there are no classes."""
    return {}


def summarize(result: Reading) -> str:
    """``AB123``."""
    return printable(result.text) or "(nothing)"


def _same_text(ours: Reading, reference: Reading) -> bool:
    if len(ours.text) != len(reference.text):
        return False
    scores = zip(ours.char_scores, reference.char_scores, strict=False)
    sure = [max(pair) > MAX_UNCERTAIN for pair in scores] or [True] * len(ours.text)
    return all(
        char == other or not certain
        for char, other, certain in zip(ours.text, reference.text, sure, strict=True)
    )
