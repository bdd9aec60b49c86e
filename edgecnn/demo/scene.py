"""A camera over a conveyor belt that carries tiles with handwritten digits past it.

The belt with all its tiles is drawn once, flat and long; a frame is a piece of it seen in
perspective, under a lamp, with passing shadows, changing focus and sensor noise. The same seed
gives the same clip, and the truth of every frame is known.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn.demo.tiles import PATCH, draw_tile
from edgecnn.train.renders.noise import Image, Random, soft_noise
from edgecnn_runtime.types import Pixels

WIDTH, HEIGHT, FPS = 960, 540, 25
WINDOW = (376, 186, 208, 208)
"""The reading window, x, y, w, h in frame pixels: the value of --roi."""
VIEW, DEPTH = 1300, 330
"""Length and breadth of the piece of belt in view, in belt pixels."""
QUAD = ((-60, 138), (1020, 138), (1160, 446), (-200, 446))
"""Its corners in the frame; the far edge is shorter."""
SPEED = 11
"""Belt pixels per frame, from right to left."""
PITCH = 270
"""From tile to tile, in belt pixels, on average."""
AFTER = 16
"""Frames that follow the last tile."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One digit on the belt.

    Attributes:
        digit: 0 to 9.
        x: Belt pixel of its center.
        frame: Index of the frame in which it is nearest to the middle of the window.
    """

    digit: int
    x: int
    frame: int


class Scene:
    """A clip.

    Attributes:
        tiles: The truth.
        length: Number of frames.
    """

    def __init__(self, seed: int, digits: int) -> None:
        random = np.random.default_rng(seed)
        corners = np.array([[0, 0], [VIEW, 0], [VIEW, DEPTH], [0, DEPTH]], np.float32)
        self._pose = cv2.getPerspectiveTransform(corners, np.array(QUAD, np.float32))
        self._seed = seed
        self.tiles = self._place(digits, random)
        self.length = self.tiles[-1].frame + AFTER
        self._belt = _draw_belt(self.length * SPEED + VIEW, random)
        for tile in self.tiles:
            _lay(self._belt, tile, random)
        self._hall = _draw_hall(random)
        self._lamp = _draw_lamp()
        self._shadow = _draw_shadow(random)
        self._noise = random.normal(0, 4.5, (HEIGHT + 64, WIDTH + 64, 3)).astype(np.int16)
        self._phase = random.uniform(0, 2 * np.pi, 3)

    def frame(self, index: int) -> Pixels:
        """Draw a frame.

        Args:
            index: 0 to length - 1, in any order.

        Returns:
            uint8[HEIGHT,WIDTH,3] BGR, owned by the caller.
        """
        random = np.random.default_rng((self._seed, index))
        start = index * SPEED
        belt = cv2.blur(self._belt[:, start : start + VIEW], (5, 1))
        picture = self._hall.copy()
        cv2.warpPerspective(
            belt, self._pose, (WIDTH, HEIGHT), picture, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT
        )
        flicker = 1 + 0.05 * np.sin(index / 7 + self._phase[0]) + random.normal(0, 0.012)
        cv2.multiply(picture, self._lamp, picture, flicker / 128)
        shift = int((0.5 + 0.5 * np.sin(index / 90 + self._phase[1])) * WIDTH * 2)
        cv2.multiply(picture, self._shadow[:, shift : shift + WIDTH], picture, 1 / 255)
        blur = 0.7 + 0.6 * np.sin(index / 40 + self._phase[2])
        if blur > 0.3:
            cv2.GaussianBlur(picture, (5, 5), blur, picture)
        y, x = random.integers(0, 64, 2)
        noise = self._noise[y : y + HEIGHT, x : x + WIDTH]
        return np.asarray(cv2.add(picture, noise, dtype=cv2.CV_8U), np.uint8)

    def _place(self, digits: int, random: Random) -> tuple[Tile, ...]:
        x, y, w, h = WINDOW
        middle = np.array([[[x + w / 2, y + h / 2]]], np.float32)
        eye = float(cv2.perspectiveTransform(middle, np.linalg.inv(self._pose))[0, 0, 0])
        gaps = PITCH + random.integers(-18, 40, digits)
        # every digit comes up as often as every other, in an order nobody arranged
        order = random.permutation(np.arange(digits) % 10)
        places = (eye + PITCH * 0.9 + np.cumsum(gaps)).astype(int)
        return tuple(
            Tile(int(digit), int(place), round((place - eye) / SPEED))
            for digit, place in zip(order, places, strict=True)
        )


def _draw_belt(length: int, random: Random) -> Pixels:
    """Black rubber with a woven grain and a cross-rib every 90 pixels, uint8[DEPTH,length,3]."""
    weave = random.normal(0, 3.0, (DEPTH, 600)).astype(np.float32)
    weave += ((np.arange(600)[None, :] // 2 + np.arange(DEPTH)[:, None] // 2) % 2) * 3.0
    belt = np.tile(weave, (1, length // 600 + 1))[:, :length] + 46
    belt += soft_noise(DEPTH, length, 60, random) * 3
    column = np.arange(length) % 90
    belt += np.where(column < 3, 12, np.where(column < 7, -12, 0))[None, :]
    return _color(belt, (1.06, 1.0, 0.97))


def _lay(belt: Pixels, tile: Tile, random: Random) -> None:
    patch = draw_tile(tile.digit, random)
    top = DEPTH // 2 - PATCH // 2 + int(random.integers(-10, 11))
    left = tile.x - PATCH // 2
    spot = belt[top : top + PATCH, left : left + PATCH]
    under = spot * patch.shade
    spot[:] = np.clip(under + (patch.color - under) * patch.alpha, 0, 255)


def _draw_hall(random: Random) -> Pixels:
    """Everything that does not move: the hall out of focus, the rails, the reader above."""
    hall = soft_noise(HEIGHT, WIDTH, 120, random) * 9 + np.linspace(64, 30, HEIGHT)[:, None]
    picture = _color(hall.astype(np.float32), (1.25, 1.0, 0.82))
    for _ in range(26):
        spot = picture.copy()
        at = (int(random.integers(0, WIDTH)), int(random.integers(0, 120)))
        glow = [(90, 150, 220), (190, 170, 120), (120, 200, 190)][random.integers(3)]
        cv2.circle(spot, at, int(random.integers(8, 26)), glow, -1, cv2.LINE_AA)
        cv2.addWeighted(spot, 0.22, picture, 0.78, 0, picture)
    cv2.GaussianBlur(picture, (0, 0), 5, picture)
    _hood(picture)
    _rail(picture, 112, 138, random)
    _rail(picture, 446, 486, random)
    panel = np.linspace(62, 34, HEIGHT - 486)[:, None, None] * np.array([1.1, 0.95, 0.5])
    picture[486:] = panel.astype(np.uint8)
    for x in range(40, WIDTH, 110):
        for y in (125, 466):
            cv2.circle(picture, (x, y), 6, (70, 70, 70), -1, cv2.LINE_AA)
            cv2.circle(picture, (x - 1, y - 1), 4, (185, 185, 185), -1, cv2.LINE_AA)
    return picture


def _hood(picture: NDArray[np.uint8]) -> None:
    """The reader's housing over the window, with the lamp under it."""
    middle = WIDTH // 2
    outline = [(middle + x, y) for x, y in ((-150, 0), (-118, 66), (118, 66), (150, 0))]
    body = np.array(outline, np.int32)
    cv2.fillPoly(picture, [body], (44, 38, 34), cv2.LINE_AA)
    cv2.polylines(picture, [body], False, (86, 78, 72), 2, cv2.LINE_AA)
    glow = np.zeros_like(picture)
    cv2.line(glow, (middle - 92, 70), (middle + 92, 70), (235, 250, 255), 9, cv2.LINE_AA)
    cv2.add(picture, cv2.GaussianBlur(glow, (0, 0), 14), picture)
    cv2.line(picture, (middle - 92, 70), (middle + 92, 70), (240, 252, 255), 5, cv2.LINE_AA)
    cv2.circle(picture, (middle, 34), 15, (18, 16, 15), -1, cv2.LINE_AA)
    cv2.circle(picture, (middle, 34), 15, (110, 104, 98), 2, cv2.LINE_AA)
    cv2.circle(picture, (middle - 4, 30), 4, (150, 120, 90), -1, cv2.LINE_AA)


