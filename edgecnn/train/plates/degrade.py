"""What light, lens, sensor and codec do to a picture of a plate; all in uint8 on small pictures."""

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn.train.plates.texts import pick
from edgecnn.train.renders.noise import Image, Random
from edgecnn_runtime.types import Pixels

NOISE = 1 << 20
"""Length of the strip of noise that all pictures take theirs from."""
DEVIATION = 64


def light(picture: Pixels, random: Random) -> Pixels:
    """Brightness, contrast, a color cast, shadows, glare, and the gray of infrared.

    Args:
        picture: uint8[H,W,3] BGR; not written.
        random: Where chance comes from.

    Returns:
        uint8[H,W,3], new.
    """
    height, width = picture.shape[:2]
    gain = np.ones((3, 4, 3)) * random.normal(1, 0.1, 3).clip(0.6, 1.4)
    draw = random.random()
    if draw < 0.35:
        gain *= random.uniform(0.2, 0.75)
    elif draw < 0.55:
        gain *= random.uniform(1.05, 1.6)
    if random.random() < 0.5:
        gain *= (1 + random.normal(0, 0.2, (3, 4, 1))).clip(0.3, 1.9)
    field = cv2.resize(gain.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    lit: Image = np.asarray(picture * field, np.float32)
    if random.random() < 0.2:
        lit = lit * _shadow(height, width, random)
    if random.random() < 0.25:
        clear, haze = random.uniform(0.45, 0.95), random.uniform(5, 90)
        lit = np.asarray(lit * clear + haze, np.float32)
    if random.random() < 0.06:
        lit = lit + _glare(height, width, random)
    result = np.asarray(np.clip(lit, 0, 255), np.uint8)
    if random.random() < 0.12:
        result[:] = result[..., 1:2]
    return result


def dirt(picture: Pixels, random: Random) -> None:
    """Splashes, scratches, worn paint; ``picture`` is overwritten.

    Args:
        picture: uint8[H,W,3] BGR.
        random: Where chance comes from.
    """
    height, width = picture.shape[:2]
    b, g, r = random.uniform(40, 150) + random.normal(0, 12, 3)
    for _ in range(int(random.integers(1, 25))):
        at = (int(random.integers(width)), int(random.integers(height)))
        cv2.circle(picture, at, int(random.integers(1, max(2, height // 28) + 1)), (b, g, r), -1)
    if random.random() < 0.3:
        x, y = int(random.integers(width)), int(random.integers(height))
        end = (x + int(random.normal(0, 40)), y + int(random.normal(0, 40)))
        cv2.line(picture, (x, y), end, (b, g, r), 1, cv2.LINE_AA)
    if random.random() < 0.25:
        cells = random.normal(-0.8, 1, (5, 12)).astype(np.float32)
        stain = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
        share = np.clip(stain, 0, 0.6)[..., None]
        picture[:] = picture + (np.array([b, g, r], np.float32) - picture) * share


def lens(picture: Pixels, random: Random, strength: float = 1.0) -> Pixels:
    """Out of focus, in motion, or sharp.

    Args:
        picture: uint8[H,W,3] BGR; not written.
        random: Where chance comes from.
        strength: About the most blur, in pixels.
    """
    draw = random.random()
    if draw < 0.55:
        radius = random.uniform(0.2, 1.0) * strength + 0.05
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), radius), np.uint8)
    if draw < 0.75:
        kernel = _motion(max(2.0, random.uniform(1.0, 3.2) * strength), random)
        return np.asarray(cv2.filter2D(picture, -1, kernel), np.uint8)
    return picture


def sensor(picture: Pixels, random: Random, noise: NDArray[np.int16]) -> Pixels:
    """Noise, sharpening, and what a codec leaves.

    Args:
        picture: uint8[H,W,3] BGR; not written.
        random: Where chance comes from.
        noise: int16[NOISE], of ``noise_strip``.
    """
    amount = random.uniform(*pick(((0, 0), (0, 4), (0, 4), (2, 9)), random))
    if random.random() < 0.05:
        amount = random.uniform(5, 18)
    if amount:
        start = int(random.integers(NOISE - picture.size))
        grain = noise[start : start + picture.size].reshape(picture.shape)
        if random.random() < 0.4:
            grain = grain[..., :1]
        noisy = picture + grain * np.float32(amount / DEVIATION)
        picture = np.asarray(np.clip(noisy, 0, 255), np.uint8)
    if random.random() < 0.3:
        soft = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.7, 1.6))
        sharp = random.uniform(0.4, 2.2)
        picture = np.asarray(cv2.addWeighted(picture, 1 + sharp, soft, -sharp, 0), np.uint8)
    if random.random() < 0.75:
        low, high = pick(((12, 40), (35, 96), (35, 96), (35, 96)), random)
        quality = (cv2.IMWRITE_JPEG_QUALITY, int(random.integers(low, high)))
        data = cv2.imencode(".jpg", picture, quality)[1]
        picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return picture


def noise_strip(random: Random) -> NDArray[np.int16]:
    """int16[NOISE], normal around 0 with DEVIATION."""
    return (random.standard_normal(NOISE, np.float32) * DEVIATION).astype(np.int16)


def _shadow(height: int, width: int, random: Random) -> Image:
    """The edge of a shadow, or that of a bar: float32[H,W,1], 0..1."""
    dark = np.ones((height, width), np.float32)
    angle = pick((0.0, 0.0, np.pi / 2, random.uniform(0, np.pi)), random) + random.normal(0, 0.15)
    along = np.array([np.cos(angle), np.sin(angle)]) * 3 * width
    across = np.array([-np.sin(angle), np.cos(angle)])
    across *= pick((3.0 * width, height * 0.3), random)
    start = random.uniform(-0.2, 1.2, 2) * (width, height)
    corners = np.array(
        [start - along, start + along, start + along + across, start - along + across]
    )
    depth = random.uniform(0.3, 0.75)
    cv2.fillPoly(dark, [corners.round().astype(np.int32)], depth, cv2.LINE_AA)
    return dark[..., None]


def _glare(height: int, width: int, random: Random) -> Image:
    """A headlight's or the sun's reflection: float32[H,W,1], 0..255."""
    spot = np.zeros((height, width), np.float32)
    at = (int(random.integers(width)), int(random.integers(height)))
    radius = max(2, int(height * random.uniform(0.1, 0.5)))
    cv2.circle(spot, at, radius, random.uniform(60, 220), -1)
    return np.asarray(cv2.GaussianBlur(spot, (0, 0), max(1.0, height * 0.2)), np.float32)[..., None]


def _motion(length: float, random: Random) -> Image:
    """A kernel of a straight motion, mostly sideways: float32[K,K], its sum is 1."""
    angle = random.normal(0, 0.4) if random.random() < 0.7 else random.uniform(0, np.pi)
    side = (int(length) | 1) + 2
    kernel = np.zeros((side, side), np.float32)
    middle, reach = (side - 1) / 2, np.array([np.cos(angle), np.sin(angle)]) * length / 2
    x1, y1 = (int(v) for v in ((middle - reach) * 16).round())
    x2, y2 = (int(v) for v in ((middle + reach) * 16).round())
    cv2.line(kernel, (x1, y1), (x2, y2), 1.0, 1, cv2.LINE_AA, 4)
    kernel[side // 2, side // 2] = max(kernel[side // 2, side // 2], 0.5)
    return np.asarray(kernel / kernel.sum(), np.float32)
