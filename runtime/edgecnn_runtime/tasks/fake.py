"""A task whose result is one number, the mean of an output.

It ships with the package so that what reads TASKS can be tested with one task more: a test adds it
under a name of its own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from edgecnn_runtime.bundle import manifest
from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.decode.base import DecoderFactory
from edgecnn_runtime.draw import PALETTE, BannerLine, Canvas
from edgecnn_runtime.evaluation.dataset import LabeledImage, LabeledSet, SourceLocation
from edgecnn_runtime.evaluation.image_labels import read_image_labels
from edgecnn_runtime.evaluation.metrics import Score, wilson
from edgecnn_runtime.preprocess import Geometry
from edgecnn_runtime.tasks.base import Matches
from edgecnn_runtime.types import Tensors

MARGIN = 0.01
"""Means that differ by less are the same."""


class MeanDecoder:
    """The mean of one item's scores."""

    def __init__(self, spec: manifest.Classify, _model: ModelSpec) -> None:
        self._output = spec.output

    def decode(self, outputs: Tensors, item: int, _geometry: Geometry, /) -> float:
        """One item's mean."""
        return float(outputs[self._output][item].mean())


decoders: Mapping[type[Any], DecoderFactory[float]] = {manifest.Classify: MeanDecoder}
columns: tuple[str, ...] = ("mean",)
decides, locates = False, False


def serialize(mean: float) -> list[dict[str, object]]:
    """One record: ``mean``."""
    return [{"mean": round(mean, 4)}]


def draw(canvas: Canvas, mean: float) -> None:
    """The mean as a banner."""
    canvas.banner([BannerLine(summarize(mean), None, PALETTE[0])])


def count(_mean: float) -> int:
    """Every picture has a mean."""
    return 1


def detections(_mean: float) -> tuple[()]:
    """None: it is about the whole picture."""
    return ()


def matches(ours: float, reference: float, _threshold: float) -> Matches:
    """The means differ by less than MARGIN."""
    return Matches(int(abs(ours - reference) < MARGIN), 1)


def distances(_ours: float, _reference: float, _threshold: float) -> Sequence[float]:
    """None: the output itself tells."""
    return ()


def read_labels(source: SourceLocation, _model: ModelSpec) -> LabeledSet:
    """A table with ``file`` and ``label``, the mean."""
    return read_image_labels(source, "label")


def score(samples: Sequence[LabeledImage], means: Sequence[float], _model: ModelSpec) -> Score:
    """How often the mean is the label."""
    pairs = zip(samples, means, strict=True)
    right = sum(matches(mean, float(sample.label), 0.0).equal for sample, mean in pairs)
    return Score("right means", right / len(means), *wilson(right, len(means)), len(means))


def score_classes(
    _samples: Sequence[LabeledImage], _means: Sequence[float], _model: ModelSpec
) -> Mapping[str, Score]:
    """None: there are no classes."""
    return {}


def summarize(mean: float) -> str:
    """``mean 0.25``."""
    return f"mean {mean:.2f}"