def _rail(picture: NDArray[np.uint8], top: int, bottom: int, random: Random) -> None:
    brushed = cv2.blur(random.normal(0, 30, (bottom - top, WIDTH)).astype(np.float32), (81, 1))
    profile = 120 + 70 * np.sin(np.linspace(0.2, 2.9, bottom - top))[:, None]
    picture[top:bottom] = _color(profile.astype(np.float32) + brushed * 2, (1.03, 1.0, 0.98))


def _draw_lamp() -> Pixels:
    """The lamp's light; 128 leaves a pixel as it is."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    pool = np.exp(-(((x - WIDTH / 2) / 330) ** 2 + ((y - 285) / 230) ** 2))
    return _color(62 + 88 * pool, (0.96, 1.0, 1.03))


def _draw_shadow(random: Random) -> Pixels:
    """Shadows of people who walk by, uint8[HEIGHT,3*WIDTH,3]; 255 is no shadow."""
    x = np.arange(3 * WIDTH, dtype=np.float32)[None, :]
    y = np.arange(HEIGHT, dtype=np.float32)[:, None]
    shade = np.full((HEIGHT, 3 * WIDTH), 255, np.float32)
    for center in (0.25, 0.6, 0.85):
        lean = x + y * 0.35 - center * 3 * WIDTH
        depth, breadth = random.uniform(0.2, 0.42), random.uniform(60, 160)
        shade *= 1 - depth * np.exp(-((lean / breadth) ** 2))
    return _color(shade, (1.0, 1.0, 1.0))


def _color(gray: Image, tint: tuple[float, float, float]) -> Pixels:
    """float32[H,W] → uint8[H,W,3] BGR."""
    return np.clip(gray[..., None] * np.array(tint, np.float32), 0, 255).astype(np.uint8)
