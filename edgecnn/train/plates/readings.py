"""What a plate reader reads, and how much of it is right."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgecnn.train.plates.grammar import CHARSET
from edgecnn.train.plates.photographs import PlateImage, resized
from edgecnn.train.plates.reader_batches import gray
from edgecnn_runtime.evaluation.metrics import wilson
from edgecnn_runtime.types import Reading

BATCH = 64
ALIKE = str.maketrans("OI", "01")
"""Characters that many countries print alike."""


@dataclass(frozen=True, slots=True)
class GroupScore:
    """How well the plates of one folder are read.

    Attributes:
        group: The folder.
        count: How many there are.
        right: How many texts are right, O and 0, I and 1 counted as equal.
        strict: How many are right to the last character.
        low: Of the 95 % interval of the share of ``right`` (Wilson).
        high: Its other end.
        sure: How many readings have a score over 0.9.
        sure_right: How many of those are right.
    """

    group: str
    count: int
    right: int
    strict: int
    low: float
    high: float
    sure: int
    sure_right: int


def read_plate_images(net: nn.Module, plates: Sequence[PlateImage]) -> list[Reading]:
    """Read plates, as the runtime reads them with the exported network.

    Args:
        net: A PlateReader; it is put into evaluation mode.
        plates: The plates.
    """
    net.eval()
    device = next(net.parameters()).device
    readings: list[Reading] = []
    for start in range(0, len(plates), BATCH):
        pixels = np.stack([gray(resized(plate.picture)) for plate in plates[start : start + BATCH]])
        with torch.inference_mode():
            batch = torch.from_numpy(pixels).to(device)[:, None].float() / 255
            likely = net(batch)[0].float().softmax(2).cpu().numpy()
        readings += [decode(steps) for steps in likely]
    return readings


def decode(steps: NDArray[np.float32]) -> Reading:
    """The best path through the probabilities of classes, float32[T,1+C]: repeats and blanks go."""
    text, scores, at = "", [], 0
    for number, run in groupby(steps.argmax(1).tolist()):
        if number:
            text += CHARSET[number - 1]
            scores.append(float(steps[at, number]))
        at += len(list(run))
    return Reading(text, min(scores, default=1.0), tuple(scores))


def score_groups(
    plates: Sequence[PlateImage], readings: Sequence[Reading]
) -> tuple[GroupScore, ...]:
    """How well the plates of each folder are read."""
    tables: dict[str, list[tuple[bool, bool, bool]]] = {}
    for plate, reading in zip(plates, readings, strict=True):
        right = reading.text.translate(ALIKE) == plate.text.translate(ALIKE)
        row = (right, reading.text == plate.text, bool(reading.text) and reading.score > 0.9)
        tables.setdefault(plate.group, []).append(row)
    return tuple(_score(group, rows) for group, rows in tables.items())


def _score(group: str, rows: Sequence[tuple[bool, bool, bool]]) -> GroupScore:
    right = sum(row[0] for row in rows)
    sure = [row[0] for row in rows if row[2]]
    strict = sum(row[1] for row in rows)
    return GroupScore(
        group, len(rows), right, strict, *wilson(right, len(rows)), len(sure), sum(sure)
    )
