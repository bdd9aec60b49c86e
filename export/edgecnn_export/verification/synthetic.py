"""Seeded pictures where there are no real ones, so varied that a network tells them apart."""

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.types import Pixels

Field: TypeAlias = NDArray[np.float64]

NOISE_SIDE = 192
WORDS = ("EDGE", "0123", "CNN", "4567", "KLM", "89XY")


def synthetic_pictures(count: int, height: int, width: int, seed: int = 0) -> Pixels:
    """uint8[count,height,width,3] BGR: 1/f noise as in photographs, gradients, shapes, text.

    The same arguments give the same pictures. Brightness, contrast, color and detail differ from
    picture to picture, so that the outputs change with the input.
    """
    rng = np.random.default_rng(seed)
    pictures = np.empty((count, height, width, 3), np.uint8)
    for picture in pictures:
        scene = _noise(rng, height, width) * rng.uniform(15, 55)
        scene += _gradient(rng, height, width) * rng.uniform(10, 60)
        scene += rng.uniform(50, 205, 3)
        picture[:] = np.clip(scene, 0, 255)
        for _ in range(rng.integers(2, 9)):
            _draw_shape(rng, picture)
        _draw_text(rng, picture)
    return pictures


def _noise(rng: np.random.Generator, height: int, width: int) -> Field:
    """float[H,W,3] of unit deviation; amplitude falls with frequency, channels are correlated."""
    side = NOISE_SIDE
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    falloff = 1 / np.maximum(frequency, 1 / side) ** rng.uniform(0.7, 1.6)
    spectrum = np.fft.rfft2(rng.standard_normal((4, side, side))) * falloff
    waves = np.fft.irfft2(spectrum, (side, side))
    waves /= waves.std((1, 2), keepdims=True)
    mixed = 0.8 * waves[0][..., None] + 0.6 * waves[1:].transpose(1, 2, 0)
    return np.asarray(cv2.resize(mixed, (width, height), interpolation=cv2.INTER_CUBIC))


def _gradient(rng: np.random.Generator, height: int, width: int) -> Field:
    """float[H,W,3] -1..1 along a random direction, its own strength in each channel."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    ramp = (np.cos(angle) * x + np.sin(angle) * y) / np.sqrt(2)
    return np.asarray(ramp[..., None] * rng.uniform(0.3, 1, 3))


def _draw_shape(rng: np.random.Generator, picture: Pixels) -> None:
    height, width = picture.shape[:2]
    color = tuple(int(value) for value in rng.integers(0, 256, 3))
    x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
    w, h = (int(side * rng.uniform(0.06, 0.35)) + 1 for side in (width, height))
    filled = -1 if rng.random() < 0.7 else max(1, min(width, height) // 60)
    if rng.random() < 0.5:
        angle = rng.uniform(0, 180)
        cv2.ellipse(picture, (x, y), (w, h), angle, 0, 360, color, filled, cv2.LINE_AA)
    else:
        cv2.rectangle(picture, (x, y), (x + w, y + h), color, filled)


def _draw_text(rng: np.random.Generator, picture: Pixels) -> None:
    height, width = picture.shape[:2]
    word = WORDS[rng.integers(len(WORDS))]
    color = tuple(int(value) for value in rng.integers(0, 256, 3))
    at = int(rng.uniform(0, 0.5) * width), int(rng.uniform(0.3, 1) * height)
    scale = min(width, height) / 100 * rng.uniform(0.4, 1.1)
    thick = max(1, round(scale * 2))
    cv2.putText(picture, word, at, cv2.FONT_HERSHEY_SIMPLEX, scale, color, thick, cv2.LINE_AA)
