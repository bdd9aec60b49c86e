"""Crops of plates as a detector hands them to the reader, and their texts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn.train.plates.degrade import dirt, lens, light, noise_strip, sensor
from edgecnn.train.plates.fonts import Fonts
from edgecnn.train.plates.grammar import Grammar
from edgecnn.train.plates.render import Plate, render_plate
from edgecnn.train.plates.texts import choose
from edgecnn.train.renders.noise import Random
from edgecnn_runtime.types import Pixels

INPUT = (160, 40)
"""Width and height of a reader's input."""
MARGIN = 0.3
"""Of the plate's surroundings, in shares of its width and its height."""


@dataclass(frozen=True, slots=True)
class Crop:
    """What a reader is given, and what it should say.

    Attributes:
        picture: uint8[40,160,3] BGR.
        lines: The text, one or two lines of it.
        columns: float32[C] for each line: x of its characters' middles, in pixels; some may be
            outside.
        country: The country's letters.
    """

    picture: Pixels
    lines: tuple[str, ...]
    columns: tuple[NDArray[np.float32], ...]
    country: str


class CropMaker:
    """Makes crops, each a function of its seed. Not thread-safe."""

    def __init__(self, grammars: Sequence[Grammar], fonts: Fonts) -> None:
        """Prepare.

        Args:
            grammars: The countries, each as often as its weight says.
            fonts: Their families of fonts at least.
        """
        self._grammars = [(grammar, grammar.weight) for grammar in grammars]
        self._fonts = fonts
        self._noise = noise_strip(np.random.default_rng(15))

    def crop(self, seed: int | Sequence[int]) -> Crop:
        """The crop of a seed."""
        random = np.random.default_rng(seed)
        plate = render_plate(choose(self._grammars, random), self._fonts, random)
        picture, columns = self._photograph(plate, random)
        return Crop(picture, plate.lines, columns, plate.country)

    def crops(self, seed: int) -> Iterator[Crop]:
        """Yield crops without end."""
        number = 0
        while True:
            yield self.crop((seed, number))
            number += 1

    def _photograph(
        self, plate: Plate, random: Random
    ) -> tuple[Pixels, tuple[NDArray[np.float32], ...]]:
        """Put a plate on a car, photograph it, and cut it out about as a detector does."""
        if random.random() < 0.25:
            dirt(plate.picture, random)
        height, width = plate.picture.shape[:2]
        seen = float(np.exp(random.uniform(np.log(44), np.log(260))))
        squeeze = random.uniform(0.75, 1.12)
        size = (round(seen), max(9, round(seen * height / width / squeeze)))
        shrunk = cv2.resize(plate.picture, size, interpolation=cv2.INTER_AREA)
        alpha = cv2.resize(plate.coverage, size, interpolation=cv2.INTER_AREA)
        mx, my = round(size[0] * MARGIN), max(3, round(size[1] * MARGIN))
        canvas = _surroundings(size[1] + 2 * my, size[0] + 2 * mx, random)
        inside = canvas[my : my + size[1], mx : mx + size[0]]
        share = alpha.astype(np.float32)[..., None] / 255
        inside[:] = inside + (shrunk - inside.astype(np.float32)) * share
        canvas = light(canvas, random)
        if random.random() < 0.07:
            _tow_bar(canvas, (mx, my, *size), random)
        corners = _turned(size, (mx, my), random)
        corners = _shot(corners, random)
        picture, matrix = self._develop(canvas, corners, (mx, my, *size), random)
        scale = np.array([size[0] / width, size[1] / height], np.float32)
        shift = np.array([mx, my], np.float32)
        places = [points * scale + shift for points in plate.places]
        moved = [cv2.perspectiveTransform(points[None], matrix)[0, :, 0] for points in places]
        return picture, tuple(np.asarray(xs, np.float32) for xs in moved)

    def _develop(
        self,
        canvas: Pixels,
        corners: NDArray[np.float32],
        place: tuple[int, int, int, int],
        random: Random,
    ) -> tuple[Pixels, NDArray[np.float64]]:
        """Warp, blur, add noise, cut and resize; and the matrix from the canvas to the crop."""
        x, y, w, h = place
        straight = np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], np.float32)
        shift = np.array([x, y], np.float32) - np.minimum(corners.min(axis=0), 0)
        matrix = cv2.getPerspectiveTransform(straight, corners + shift)
        tall, wide = canvas.shape[0] + round(w * 0.12), canvas.shape[1]
        frame = cv2.warpPerspective(
            canvas, matrix, (wide, tall), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        frame = lens(np.asarray(frame, np.uint8), random, max(0.6, min(2.4, w / 90)))
        frame = sensor(frame, random, self._noise)
        picture, cut = _cut(frame, corners + shift, random)
        return picture, np.asarray(cut @ matrix, np.float64)


def _surroundings(height: int, width: int, random: Random) -> Pixels:
    """A bumper, a trunk lid, a shadow: soft color, lines, sometimes texture."""
    draw = random.random()
    base = random.uniform(5, 60, 3) if draw < 0.45 else random.uniform(0, 255, 3)
    if draw < 0.75:
        base = base.mean() + (base - base.mean()) * 0.25
    cells = base + random.normal(0, random.uniform(2, 35), (3, 4, 1)) * np.ones(3)
    canvas = cv2.resize(cells.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    picture = np.clip(canvas, 0, 255).astype(np.uint8)
    for _ in range(int(random.integers(0, 5))):
        y = int(random.integers(height))
        tone = float(random.uniform(0, 255))
        end = (width, y + int(random.normal(0, height * 0.06)))
        cv2.line(picture, (0, y), end, (tone, tone, tone), int(random.integers(1, 4)), cv2.LINE_AA)
    return picture


def _tow_bar(canvas: Pixels, place: tuple[int, int, int, int], random: Random) -> None:
    """A ball on a neck before the lower edge."""
    x, y, w, h = place
    at = (round(x + w * random.uniform(0.3, 0.7)), round(y + h * random.uniform(0.85, 1.1)))
    tone = (float(random.uniform(5, 120)),) * 3
    radius = max(1, round(h * random.uniform(0.08, 0.16)))
    cv2.circle(canvas, at, radius, tone, -1, cv2.LINE_AA)
    cv2.line(canvas, at, (at[0], canvas.shape[0]), tone, radius, cv2.LINE_AA)


def _turned(size: tuple[int, int], at: tuple[int, int], random: Random) -> NDArray[np.float32]:
    """The corners of a plate that a camera sees from the side, above, or askew: float32[4,2]."""
    w, h = size
    points = np.array([[-w, -h], [w, -h], [w, h], [-w, h]], np.float32) / 2
    turn = random.normal(0, 0.045) if random.random() < 0.8 else random.uniform(-0.2, 0.2)
    slant = random.normal(0, 0.09)
    matrix = np.array([[np.cos(turn), -np.sin(turn) + slant], [np.sin(turn), np.cos(turn)]])
    turned = points @ matrix.T
    turned += random.normal(0, 0.02, (4, 2)) * (h * 1.5)
    return np.asarray(turned + np.array([w / 2 + at[0], h / 2 + at[1]]), np.float32)


def _shot(corners: NDArray[np.float32], random: Random) -> NDArray[np.float32]:
    """Rolling shutter: what moves sideways is slanted once more."""
    if random.random() < 0.1:
        middle = corners.mean(axis=0)
        corners[:, 0] += (corners[:, 1] - middle[1]) * np.float32(random.normal(0, 0.12))
    return corners


def _cut(
    frame: Pixels, corners: NDArray[np.float32], random: Random
) -> tuple[Pixels, NDArray[np.float64]]:
    """Cut by the box or by the corners, never exactly, and resize as the runtime does."""
    if random.random() < 0.4:
        span = np.ptp(corners, axis=0)
        center = corners.mean(axis=0)
        loose = 1 + np.abs(random.normal(0, 0.06, 2)) - 0.02
        aim = (corners - center) * loose + center + random.normal(0, 0.025, (4, 2)) * span
        w, h = INPUT
        target = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
        solved = cv2.getPerspectiveTransform(aim.astype(np.float32), target)
        matrix = np.asarray(solved, np.float64)
        cut = cv2.warpPerspective(
            frame, matrix, INPUT, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(cut, np.uint8), matrix
    low, high = corners.min(axis=0), corners.max(axis=0)
    span = high - low
    low = low - span * random.normal(0.03, 0.045, 2).clip(-0.03, 0.2)
    high = high + span * random.normal(0.03, 0.045, 2).clip(-0.03, 0.2)
    x1, y1 = np.floor(low.clip(0)).astype(int)
    x2, y2 = np.ceil(high).astype(int)
    part = frame[y1 : max(y1 + 4, y2), x1 : max(x1 + 8, x2)]
    shrinks = part.shape[1] > INPUT[0] and part.shape[0] > INPUT[1]
    area = shrinks and random.random() < 0.6
    how = cv2.INTER_AREA if area else cv2.INTER_LINEAR
    gx, gy = INPUT[0] / part.shape[1], INPUT[1] / part.shape[0]
    matrix = np.array([[gx, 0, -x1 * gx], [0, gy, -y1 * gy], [0, 0, 1]], np.float64)
    return np.asarray(cv2.resize(part, INPUT, interpolation=how), np.uint8), matrix
