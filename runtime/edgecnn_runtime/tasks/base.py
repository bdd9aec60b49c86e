"""The seam of tasks: all that the product knows of a kind of result."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from edgecnn_runtime.decode.base import DecoderFactory
from edgecnn_runtime.draw import Canvas

R = TypeVar("R")


class Task(Protocol[R]):
    """What results of one type are and how they are shown.

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

    def draw(self, canvas: Canvas, result: R, /) -> None:
        """Draw a result whose coordinates are pixels of the canvas."""

    def count(self, result: R, /) -> int:
        """How many objects, classes, texts or vectors a result has; called for every frame."""

    def summarize(self, result: R, /) -> str:
        """A result in a few words, such as ``3 × face``."""


def printable(text: str) -> str:
    """Text on one line, without what a terminal would obey: labels come from strangers."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
