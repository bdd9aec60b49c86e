"""A feature vector for a picture."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecnn_runtime.bundle import manifest
from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.decode.base import DecoderFactory
from edgecnn_runtime.decode.embed import EmbedDecoder
from edgecnn_runtime.tasks.base import Matches
from edgecnn_runtime.types import Embedding, Floats

if TYPE_CHECKING:
    from edgecnn_runtime.draw import Canvas
    from edgecnn_runtime.evaluation.dataset import LabeledImage, LabeledSet, SourceLocation
    from edgecnn_runtime.evaluation.metrics import Score

MIN_COSINE = 0.99
"""Cosine from which two embeddings are the same vector."""

decoders: Mapping[type[Any], DecoderFactory[Embedding]] = {manifest.Embed: EmbedDecoder}
columns: tuple[str, ...] = ("vector",)
decides, locates = False, False


def serialize(result: Embedding) -> list[dict[str, object]]:
    """One record: ``vector``."""
    return [{"vector": [round(float(value), 6) for value in result.vector]}]


def draw(canvas: "Canvas", result: Embedding) -> None:
    """The length of the vector as a banner."""
    from edgecnn_runtime.draw import PALETTE, BannerLine

    canvas.banner([BannerLine(f"{len(result.vector)}-D embedding", None, PALETTE[0])])


def count(_result: Embedding) -> int:
    """Every picture has a vector."""
    return 1


def detections(_result: Embedding) -> tuple[()]:
    """None: it is about the whole picture."""
    return ()


def matches(ours: Embedding, reference: Embedding, _threshold: float) -> Matches:
    """The vectors point the same way."""
    return Matches(int(_cosine(ours.vector, reference.vector) >= MIN_COSINE), 1)


def distances(_ours: Embedding, _reference: Embedding, _threshold: float) -> Sequence[float]:
    """None: the vector itself tells."""
    return ()


def read_labels(source: "SourceLocation", _model: ModelSpec) -> "LabeledSet":
    """A folder with one subfolder per person, or a table with ``file`` and ``label``."""
    from edgecnn_runtime.evaluation import dataset
    from edgecnn_runtime.evaluation.image_labels import read_image_labels

    labeled = read_image_labels(source, "label", folder="person")
    people = Counter(sample.label for sample in labeled.samples)
    needed = (
        "TAR@FAR compares images of one person with each other and with those of others: "
        "two persons are needed, and two images of one of them"
    )
    if len(people) == 1:
        (person,) = people
        raise source.error(
            f"all images are of one person, {dataset.truncate_text(person)}; {needed}"
        )
    if max(people.values()) == 1:
        raise source.error(f"no person in it has two images; {needed}")
    return labeled


def score(
    samples: "Sequence[LabeledImage]", results: Sequence[Embedding], model: ModelSpec
) -> "Score":
    """The share of pairs of one person accepted where FALSE_ACCEPTS of the others are."""
    from edgecnn_runtime.evaluation import metrics

    return metrics.tar_at_far(samples, results, model)


def score_classes(
    _samples: "Sequence[LabeledImage]", _results: Sequence[Embedding], _model: ModelSpec
) -> "Mapping[str, Score]":
    """None: there are no classes."""
    return {}


def summarize(result: Embedding) -> str:
    """``512 numbers``."""
    return f"{result.vector.size} numbers"


def _cosine(ours: Floats, reference: Floats) -> float:
    lengths = float(np.linalg.norm(ours) * np.linalg.norm(reference))
    return float(ours @ reference) / lengths if lengths else float(np.array_equal(ours, reference))
