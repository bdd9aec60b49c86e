"""What light, lens, sensor and codec do to a picture of a plate; all in uint8 on small pictures."""

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn.train.renders.noise import Random
from edgecnn_runtime.types import Pixels

NOISE = 1 << 20
"""Length of the strip of noise that all pictures take theirs from."""


def light(picture: Pixels, random: Random) -> Pixels:
    """Brightness, contrast, a color cast, shadows and glare.

    Args:
        picture: uint8[H,W,3] BGR; not written.
        random: Where chance comes from.

    Returns:
        uint8[H,W,3], new.
    """
    height, width = picture.shape[:2]
    gain = np.full((3, 4, 3), 1.0, np.float32)
    gain *= random.normal(1, 0.1, 3).clip(0.6, 1.4).astype(np.float32)
    draw = random.random()
    if draw < 0.35:
        gain *= np.float32(random.uniform(0.2, 0.75))
    elif draw < 0.55:
        gain *= np.float32(random.uniform(1.05, 1.6))
    if random.random() < 0.5:
        gain *= (1 + random.normal(0, 0.2, (3, 4, 1))).clip(0.3, 1.9).astype(np.float32)
    field = cv2.resize(gain, (width, height), interpolation=cv2.INTER_LINEAR)
    if random.random() < 0.2:
        _shadow(field, random)
    lit = picture * field
    if random.random() < 0.25:
        low = random.uniform(5, 90)
        lit *= np.float32(random.uniform(0.45, 0.95))
        lit += np.float32(low)
    if random.random() < 0.06:
        _glare(lit, random)
    result = np.clip(lit, 0, 255).astype(np.uint8)
    if random.random() < 0.12:
        result[:] = result[..., 1:2]
    return result


def _shadow(field: NDArray[np.float32], random: Random) -> None:
    """The edge of a shadow, straight or of a bar."""
    height, width = field.shape[:2]
    dark = np.ones((height, width), np.float32)
    x, y = random.uniform(-0.2, 1.2, 2)
    angle = random.choice([0.0, 0.0, np.pi / 2, random.uniform(0, np.pi)]) + random.normal(0, 0.15)
    along = np.array([np.cos(angle), np.sin(angle)]) * 3 * width
    across = np.array([-np.sin(angle), np.cos(angle)]) * random.choice([3.0 * width, height * 0.3])
    start = np.array([x * width, y * height])
    corners = [start - along, start + along, start + along + across, start - along + across]
    cv2.fillPoly(
        dark,
        [np.array(corners).round().astype(np.int32)],
        float(random.uniform(0.3, 0.75)),
        cv2.LINE_AA,
    )
    field *= dark[..., None]


def _glare(lit: NDArray[np.float32], random: Random) -> None:
    """A headlight's or the sun's reflection."""
    height, width = lit.shape[:2]
    spot = np.zeros((height, width), np.float32)
    at = (int(random.integers(width)), int(random.integers(height)))
    cv2.circle(
        spot, at, max(2, int(height * random.uniform(0.1, 0.5))), float(random.uniform(60, 220)), -1
    )
    lit += cv2.GaussianBlur(spot, (0, 0), max(1.0, height * 0.2))[..., None]


def dirt(picture: Pixels, random: Random) -> None:
    """Splashes, scratches, worn paint; ``picture`` is overwritten.

    Args:
        picture: uint8[H,W,3] BGR.
        random: Where chance comes from.
    """
    height, width = picture.shape[:2]
    tone = tuple(float(v) for v in random.uniform(40, 150) + random.normal(0, 12, 3))
    for _ in range(int(random.integers(1, 25))):
        at = (int(random.integers(width)), int(random.integers(height)))
        cv2.circle(picture, at, int(random.integers(1, max(2, height // 28) + 1)), tone, -1)
    if random.random() < 0.3:
        x, y = int(random.integers(width)), int(random.integers(height))
        end = (x + int(random.normal(0, 40)), y + int(random.normal(0, 40)))
        cv2.line(picture, (x, y), end, tone, 1, cv2.LINE_AA)
    if random.random() < 0.25:
        cells = random.normal(0, 1, (5, 12)).astype(np.float32)
        stain = np.clip(
            cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC) - 0.8, 0, 0.6
        )
        picture[:] = picture + (np.float32(tone) - picture) * stain[..., None]


def lens(picture: Pixels, random: Random, strength: float = 1.0) -> Pixels:
    """Out of focus or in motion.

    Args:
        picture: uint8[H,W,3] BGR; not written.
        random: Where chance comes from.
        strength: The most blur, in pixels.
    """
    draw = random.random()
    if draw < 0.55:
        return np.asarray(
            cv2.GaussianBlur(picture, (0, 0), random.uniform(0.2, 1.0) * strength + 0.05), np.uint8
        )
    if draw < 0.75:
        length = max(2.0, random.uniform(1.0, 3.2) * strength)
        angle = random.normal(0, 0.4) if random.random() < 0.7 else random.uniform(0, np.pi)
        side = int(length) | 1
        kernel = np.zeros((side + 2, side + 2), np.float32)
        middle = (side + 2) / 2 - 0.5
        dx, dy = np.cos(angle) * length / 2, np.sin(angle) * length / 2
        ends = [
            (round((middle - dx) * 16), round((middle - dy) * 16)),
            (round((middle + dx) * 16), round((middle + dy) * 16)),
        ]
        cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 4)
        total = float(kernel.sum())
        return (
            np.asarray(cv2.filter2D(picture, -1, kernel / total), np.uint8)
            if total > 0
            else picture
        )
    return picture


def sensor(picture: Pixels, random: Random, noise: NDArray[np.int16]) -> Pixels:
    """Noise, sharpening, and what a codec leaves.

    Args:
        picture: uint8[H,W,3] BGR; not written.
        random: Where chance comes from.
        noise: int16[NOISE], of ``noise_strip``.
    """
    amount = random.choice(
        [0.0, random.uniform(0, 4), random.uniform(2, 9), random.uniform(5, 18)],
        p=[0.25, 0.45, 0.25, 0.05],
    )
    if amount:
        start = int(random.integers(NOISE - picture.size))
        grain = noise[start : start + picture.size].reshape(picture.shape)
        if random.random() < 0.4:
            grain = np.repeat(grain[..., :1], 3, axis=2)
        noisy = picture + grain * np.float32(amount / 64)
        picture = np.clip(noisy, 0, 255).astype(np.uint8)
    if random.random() < 0.3:
        soft = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.7, 1.6))
        sharp = random.uniform(0.4, 2.2)
        picture = np.asarray(cv2.addWeighted(picture, 1 + sharp, soft, -sharp, 0), np.uint8)
    if random.random() < 0.75:
        quality = int(
            random.choice([random.integers(12, 40), random.integers(35, 96)], p=[0.25, 0.75])
        )
        data = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
        picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return picture


def noise_strip(random: Random) -> NDArray[np.int16]:
    """int16[NOISE], normal with a deviation of 64."""
    return (random.standard_normal(NOISE, np.float32) * 64).astype(np.int16)
