"""What light and a camera do to a scene."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn.train.plates.scenes_painter import Color, Points
from edgecnn.train.renders.noise import Random
from edgecnn_runtime.types import Pixels


@dataclass(frozen=True, slots=True)
class Light:
    """A lamp that is on.

    Attributes:
        place: Its x, y in pixels.
        radius: Of its glow, in pixels.
        color: Of its glow.
    """

    place: tuple[float, float]
    radius: float
    color: Color


def film(
    pixels: Pixels, plates: Sequence[Points], lights: Sequence[Light], random: Random
) -> Pixels:
    """Light, weather, optics, sensor and compression.

    Args:
        pixels: uint8[h,w,3] BGR, which stays as it is.
        plates: The corners of each plate; they reflect light back at night.
        lights: Lamps.
        random: For all of it.

    Returns:
        uint8[h,w,3] BGR.
    """
    picture = pixels.astype(np.float32)
    kind = random.random()
    if kind < 0.12:
        picture = _night(picture, plates, random)
    elif kind < 0.2:
        picture = _infrared(picture, plates, random)
    elif kind < 0.75:
        picture = _daylight(picture, random)
    for light in lights:
        _glow(picture, light, random)
    picture = _toned(picture, random)
    picture = _blurred(picture, random)
    picture = _sampled(picture, random)
    noise = min(random.exponential(3.0), 14.0)
    grain = random.standard_normal(picture.shape[:2], np.float32)[..., None]
    picture += grain * np.float32(noise)
    if random.random() < 0.4:
        picture += random.standard_normal(picture.shape, np.float32) * np.float32(noise)
    result = np.clip(picture, 0, 255).astype(np.uint8)
    return _compressed(result, random) if random.random() < 0.75 else result


def _night(
    picture: NDArray[np.float32], plates: Sequence[Points], random: Random
) -> NDArray[np.float32]:
    dark = picture * random.uniform(0.08, 0.4) * np.array(random.uniform(0.6, 1.1, 3), np.float32)
    return _reflected(picture, dark, plates, random.uniform(0.3, 1.1))


def _infrared(
    picture: NDArray[np.float32], plates: Sequence[Points], random: Random
) -> NDArray[np.float32]:
    gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    gray3 = np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), np.float32)
    return _reflected(gray3, gray3 * random.uniform(0.05, 0.7), plates, random.uniform(0.7, 1.4))


def _reflected(
    lit: NDArray[np.float32], dark: NDArray[np.float32], plates: Sequence[Points], share: float
) -> NDArray[np.float32]:
    cover = np.zeros(lit.shape[:2], np.float32)
    for corners in plates:
        cv2.fillConvexPoly(cover, np.round(corners).astype(np.int32), share, cv2.LINE_AA)
    cover = np.maximum(cover, cv2.GaussianBlur(cover, (0, 0), 6) * 0.5)[..., None]
    return np.asarray(dark + (lit - dark).clip(0) * cover, np.float32)


def _daylight(picture: NDArray[np.float32], random: Random) -> NDArray[np.float32]:
    """Sun and shade, with hard or soft edges."""
    h, w = picture.shape[:2]
    coarse = random.standard_normal((3, 5)).astype(np.float32)
    field = cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)
    if random.random() < 0.3:
        field = np.tanh(field * 12)
    return np.asarray(picture * (1 + random.uniform(0, 0.25) * field)[..., None], np.float32)


def _glow(picture: NDArray[np.float32], light: Light, random: Random) -> None:
    h, w = picture.shape[:2]
    place, radius, color = light.place, light.radius, light.color
    reach = int(min(max(3 * radius, 3), 200))
    x, y = round(place[0]), round(place[1])
    x1, x2, y1, y2 = max(x - reach, 0), min(x + reach, w), max(y - reach, 0), min(y + reach, h)
    if x2 <= x1 or y2 <= y1:
        return
    rows, columns = np.arange(y1, y2)[:, None] - place[1], np.arange(x1, x2)[None] - place[0]
    spot = np.exp(-(rows**2 + columns**2) / (2 * (radius * 0.9) ** 2 + 1e-3)).astype(np.float32)
    picture[y1:y2, x1:x2] += (
        spot[..., None] * np.array(color, np.float32) * random.uniform(0.5, 1.6)
    )


def _toned(picture: NDArray[np.float32], random: Random) -> NDArray[np.float32]:
    """Exposure, contrast, haze, and a cast of color."""
    gain = (random.uniform(0.85, 1.15) * random.uniform(0.94, 1.06, 3)).astype(np.float32)
    contrast, haze = random.uniform(0.65, 1.3), random.uniform(-12, 25)
    tone = (picture - 120) * np.float32(contrast) + np.float32(120 + haze)
    if random.random() < 0.12:
        gray = cv2.cvtColor(tone, cv2.COLOR_BGR2GRAY)[..., None]
        tone = tone + (gray - tone) * np.float32(random.uniform(0.5, 1))
    return np.asarray(tone * gain, np.float32)


def _blurred(picture: NDArray[np.float32], random: Random) -> NDArray[np.float32]:
    kind = random.random()
    if kind < 0.5:
        return cv2.GaussianBlur(picture, (0, 0), random.uniform(0.3, 1.3)).astype(np.float32)
    if kind < 0.62:
        length = int(random.integers(2, 8))
        kernel = np.zeros((9, 9), np.float32)
        angle = random.normal(0, 0.5)
        step = np.array([np.cos(angle), np.sin(angle)]) * length / 2
        start, end = np.round(4 - step).astype(int), np.round(4 + step).astype(int)
        cv2.line(kernel, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])), 1.0)
        return cv2.filter2D(picture, -1, kernel / kernel.sum()).astype(np.float32)
    return picture


def _sampled(picture: NDArray[np.float32], random: Random) -> NDArray[np.float32]:
    """A smaller sensor, and the sharpening of many cameras."""
    h, w = picture.shape[:2]
    if random.random() < 0.3:
        share = random.uniform(0.45, 0.9)
        small = cv2.resize(
            picture, (round(w * share), round(h * share)), interpolation=cv2.INTER_AREA
        )
        picture = cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    if random.random() < 0.35:
        soft = cv2.GaussianBlur(picture, (0, 0), 1.2)
        picture = picture + random.uniform(0.2, 1.0) * (picture - soft)
    return np.asarray(picture, np.float32)


def _compressed(pixels: Pixels, random: Random) -> Pixels:
    quality = int(random.integers(20, 96))
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
