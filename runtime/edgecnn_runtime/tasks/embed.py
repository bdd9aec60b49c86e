"""A feature vector for a picture."""

from collections.abc import Mapping
from typing import Any

from edgecnn_runtime.bundle import manifest
from edgecnn_runtime.decode.base import DecoderFactory
from edgecnn_runtime.decode.embed import EmbedDecoder
from edgecnn_runtime.draw import PALETTE, BannerLine, Canvas
from edgecnn_runtime.types import Embedding

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


def summarize(result: Embedding) -> str:
    """``512 numbers``."""
    return f"{result.vector.size} numbers"
