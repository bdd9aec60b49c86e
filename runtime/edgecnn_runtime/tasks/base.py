"""The seam of tasks: all that the product knows of a kind of result."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.decode.base import DecoderFactory

if TYPE_CHECKING:
    from edgecnn_runtime.draw import Canvas
    from edgecnn_runtime.evaluation.dataset import LabeledImage, LabeledSet, SourceLocation
    from edgecnn_runtime.evaluation.metrics import Score
    from edgecnn_runtime.types import Detection

R = TypeVar("R")


class Matches(NamedTuple):
    """How far two results agree.

    Attributes:
        equal: How many findings of both have an equal one in the other.
        total: How many there are: the boxes of both, or one for a picture.
    """

    equal: int
    total: int


class Task(Protocol[R]):
    """What results of one type are, how they are shown, compared and scored.

    Attributes:
        decoders: How each head that gives such results is decoded, by its Struct in the manifest.
        columns: The columns of a table that its records fill.
        decides: Whether a result is one answer of many, such as a class: a small error leaves it
            or changes it altogether. Otherwise errors show in numbers, by degrees.
        locates: Whether a result is things at places: a frame keeps its aspect ratio by default,
            and what counts is what is found, because most of the outputs is about background.
    """

    decoders: Mapping[type[Any], DecoderFactory[R]]
    columns: tuple[str, ...]
    decides: bool
    locates: bool

    def serialize(self, result: R, /) -> Sequence[Mapping[str, object]]:
        """One record of plain JSON values per object, class, text or vector."""

    def draw(self, canvas: "Canvas", result: R, /) -> None:
        """Draw a result whose coordinates are pixels of the canvas."""

    def count(self, result: R, /) -> int:
        """How many objects, classes, texts or vectors a result has; called for every frame."""

    def detections(self, result: R, /) -> "Sequence[Detection]":
        """What a result locates, for tracks, crops and events.

        One for each record, in their order; none where it is about the whole picture. What is more
        than a box goes along as ``Detection.shape``.
        """

    def read_labels(self, source: "SourceLocation", model: ModelSpec, /) -> "LabeledSet":
        """Read labeled images for a model.

        Raises:
            UsageError: Labels, files and model do not match, or ``score`` would say nothing.
        """

    def score(
        self, samples: "Sequence[LabeledImage]", results: Sequence[R], model: ModelSpec, /
    ) -> "Score":
        """Score a model's results on labeled images by the metric of the task."""

    def score_classes(
        self, samples: "Sequence[LabeledImage]", results: Sequence[R], model: ModelSpec, /
    ) -> "Mapping[str, Score]":
        """Score each class by itself, by its name; empty for a task without classes."""

    def summarize(self, result: R, /) -> str:
        """A result in a few words, such as ``3 × face``."""

    def matches(self, ours: R, reference: R, threshold: float, /) -> Matches:
        """Compare as a person would, not bit by bit; what barely passes ``threshold`` may miss."""

    def distances(self, ours: R, reference: R, threshold: float, /) -> Sequence[float]:
        """How far apart each finding is: 0.0 the same, about 1.0 at the limit of a match.

        Asked only of a task that locates; any other has none.
        """


def printable(text: str) -> str:
    """Text on one line, without what a terminal would obey: labels come from strangers."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
