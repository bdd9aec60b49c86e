"""One class for a picture."""

import heapq
from collections.abc import Mapping
from typing import Any

from edgecnn_runtime.bundle import manifest
from edgecnn_runtime.decode.base import DecoderFactory
from edgecnn_runtime.decode.classify import ClassifyDecoder
from edgecnn_runtime.draw import QUIET, BannerLine, Canvas, class_color
from edgecnn_runtime.tasks.base import printable
from edgecnn_runtime.types import Classification

TOP_K = 2
"""Further classes that are drawn below the best one."""

decoders: Mapping[type[Any], DecoderFactory[Classification]] = {manifest.Classify: ClassifyDecoder}
columns: tuple[str, ...] = ("label", "class", "score")
decides, locates = True, False


def serialize(result: Classification) -> list[dict[str, object]]:
    """One record: ``label``, ``index`` and ``score`` of the best class."""
    return [{"label": result.label, "index": result.index, "score": round(result.score, 4)}]


def draw(canvas: Canvas, result: Classification) -> None:
    """The best class and its runners-up as a banner."""
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


def summarize(result: Classification) -> str:
    """``7 98 %``."""
    return f"{printable(result.label)} {result.score:.0%}"
