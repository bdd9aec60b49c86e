"""A rendered workshop: people stand behind a belt with turned parts on it, and the truth is known.

All coordinates are units of the networks' input, WIDTH by HEIGHT; a picture is SCALE times as
large. The same seed gives the same picture.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn.train.renders.noise import Random, soft_noise
from edgecnn_runtime.types import Pixels

WIDTH, HEIGHT, SCALE = 256, 160, 3
CELL = 4
"""Units per cell of the masks."""
WALL, BELT, EDGE = 72.0, (104.0, 148.0), 4.0
"""Where the wall ends, where the belt begins and ends, and how thick its rails are."""
KINDS = ("person", "bar", "spanner")
SURFACES = ("background", "floor", "belt", "person", "part")
"""Classes of the class map; the wall is background."""
JOINTS = (
    "head", "neck", "left elbow", "left hand", "right elbow", "right hand", "hip", "left knee",
    "left foot", "right knee", "right foot",
)  # fmt: skip
"""Keypoints of a person, left and right as they are seen."""
SKELETON = ((0, 1), (1, 2), (2, 3), (1, 4), (4, 5), (1, 6), (6, 7), (7, 8), (6, 9), (9, 10))
MOST_PEOPLE, MOST_PARTS = 3, 5
FRACTION = 4
"""Binary digits of OpenCV's subpixel coordinates."""
CLOTHES = (
    (60, 110, 230), (70, 170, 60), (190, 90, 40), (40, 190, 220), (150, 60, 150), (70, 60, 200),
)  # fmt: skip
SKINS = ((150, 190, 235), (95, 135, 190), (60, 85, 125))
METALS = ((205, 200, 195), (90, 175, 215), (70, 120, 200), (170, 150, 120))

Points = NDArray[np.float32]
Color = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Thing:
    """A person or a part.

    Attributes:
        kind: Index into KINDS.
        box: x1, y1, x2, y2 of what is visible of it.
        turned: cx, cy, length, breadth, angle in radians of a part, whether or not all of it is
            visible; zeros for a person.
        joints: float32[J,3] x, y, and 1 where the joint is visible; without rows for a part.
        mask: float32[HEIGHT/CELL,WIDTH/CELL], the share of each cell that it covers.
    """

    kind: int
    box: tuple[float, float, float, float]
    turned: tuple[float, float, float, float, float]
    joints: Points
    mask: Points


@dataclass(frozen=True, slots=True)
class Workshop:
    """A picture and what is in it.

    Attributes:
        picture: uint8[SCALE*HEIGHT,SCALE*WIDTH,3] BGR.
        things: Those of which something can be seen.
        surfaces: uint8[HEIGHT/CELL,WIDTH/CELL], indices into SURFACES.
    """

    picture: Pixels
    things: tuple[Thing, ...]
    surfaces: NDArray[np.uint8]


class _Brush:
    """Draws an object into the picture and into the map of who is visible where."""

    def __init__(self, picture: Pixels) -> None:
        self._picture = picture
        self.owners = np.zeros((HEIGHT, WIDTH), np.uint8)

    def line(self, first: Points, second: Points, width: float, color: Color, owner: int) -> None:
        """A limb with round ends."""
        for canvas, scale, value in self._canvases(color, owner):
            start, end = _fixed(first, scale), _fixed(second, scale)
            thick = max(1, round(width * scale))
            cv2.line(canvas, start, end, value, thick, cv2.LINE_AA if scale > 1 else 8, FRACTION)

    def disk(self, center: Points, radius: float, color: Color, owner: int) -> None:
        """A filled circle."""
        for canvas, scale, value in self._canvases(color, owner):
            size = round(radius * scale * (1 << FRACTION))
            kind = cv2.LINE_AA if scale > 1 else 8
            cv2.circle(canvas, _fixed(center, scale), size, value, -1, kind, FRACTION)

    def polygon(self, points: Points, color: Color, owner: int) -> None:
        """A filled convex outline."""
        for canvas, scale, value in self._canvases(color, owner):
            corners = np.array([_fixed(point, scale) for point in points], np.int32)
            cv2.fillConvexPoly(canvas, corners, value, cv2.LINE_AA if scale > 1 else 8, FRACTION)

    def _canvases(
        self, color: Color, owner: int
    ) -> tuple[tuple[Pixels, int, Color], tuple[Pixels, int, Color]]:
        return (self._picture, SCALE, color), (self.owners, 1, (owner, owner, owner))


