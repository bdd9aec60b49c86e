"""A plate as its country makes it, seen straight and in good light."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn.train.plates.fonts import Fonts
from edgecnn.train.plates.grammar import Grammar, PlateKind
from edgecnn.train.plates.lettering import letter
from edgecnn.train.plates.ornaments import (
    WIDTH,
    Blank,
    about,
    add_band,
    add_bolts,
    add_border,
    add_frame,
    add_headings,
    add_landscape,
    add_seal,
    add_stickers,
)
from edgecnn.train.plates.texts import choose, pick, read_back, write
from edgecnn.train.renders.noise import Random
from edgecnn_runtime.types import Pixels

TALLEST = 192
"""Of a plate's picture in pixels."""
Mask = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Plate:
    """A plate, seen straight.

    Attributes:
        picture: uint8[H,WIDTH,3] BGR.
        coverage: uint8[H,WIDTH], 255 where the plate (with its frame) is; its corners are round.
        lines: The text, one or two lines of it, from the top.
        places: float32[C,2] for each line: x, y of its characters' middles, in pixels.
        country: The country's letters.
    """

    picture: Pixels
    coverage: Mask
    lines: tuple[str, ...]
    places: tuple[NDArray[np.float32], ...]
    country: str

    @property
    def text(self) -> str:
        """What is written on it, without separators."""
        return "".join(self.lines)


def render_plate(grammar: Grammar, fonts: Fonts, random: Random) -> Plate:
    """One of a country's plates.

    Args:
        grammar: The country.
        fonts: Its families of fonts at least.
        random: Where chance comes from; the plate is a function of its state.
    """
    kind = choose([(kind, kind.weight) for kind in grammar.kinds], random)
    printed = write(choose(kind.patterns, random), grammar, random)
    scale = WIDTH / kind.size[0]
    paper, ink = _colors(kind, random)
    picture = np.empty((min(TALLEST, round(kind.size[1] * scale)), WIDTH, 3), np.uint8)
    picture[:] = paper
    blank = Blank(picture, kind, scale, fonts, random)
    if random.random() < kind.picture:
        add_landscape(blank)
    left, right, middle = kind.box
    if kind.band and random.random() < kind.band.share:
        add_band(blank, kind.band)
    elif kind.band and left > 0.06:
        left = random.uniform(0.04, left)
    if random.random() < kind.border:
        add_border(blank, ink)
    add_headings(blank)
    lettering = letter(printed, blank, (left, right, middle))
    for seal in lettering.seals:
        add_seal(blank, seal)
    _paint(picture, lettering.mask, ink, random)
    add_stickers(blank)
    if random.random() < 0.5:
        add_bolts(blank)
    coverage = _rounded(len(picture), round(kind.corner * scale))
    places = lettering.places
    if random.random() < kind.frame:
        framed = add_frame(blank)
        picture, coverage = framed.picture, np.full(framed.picture.shape[:2], 255, np.uint8)
        shift = np.array(framed.shift, np.float32)
        places = tuple((points + shift) * framed.scale for points in places)
    lines = tuple(read_back(line) for line in printed.split("/"))
    return Plate(picture, coverage, lines, places, grammar.country)


def _colors(kind: PlateKind, random: Random) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of the paper and of the ink, BGR."""
    number = int(random.integers(len(kind.paper)))
    pairs = len(kind.ink) == len(kind.paper)
    ink = kind.ink[number] if pairs else pick(kind.ink, random)
    return about(kind.paper[number], random), about(ink, random)


def _paint(picture: Pixels, mask: Mask, ink: NDArray[np.float32], random: Random) -> None:
    """Put ink where the mask is; on half of the plates letters are embossed, with two edges."""
    shift = int(random.choice([-1, 1]))
    move = np.array([[1, 0, 0], [0, 1, shift]], np.float32)
    shadow = cv2.warpAffine(mask, move, mask.shape[::-1])
    deep = random.uniform(0.1, 0.5) if random.random() < 0.5 else 0.0
    if deep:
        _brighten(picture, cv2.subtract(shadow, mask), deep * 0.4)
    share = cv2.cvtColor(mask, cv2.COLOR_GRAY2BGR)
    strength = random.uniform(0.75, 1.0) / 255
    solid = np.empty_like(picture)
    solid[:] = ink
    darker = cv2.multiply(cv2.subtract(picture, solid), share, scale=strength)
    lighter = cv2.multiply(cv2.subtract(solid, picture), share, scale=strength)
    cv2.subtract(picture, darker, dst=picture)
    cv2.add(picture, lighter, dst=picture)
    if deep:
        _brighten(picture, cv2.subtract(mask, shadow), deep * 0.25)


def _brighten(picture: Pixels, mask: object, amount: float) -> None:
    gray = cv2.convertScaleAbs(np.asarray(mask, np.uint8), alpha=amount)
    cv2.add(picture, cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), dst=picture)


def _rounded(height: int, radius: int) -> Mask:
    coverage = np.zeros((height, WIDTH), np.uint8)
    cv2.rectangle(coverage, (radius, 0), (WIDTH - 1 - radius, height - 1), 255, -1)
    cv2.rectangle(coverage, (0, radius), (WIDTH - 1, height - 1 - radius), 255, -1)
    for x in (radius, WIDTH - 1 - radius):
        for y in (radius, height - 1 - radius):
            cv2.circle(coverage, (x, y), radius, 255, -1, cv2.LINE_AA)
    return coverage
