"""What a plate reader learns from, step by step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn.train.plates.crops import INPUT, Crop, CropMaker
from edgecnn.train.plates.grammar import CHARSET
from edgecnn.train.plates.photographs import PlateImage, resized
from edgecnn.train.plates.reader_config import ReaderConfig
from edgecnn.train.renders.noise import Random
from edgecnn_runtime.types import Pixels

IGNORED = -100
"""The class of a step whose class is not known."""
STRIDE = 4
"""Pixels of the input for each step."""
FIRST, AGAIN = 8, 64
"""Batches that a training begins with, and goes on with: a network that knows a little would learn
a few crops by heart."""
STEPS = INPUT[0] // STRIDE
"""For each line."""
Lines: TypeAlias = tuple[list[int], list[int]]
"""Class numbers of the upper and of the lower line; a single line is the lower one."""
NUMBERS = {char: number for number, char in enumerate(CHARSET, 1)}
"""Of the classes; 0 is the blank."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from.

    Attributes:
        pixels: uint8[B,40,160], gray.
        lines: Their texts.
        steps: int64[B,2*STEPS], the class of each step: of a character at its middle, of the blank
            away from all; IGNORED between both, or where it is not known.
        countries: int64[B], class numbers; IGNORED where it is not known.
    """

    pixels: NDArray[np.uint8]
    lines: list[Lines]
    steps: NDArray[np.int64]
    countries: NDArray[np.int64]


class Pool:
    """Rendered crops, of which the oldest are replaced at each step."""

    def __init__(
        self, maker: CropMaker, config: ReaderConfig, countries: Sequence[str], step: int
    ) -> None:
        """Render the first crops.

        Args:
            maker: Renders them.
            config: The settings.
            countries: The classes of countries.
            step: The number of the first step.
        """
        self._maker, self._config = maker, config
        self._numbers = {country: number for number, country in enumerate(countries)}
        self._random = np.random.default_rng((config.seed, step))
        self._number = step * config.fresh
        self._pixels = np.empty((config.pool, INPUT[1], INPUT[0]), np.uint8)
        self._steps = np.empty((config.pool, 2 * STEPS), np.int64)
        self._labels = np.empty(config.pool, np.int64)
        self._lines: list[Lines] = []
        self._place = 0
        self._render(min(config.pool, (FIRST if step == 0 else AGAIN) * config.batch))

    def batch(self, own: Batch | None) -> Batch:
        """The next batch; a share of it is ``own``, varied, where there is any."""
        config = self._config
        self._render(config.fresh)
        count = config.batch if own is None else round(config.batch * (1 - config.share))
        chosen = self._random.integers(0, len(self._lines), count)
        lines = [self._lines[k] for k in chosen]
        batch = Batch(self._pixels[chosen], lines, self._steps[chosen], self._labels[chosen])
        if own is None:
            return batch
        picked = self._random.integers(0, len(own.lines), config.batch - count)
        varied = np.stack([vary(own.pixels[k], self._random) for k in picked])
        return Batch(
            np.concatenate([batch.pixels, varied]),
            batch.lines + [own.lines[k] for k in picked],
            np.concatenate([batch.steps, own.steps[picked]]),
            np.concatenate([batch.countries, own.countries[picked]]),
        )

    def _render(self, count: int) -> None:
        for _ in range(count):
            crop = self._maker.crop((self._config.seed, self._number))
            place = self._place
            self._pixels[place] = gray(crop.picture)
            self._steps[place] = step_classes(crop)
            self._labels[place] = self._numbers.get(crop.country, IGNORED)
            self._lines[place : place + 1] = [_lines(crop.lines)]
            self._place = (place + 1) % self._config.pool
            self._number += 1


def examples(plates: Sequence[PlateImage]) -> Batch:
    """Photographs to learn from, of plates with one line."""
    return Batch(
        np.stack([gray(resized(plate.picture)) for plate in plates]),
        [_lines((plate.text,)) for plate in plates],
        np.full((len(plates), 2 * STEPS), IGNORED),
        np.full(len(plates), IGNORED),
    )


def gray(picture: Pixels) -> NDArray[np.uint8]:
    """The brightness of a picture, about as the exported graph computes it."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


def step_classes(crop: Crop) -> NDArray[np.int64]:
    """What each step should say, int64[2*STEPS]: where characters are is known of rendered crops.

    CTC alone needs thousands of steps to find that out.
    """
    steps = np.zeros((2, STEPS), np.int64)
    for row, text, xs in zip((1, 0), reversed(crop.lines), reversed(crop.columns), strict=False):
        places = np.floor(xs / STRIDE).astype(int)
        for near in (-1, 1):
            around = places + near
            steps[row, around[(around >= 0) & (around < STEPS)]] = IGNORED
        for char, place in zip(text, places, strict=True):
            if 0 <= place < STEPS:
                steps[row, place] = NUMBERS[char]
    return steps.ravel()


def vary(pixels: NDArray[np.uint8], random: Random) -> NDArray[np.uint8]:
    """A plate's photograph as another camera might have taken it, uint8[40,160]."""
    w, h = INPUT
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    moved = corners + random.normal(0, 0.03, (4, 2)) * (w, h)
    matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    turned = cv2.warpPerspective(pixels, matrix, INPUT, borderMode=cv2.BORDER_REPLICATE)
    if random.random() < 0.4:
        turned = cv2.GaussianBlur(turned, (0, 0), random.uniform(0.3, 1.2))
    bright = np.asarray(turned, np.float32) * random.uniform(0.6, 1.3) + random.uniform(-25, 40)
    bright += random.normal(0, random.uniform(0, 6), bright.shape)
    return np.asarray(np.clip(bright, 0, 255), np.uint8)


def _lines(lines: Sequence[str]) -> Lines:
    upper = lines[0] if len(lines) > 1 else ""
    return [NUMBERS[char] for char in upper], [NUMBERS[char] for char in lines[-1]]
