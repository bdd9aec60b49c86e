"""A line of text for a picture."""

from collections.abc import Mapping
from typing import Any

from edgecnn_runtime.bundle import manifest
from edgecnn_runtime.decode.base import DecoderFactory
from edgecnn_runtime.decode.ctc import CtcDecoder
from edgecnn_runtime.draw import PALETTE, BannerLine, Canvas
from edgecnn_runtime.tasks.base import printable
from edgecnn_runtime.types import Reading

decoders: Mapping[type[Any], DecoderFactory[Reading]] = {manifest.Ctc: CtcDecoder}
columns: tuple[str, ...] = ("score", "text")
decides, locates = True, False


def serialize(result: Reading) -> list[dict[str, object]]:
    """One record, ``text``, ``score`` and ``char_scores``; none of an empty text."""
    if not result.text:
        return []
    scores = [round(score, 4) for score in result.char_scores]
    return [{"text": result.text, "score": round(result.score, 4), "char_scores": scores}]


def draw(canvas: Canvas, result: Reading) -> None:
    """The text as a banner."""
    text, score = (result.text, result.score) if result.text else ("–", None)
    canvas.banner([BannerLine(text, score, PALETTE[0])])


def count(result: Reading) -> int:
    """Whether there is a text."""
    return 1 if result.text else 0


def summarize(result: Reading) -> str:
    """``AB123``."""
    return printable(result.text) or "(nothing)"
