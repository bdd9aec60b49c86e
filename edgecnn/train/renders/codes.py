"""Rendered codes on metal plates, whose text is known: what a reader is trained on and shown."""

from dataclasses import dataclass

import cv2
import numpy as np

from edgecnn.train.renders.noise import soft_noise
from edgecnn_runtime.types import Pixels

WIDTH, HEIGHT, SCALE = 128, 32, 4
"""The reader's input; a picture is SCALE times as large."""
CHARSET = "0123456789ACEHKLNPTX"
SHORTEST, LONGEST = 4, 6
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX)


@dataclass(frozen=True, slots=True)
class Code:
    """A plate.

    Attributes:
        picture: uint8[SCALE*HEIGHT,SCALE*WIDTH,3] BGR.
        text: What is written on it.
    """

    picture: Pixels
    text: str


def draw_code(seed: int) -> Code:
    """The plate of a seed: its text, font, slant, light and wear."""
    random = np.random.default_rng((seed, 15))
    width, height = SCALE * WIDTH, SCALE * HEIGHT
    count = int(random.integers(SHORTEST, LONGEST + 1))
    text = "".join(CHARSET[k] for k in random.integers(0, len(CHARSET), count))
    ink = np.zeros((height, width), np.uint8)
    font, thickness = FONTS[random.integers(len(FONTS))], int(random.integers(4, 9))
    size = random.uniform(2.0, 2.5)
    (long, tall), _ = cv2.getTextSize(text, font, size, thickness)
    size *= min(1.0, (width - 36) / long)
    (long, tall), _ = cv2.getTextSize(text, font, size, thickness)
    left = int((width - long) * random.uniform(0.25, 0.75))
    at = (left, (height + tall) // 2 + int(random.integers(-8, 9)))
    cv2.putText(ink, text, at, font, size, 255, thickness, cv2.LINE_AA)
    slant, turn = random.normal(0, 0.06), random.normal(0, 0.02)
    x, y = width / 2, height / 2
    matrix = np.array([[1, slant, -slant * y], [turn, 1, -turn * x]], np.float32)
    ink = np.asarray(cv2.warpAffine(ink, matrix, (width, height)), np.uint8)
    plate, paint = random.uniform(150, 225), random.uniform(20, 80)
    if random.random() < 0.3:
        plate, paint = paint, plate
    light = plate + 14 * soft_noise(height, width, 60, random)
    light += 4 * soft_noise(height, width, 4, random)
    tone = light + (paint - light) * (ink.astype(np.float32) / 255)
    tint = np.array([random.uniform(0.9, 1.1), 1.0, random.uniform(0.9, 1.1)], np.float32)
    picture = tone[..., None] * tint
    picture += 4 * random.standard_normal(picture.shape, np.float32)
    return Code(np.clip(picture, 0, 255).astype(np.uint8), text)
