"""A feature vector for a picture."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgecnn_runtime.bundle import manifest
from edgecnn_runtime.decode.base import DecoderFactory
from edgecnn_runtime.decode.embed import EmbedDecoder
from edgecnn_runtime.draw import PALETTE, BannerLine, Canvas
from edgecnn_runtime.tasks.base import Matches
from edgecnn_runtime.types import Embedding, Floats

MIN_COSINE = 0.99
"""Cosine from which two embeddings are the same vector."""

decoders: Mapping[type[Any], DecoderFactory[Embedding]] = {manifest.Embed: EmbedDecoder}
columns: tuple[str, ...] = ("vector",)
decides, locates = False, False


def serialize(result: Embedding) -> list[dict[str, object]]:
    """One record: ``vector``."""
    return [{"vector": [round(float(value), 6) for value in result.vector]}]


def draw(canvas: Canvas, result: Embedding) -> None:
    """The length of the vector as a banner."""
    canvas.banner([BannerLine(f"{len(result.vector)}-D embedding", None, PALETTE[0])])


def count(_result: Embedding) -> int:
    """Every picture has a vector."""
    return 1


def matches(ours: Embedding, reference: Embedding, _threshold: float) -> Matches:
    """The vectors point the same way."""
    return Matches(int(_cosine(ours.vector, reference.vector) >= MIN_COSINE), 1)


def distances(_ours: Embedding, _reference: Embedding, _threshold: float) -> Sequence[float]:
    """None: the vector itself tells."""
    return ()


def summarize(result: Embedding) -> str:
    """``512 numbers``."""
    return f"{result.vector.size} numbers"


def _cosine(ours: Floats, reference: Floats) -> float:
    lengths = float(np.linalg.norm(ours) * np.linalg.norm(reference))
    return float(ours @ reference) / lengths if lengths else float(np.array_equal(ours, reference))
