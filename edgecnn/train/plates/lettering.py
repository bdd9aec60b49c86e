"""The lines of a plate as a mask of ink."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn.train.plates.fonts import CAP
from edgecnn.train.plates.grammar import SEPARATORS
from edgecnn.train.plates.ornaments import WIDTH, Blank, Spot
from edgecnn.train.plates.texts import pick
from edgecnn.train.renders.noise import Random

Mask = NDArray[np.uint8]
GAPS = {" ": (0.2, 0.5), "-": (0.3, 0.5), ".": (0.25, 0.4), "*": (0.35, 0.6)}
"""Widths of the separators, in heights of a character."""
SLIM = 0.42
"""A character as narrow as I or 1 is not made as wide as the others."""


@dataclass(frozen=True, slots=True)
class Lettering:
    """What is written on a plate.

    Attributes:
        mask: uint8[H,WIDTH], 255 where ink is.
        seals: Where seals are.
        places: float32[C,2] for each line: x, y of its characters' middles, in pixels.
    """

    mask: Mask
    seals: tuple[Spot, ...]
    places: tuple[NDArray[np.float32], ...]


@dataclass(frozen=True, slots=True)
class Hand:
    """How one plate's characters are set.

    Attributes:
        file: The font.
        latin: The font of letters and digits.
        space: Between two characters, in pixels of CAP.
        cell: The width that each character is given; None for their own.
        chinese: The width of a Chinese character.
    """

    file: Path
    latin: Path
    space: float
    cell: float | None
    chinese: float


def letter(printed: str, blank: Blank, box: tuple[float, float, float]) -> Lettering:
    """Write the lines of a plate.

    Args:
        printed: The text with its separators; ``/`` begins the second line.
        blank: The plate, which is not written.
        box: Left, right and middle of the lines, in shares of the plate's width and height.
    """
    random, height = blank.random, len(blank.picture)
    mask = np.zeros((height, WIDTH), np.uint8)
    tall = random.uniform(*blank.kind.height) * blank.scale
    lines = printed.split("/")
    hand = _hand(blank)
    seals: list[Spot] = []
    places: list[NDArray[np.float32]] = []
    rows = _rows(box, height, tall, len(lines), random)
    for line, (middle, limit) in zip(lines, rows, strict=True):
        strip, chars, gaps = _strip(line, hand, blank)
        size = max(8, min(round(limit), round(tall), height))
        left, wide = _fit(strip.shape[1] * size / CAP, box, random)
        top = int(np.clip(round(middle - size / 2), 0, height - size))
        small = cv2.resize(strip, (wide, size), interpolation=cv2.INTER_AREA)
        part = mask[top : top + size, left : left + wide]
        np.maximum(part, small[:, : part.shape[1]], out=part)
        scale = wide / strip.shape[1]
        seals += [Spot(round(left + gap * scale), round(middle), size) for gap in gaps]
        xs = left + np.array(chars, np.float32) * scale
        places.append(np.stack([xs, np.full_like(xs, top + size / 2)], axis=1))
    if random.random() < (0.25 if blank.kind.fonts == ("cjk",) else 0.75):
        _weigh(mask, tall, random)
    return Lettering(mask, tuple(seals), tuple(places))


def _hand(blank: Blank) -> Hand:
    random, kind = blank.random, blank.kind
    file = pick(blank.fonts.files[pick(kind.fonts, random)], random)
    space = random.uniform(0.06, 0.24) * CAP
    if kind.fonts == ("cjk",):  # all characters are 45 mm wide and 90 mm high (GA 36-2018)
        latin = pick(blank.fonts.files[pick(("din", "wide"), random)], random)
        cell = random.uniform(0.46, 0.58) * CAP if random.random() < 0.85 else None
        return Hand(file, latin, space, cell, random.uniform(0.5, 0.64) * CAP)
    cell = random.uniform(0.5, 0.62) * CAP if random.random() < 0.45 else None
    return Hand(file, file, space, cell, 0.5 * CAP)


def _rows(
    box: tuple[float, float, float], height: int, tall: float, lines: int, random: Random
) -> list[tuple[float, float]]:
    """The middle and the most height of each line, in pixels."""
    middle = box[2] * height
    if lines == 1:
        return [(middle + random.normal(0, 0.01) * height, height * 0.9)]
    room = 2 * min(middle, height - middle) * 0.92
    size = min(tall, room / 2.15)
    gap = (room - 2 * size) / 3 * random.uniform(0.6, 1.1)
    first = size * random.choice([1.0, 1.0, 1.0, 0.75])
    return [(middle - gap / 2 - first / 2, first), (middle + gap / 2 + size / 2, size)]


def _fit(natural: float, box: tuple[float, float, float], random: Random) -> tuple[int, int]:
    """Left edge and width of a line, which is made narrower to fit, or wider as countries do."""
    room = (box[1] - box[0]) * WIDTH
    wide = min(room, natural * random.uniform(0.85, 1.3))
    if random.random() < 0.5:
        wide = min(room * random.uniform(0.86, 1.0), natural * 1.6)
    return round(box[0] * WIDTH + (room - wide) * random.uniform(0.3, 0.7)), max(20, round(wide))


def _strip(line: str, hand: Hand, blank: Blank) -> tuple[Mask, list[float], list[float]]:
    """A line that is CAP pixels high, and where in it characters and seals are."""
    parts: list[tuple[float, Mask]] = []
    chars: list[float] = []
    seals: list[float] = []
    x = hand.space / 2
    for char in line:
        if char in SEPARATORS:
            gap = CAP * blank.random.uniform(*GAPS[char])
            if char == "*":
                seals.append(x + gap / 2)
            elif char != " ":
                mark = _mark(char, gap, blank.random)
                parts.append((x + (gap - mark.shape[1]) / 2, mark))
            x += gap + hand.space
        else:
            glyph, cell = _glyph(char, hand, blank)
            parts.append((x + (cell - glyph.shape[1]) / 2, glyph))
            chars.append(x + cell / 2)
            x += cell + hand.space
    strip = np.zeros((CAP, max(8, round(x - hand.space / 2))), np.uint8)
    for left, glyph in parts:
        at = int(min(max(0, round(left)), strip.shape[1] - 1))
        part = strip[:, at : at + glyph.shape[1]]
        np.maximum(part, glyph[:, : part.shape[1]], out=part)
    return strip, chars, seals


def _glyph(char: str, hand: Hand, blank: Blank) -> tuple[Mask, float]:
    """A character, and the width that it is given."""
    chinese = ord(char) > 255
    glyph = blank.fonts.glyph(hand.file if chinese else hand.latin, char)
    cell = hand.chinese if chinese else hand.cell
    if cell is None:
        return glyph, float(glyph.shape[1])
    if glyph.shape[1] >= SLIM * CAP:
        wide = cv2.resize(glyph, (round(cell), CAP), interpolation=cv2.INTER_AREA)
        glyph = np.asarray(wide, np.uint8)
    return glyph[:, : round(cell)], cell


def _mark(char: str, gap: float, random: Random) -> Mask:
    """A dash or a dot, on a strip that is CAP pixels high."""
    if char == "-":
        wide, tall, middle = max(6, round(gap * 0.75)), max(4, round(CAP * 0.13)), 0.5
        mark = np.full((tall, wide), 255, np.uint8)
    else:
        middle = random.choice([0.5, 0.5, 0.5, 0.9])
        mark = np.zeros((13, 13), np.uint8)
        cv2.circle(mark, (6, 6), int(random.integers(3, 7)), 255, -1, cv2.LINE_AA)
    strip = np.zeros((CAP, mark.shape[1]), np.uint8)
    top = min(CAP - len(mark), max(0, round(middle * CAP - len(mark) / 2)))
    strip[top : top + len(mark)] = mark
    return strip


def _weigh(mask: Mask, tall: float, random: Random) -> None:
    """Make strokes thinner or thicker, and their ends and corners rounder."""
    cv2.GaussianBlur(mask, (0, 0), tall * random.uniform(0.02, 0.055), dst=mask)
    level, steep = random.uniform(80, 165), random.uniform(2.5, 5.0)
    ramp = np.clip((np.arange(256) - level) * steep + 127, 0, 255).astype(np.uint8)
    cv2.LUT(mask, ramp, dst=mask)
