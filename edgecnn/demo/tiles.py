"""A tile with a handwritten digit on it, in one of the materials such tiles are made of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn.demo.strokes import draw_digit
from edgecnn.train.renders.noise import Image, Random, soft_noise

TILE = 168
"""Side of a tile in belt pixels."""
PATCH = 256
"""Side of the square patch that a tile with its shadow needs."""
THICKNESS = 13


@dataclass(frozen=True, slots=True)
class Patch:
    """A tile as it is put on the belt.

    Attributes:
        color: float32[PATCH,PATCH,3] BGR, 0..255.
        alpha: float32[PATCH,PATCH,1], 0..1.
        shade: float32[PATCH,PATCH,1], 0..1: the belt is multiplied by it first, for the shadow.
    """

    color: Image
    alpha: Image
    shade: Image


def draw_tile(digit: int, random: Random) -> Patch:
    """Draw a tile, slightly rotated and worn, with a handwritten digit."""
    surface, ink = MATERIALS[random.integers(len(MATERIALS))](random)
    face = _worn(_write(surface, ink, digit, random), random)
    mask = _rounded(TILE, int(random.integers(10, 26)))
    face *= _bevel(mask)
    turn = random.normal(0, 4.5)
    top, outline = _placed(face, turn), _placed(mask, turn)
    darker = np.linspace(0.62, 0.3, PATCH, dtype=np.float32)[:, None, None]
    side = face.mean(axis=(0, 1)) * darker
    down = np.ones((THICKNESS + 1, 1), np.uint8)
    alpha = cv2.dilate(outline, down, anchor=(0, THICKNESS))
    color = side + (top - side) * outline[..., None]
    lowered = np.zeros_like(outline)
    lowered[THICKNESS + 6 :] = outline[: -THICKNESS - 6]
    shadow = cv2.GaussianBlur(lowered, (0, 0), 9)
    return Patch(color, _image(alpha[..., None]), _image(1 - 0.65 * shadow[..., None]))


def _porcelain(random: Random) -> tuple[Image, Image]:
    base = np.array([236, 240, 241]) + random.normal(0, 4, 3)
    gloss = np.linspace(10, -14, TILE, dtype=np.float32)[:, None, None]
    return _plain(base) + gloss, _color(random, (120, 52, 22), (40, 34, 32), (44, 30, 150))


def _paper(random: Random) -> tuple[Image, Image]:
    fibre = soft_noise(TILE, TILE, 3, random) * 5 + soft_noise(TILE, TILE, 40, random) * 5
    return _plain([196, 222, 234]) + fibre[..., None], _color(random, (30, 26, 26), (70, 40, 30))


def _wood(random: Random) -> tuple[Image, Image]:
    y = np.arange(TILE, dtype=np.float32)[:, None]
    warp = soft_noise(TILE, TILE, 56, random) * 9
    rings = np.sin((y + warp) / random.uniform(2.5, 5)) * 9 + soft_noise(TILE, TILE, 6, random) * 4
    tone = np.array([118, 168, 206]) * random.uniform(0.75, 1.05)
    return _plain(tone) + rings[..., None] * [0.8, 1.0, 1.0], _color(random, (24, 34, 52))


def _slate(random: Random) -> tuple[Image, Image]:
    rough = soft_noise(TILE, TILE, 5, random) * 4 + soft_noise(TILE, TILE, 30, random) * 6
    return _plain([74, 66, 58]) + rough[..., None], _color(random, (236, 240, 240), (160, 222, 244))


def _steel(random: Random) -> tuple[Image, Image]:
    brushed = cv2.blur(random.normal(0, 26, (TILE, TILE + 60)).astype(np.float32), (61, 1))
    sheen = np.linspace(-16, 16, TILE, dtype=np.float32)[None, :]
    metal = (brushed[:, 30:-30] * 1.6 + sheen)[..., None]
    return _plain([176, 172, 166]) + metal, _color(random, (34, 30, 28), (40, 36, 140))


def _painted(random: Random) -> tuple[Image, Image]:
    paint = _color(random, (122, 110, 30), (46, 128, 214), (56, 52, 178), (120, 70, 44))
    rough = soft_noise(TILE, TILE, 24, random)[..., None] * 3
    return _plain(paint) + rough, _color(random, (240, 244, 244))


MATERIALS: tuple[Callable[[Random], tuple[Image, Image]], ...] = (
    _porcelain, _paper, _wood, _slate, _steel, _painted,
)  # fmt: skip
"""Each returns the surface, float32[TILE,TILE,3] BGR, and the color of the ink, float32[3]."""


def _plain(color: NDArray[np.float64] | list[int] | Image) -> Image:
    return np.full((TILE, TILE, 3), np.asarray(color), np.float32)


def _color(random: Random, *choices: tuple[int, int, int]) -> Image:
    return np.array(choices[random.integers(len(choices))], np.float32)


def _write(surface: Image, ink: Image, digit: int, random: Random) -> Image:
    cover = draw_digit(digit, TILE, random).astype(np.float32) / 255
    patchy = 1 - np.clip(soft_noise(TILE, TILE, 9, random), 0, 1) * random.uniform(0, 0.22)
    cover = (cover * patchy * random.uniform(0.82, 1.0))[..., None]
    return _image(surface + (ink - surface) * cover)


def _worn(face: Image, random: Random) -> Image:
    """Scratches and grime."""
    marks = np.zeros((TILE, TILE), np.float32)
    for _ in range(random.integers(0, 5)):
        start, end = random.integers(0, TILE, 2), random.integers(0, TILE, 2)
        cv2.line(marks, start.tolist(), end.tolist(), random.uniform(-0.3, 0.3), 1, cv2.LINE_AA)
    grime = np.clip(soft_noise(TILE, TILE, 48, random), 0, 2) * random.uniform(0, 0.07)
    return _image(np.clip(face * (1 - grime[..., None]) + marks[..., None] * 120, 0, 255))


def _rounded(side: int, radius: int) -> Image:
    mask = np.zeros((side, side), np.float32)
    inner = side - 1 - radius
    for a, b in (((radius, 0), (inner, side)), ((0, radius), (side, inner))):
        cv2.rectangle(mask, a, b, 1.0, -1)
    for x in (radius, inner):
        for y in (radius, inner):
            cv2.circle(mask, (x, y), radius, 1.0, -1)
    return _image(cv2.GaussianBlur(mask, (0, 0), 0.8))


def _bevel(mask: Image) -> Image:
    """Brighter towards the light at the top left, darker at the bottom right edge."""
    soft = cv2.GaussianBlur(mask, (0, 0), 3)
    slope = cv2.Sobel(soft, cv2.CV_32F, 1, 0) + 1.4 * cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    return _image(1 + np.clip(slope, -1, 1)[..., None] * 0.28)


def _placed(image: Image, degrees: float) -> Image:
    """The image rotated, in the middle of a patch."""
    center = (TILE - 1) / 2
    pose = cv2.getRotationMatrix2D((center, center), degrees, 1.0)
    pose[:, 2] = pose[:, 2] + (PATCH - TILE) / 2
    return _image(cv2.warpAffine(image, pose, (PATCH, PATCH)))


def _image(values: NDArray[Any]) -> Image:
    return np.asarray(values, np.float32)