def draw_workshop(seed: int) -> Workshop:
    """The picture of a seed, with one to MOST_PEOPLE people and two to MOST_PARTS parts."""
    random = np.random.default_rng((seed, 14))
    brush = _Brush(picture := _room(random))
    objects: list[tuple[int, tuple[float, ...], Points]] = []
    for x in _places(int(random.integers(1, MOST_PEOPLE + 1)), random):
        joints = _stand(x, random)
        _draw_person(brush, joints, len(objects) + 1, random)
        objects.append((0, (0.0,) * 5, joints))
    for x in _places(int(random.integers(2, MOST_PARTS + 1)), random):
        kind, turned = _lie(x, random)
        _draw_part(brush, kind, turned, len(objects) + 1, random)
        objects.append((kind, turned, np.empty((0, 3), np.float32)))
    things = [_visible(brush.owners == number, *each) for number, each in enumerate(objects, 1)]
    kinds = np.array([0, *(3 if kind == 0 else 4 for kind, _, _ in objects)], np.uint8)
    surfaces = kinds[brush.owners]
    rows = np.arange(HEIGHT)[:, None]
    ground = np.where(rows < WALL, 0, np.where((rows >= BELT[0]) & (rows < BELT[1]), 2, 1))
    surfaces = np.where(surfaces, surfaces, ground).astype(np.uint8)
    middle = surfaces[CELL // 2 :: CELL, CELL // 2 :: CELL].copy()
    return Workshop(_filmed(picture, random), tuple(t for t in things if t is not None), middle)


def _visible(
    visible: NDArray[np.bool_], kind: int, turned: tuple[float, ...], joints: Points
) -> Thing | None:
    """What is visible of an object; None if next to nothing is."""
    if np.count_nonzero(visible) < 60:
        return None
    (rows, columns) = (np.flatnonzero(visible.any(axis)) for axis in (1, 0))
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    points = joints.copy()
    for point in points:
        x, y = round(float(point[0])), round(float(point[1]))
        near = visible[max(y - 2, 0) : max(y + 3, 0), max(x - 2, 0) : max(x + 3, 0)]
        point[2] = float(near.any())
    mask = visible.reshape(HEIGHT // CELL, CELL, WIDTH // CELL, CELL).mean((1, 3))
    cx, cy, length, breadth, angle = turned
    return Thing(kind, box, (cx, cy, length, breadth, angle), points, mask.astype(np.float32))


def _places(count: int, random: Random) -> list[float]:
    """Random x in shares of the picture's width, so that neighbors seldom touch."""
    width = WIDTH / count
    return [float(width * (k + random.uniform(0.28, 0.72))) for k in range(count)]


def _stand(x: float, random: Random) -> Points:
    """The joints of a person, all of them visible."""
    height = random.uniform(62, 92)
    hip = np.array([x, random.uniform(88, 100) - 0.46 * height])
    lean = random.normal(0, 0.08)
    neck = hip + _way(np.pi + lean, 0.33 * height)
    joints = [neck + _way(np.pi + lean + random.normal(0, 0.12), 0.13 * height), neck]
    for side in (-1, 1):
        lifted = side * random.uniform(0.15, 2.6)
        elbow = neck + np.array([side * 0.08 * height, 0.03 * height]) + _way(lifted, 0.17 * height)
        bend = lifted + side * random.uniform(-0.2, 1.3)
        joints += [elbow, elbow + _way(bend, 0.17 * height)]
    joints.append(hip)
    for side in (-1, 1):
        swing = side * random.uniform(0.03, 0.4)
        knee = hip + np.array([side * 0.05 * height, 0.0]) + _way(swing, 0.24 * height)
        joints += [knee, knee + _way(swing - side * random.uniform(0, 0.35), 0.24 * height)]
    return np.column_stack([np.array(joints), np.ones(len(joints))]).astype(np.float32)


def _way(angle: float, length: float) -> NDArray[np.float64]:
    """A step; angle 0 is down, and grows to the right."""
    return np.array([np.sin(angle), np.cos(angle)]) * length


def _draw_person(brush: _Brush, joints: Points, owner: int, random: Random) -> None:
    points = joints[:, :2]
    head, neck, hip = points[0], points[1], points[6]
    height = float(np.hypot(*(neck - hip))) / 0.33
    shirt, trousers = (CLOTHES[k] for k in random.choice(len(CLOTHES), 2, replace=False))
    skin = SKINS[random.integers(len(SKINS))]
    dark = _shade(trousers, 0.55)
    for knee, foot in ((7, 8), (9, 10)):
        brush.line(hip, points[knee], 0.1 * height, dark, owner)
        brush.line(points[knee], points[foot], 0.085 * height, dark, owner)
        brush.disk(points[foot], 0.055 * height, (40, 40, 45), owner)
    across = np.array([0.1 * height, 0.0], np.float32)
    slim = across * 0.75
    torso = np.array([neck - across, neck + across, hip + slim, hip - slim], np.float32)
    brush.polygon(torso, shirt, owner)
    for side, elbow, hand in ((-1, 2, 3), (1, 4, 5)):
        shoulder = neck + side * across * 0.8 + np.array([0, 0.03 * height], np.float32)
        brush.line(shoulder, points[elbow], 0.085 * height, _shade(shirt, 0.82), owner)
        brush.line(points[elbow], points[hand], 0.07 * height, _shade(shirt, 0.82), owner)
        brush.disk(points[hand], 0.05 * height, skin, owner)
    brush.disk(head, 0.085 * height, skin, owner)
    helmet = head - np.array([0, 0.035 * height], np.float32)
    brush.disk(helmet, 0.07 * height, (50, 205, 245), owner)


def _lie(x: float, random: Random) -> tuple[int, tuple[float, float, float, float, float]]:
    """Kind and place of a part on the belt."""
    kind = int(random.integers(1, len(KINDS)))
    length, breadth = random.uniform(32, 44), random.uniform(9, 13)
    y = random.uniform(BELT[0] + 18, BELT[1] - 18)
    return kind, (x, y, length, breadth, random.uniform(-np.pi / 2, np.pi / 2))


def _draw_part(
    brush: _Brush,
    kind: int,
    turned: tuple[float, float, float, float, float],
    owner: int,
    random: Random,
) -> None:
    x, y, length, breadth, angle = turned
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    center = np.array([x, y])

    def at(along: float, across: float) -> Points:
        step = np.array([along * length / 2, across * breadth / 2]) @ turn
        return np.asarray(center + step, np.float32)

    metal = METALS[random.integers(len(METALS))]
    rim, hole = _shade(metal, 0.6), (52.0, 50.0, 48.0)
    if kind == 1:
        for size, color in ((1.0, rim), (0.78, metal)):
            long = 1 - (1 - size) * breadth / length
            corners = [(-long, -size), (long, -size), (long, size), (-long, size)]
            brush.polygon(np.array([at(*corner) for corner in corners]), color, owner)
        for along in (-0.6, 0.6):
            brush.disk(at(along, 0), 0.17 * breadth, hole, owner)
        return
    radius = breadth / 2
    reach = 1 - breadth / length
    brush.line(at(-reach, 0), at(reach, 0), 0.42 * breadth, metal, owner)
    for side in (-1, 1):
        brush.disk(at(side * reach, 0), radius, rim, owner)
        brush.disk(at(side * reach, 0), radius * 0.82, metal, owner)
        brush.disk(at(side * reach, 0), radius * 0.42, hole, owner)


def _room(random: Random) -> Pixels:
    """Wall, floor and belt, uint8[SCALE*HEIGHT,SCALE*WIDTH,3]."""
    tone = np.empty((SCALE * HEIGHT, SCALE * WIDTH), np.float32)
    wall, top, bottom = (round(SCALE * y) for y in (WALL, *BELT))
    tone[:wall], tone[wall:] = random.uniform(130, 185), random.uniform(95, 130)
    tone[:wall] += np.linspace(-18, 8, wall)[:, None]
    tone[wall : wall + 5] *= 0.7
    tint = np.array([random.uniform(0.92, 1.1), 1.0, random.uniform(0.92, 1.1)])
    picture = tone[..., None] * tint
    for x in range(int(random.integers(0, 90)), SCALE * WIDTH, 132):
        picture[:wall, x : x + 3] *= 0.86
    picture[top:bottom] = random.uniform(44, 66)
    columns = np.arange(SCALE * WIDTH) + int(random.integers(0, 48))
    picture[top:bottom] *= np.where(columns % 48 < 3, 1.25, 1.0)[None, :, None]
    rail = round(SCALE * EDGE)
    for y in (top, bottom - rail):
        profile = 120 + 70 * np.sin(np.linspace(0.3, 2.8, rail))
        picture[y : y + rail] = profile[:, None, None]
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


def _filmed(picture: Pixels, random: Random) -> Pixels:
    """With uneven light, and the noise of a sensor."""
    height, width = picture.shape[:2]
    light = (1 + 0.1 * soft_noise(height, width, 160, random)) * random.uniform(0.8, 1.15)
    noisy = picture * light.astype(np.float32)[..., None]
    coarse = 5 * random.standard_normal((height // 2, width // 2, 3), np.float32)
    noisy += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def _fixed(point: Points, scale: int) -> tuple[int, int]:
    """A point for OpenCV, whose integers are the centers of pixels."""
    x, y = ((float(value) * scale - 0.5) * (1 << FRACTION) for value in point)
    return round(x), round(y)


def _shade(color: Color, factor: float) -> Color:
    blue, green, red = color
    return blue * factor, green * factor, red * factor
