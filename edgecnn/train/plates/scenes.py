"""Synthetic pictures of plates on cars, walls and signs, before photographs that packages ship."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn.train.plates.scenes_backgrounds import draw_background, draw_distractor, draw_ground
from edgecnn.train.plates.scenes_camera import Light, film
from edgecnn.train.plates.scenes_cars import WIDTH, draw_car, draw_holder, lamps, make_car
from edgecnn.train.plates.scenes_faces import COUNT, Face, Faces
from edgecnn.train.plates.scenes_painter import Painter, Points, gray, shade, vivid
from edgecnn.train.plates.scenes_prints import draw_letters
from edgecnn.train.plates.scenes_view import choose_view, shift_to
from edgecnn.train.renders.noise import Random
from edgecnn_runtime.types import Pixels

Rectangle: TypeAlias = tuple[float, float, float, float]
"""x1, y1, x2, y2."""
PAD = (114.0, 114.0, 114.0)
"""What a letterbox is filled with, as in the runtime."""
NARROWEST, WIDEST = 18.0, 0.7
"""Width of a plate: pixels at least, share of the picture's width at most."""
DISTRACTORS = 2.0
"""How many signs, posters and panes a scene has on average, besides those on its cars."""
SCENERY = (96, 48)
"""Width and height of what is seen in a window, in pixels."""
COUNTS = (0.12, 0.53, 0.22, 0.13)
"""How many scenes have no plate, one, two and three."""
ATTEMPTS = 4
"""To place a plate where it hides no other one."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and the plates in it.

    Attributes:
        pixels: uint8[h,w,3] BGR.
        plates: float32[P,4,2], corners in pixels, all of them inside the picture: a plate's own
            upper left one, then clockwise.
    """

    pixels: Pixels
    plates: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Stage:
    """A scene that is being set up.

    Attributes:
        pixels: uint8[h,w,3], drawn into.
        plates: The corners of those that stand.
        lights: Lamps that are on.
    """

    pixels: Pixels
    plates: list[Points] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        height, width = self.pixels.shape[:2]
        return width, height

    def has_room(self, plate: Points, around: Points) -> bool:
        """Whether a plate would be whole, and what is around it would hide no other one."""
        others = [box_of(corners) for corners in self.plates]
        return _inside(plate, *self.size) and not any(_meet(box_of(around), box) for box in others)


class SceneMaker:
    """Makes scenes, each a function of its seed and size."""

    def __init__(self, faces: Faces, backgrounds: Sequence[Pixels]) -> None:
        """Prepare.

        Args:
            faces: Plates.
            backgrounds: Photographs; none are needed, but they teach what is no plate.
        """
        self._faces, self._backgrounds = faces, backgrounds

    def scene(self, seed: int, size: tuple[int, int]) -> Scene:
        """A picture with no, one or a few plates.

        Args:
            seed: The same one gives the same scene.
            size: Width and height in pixels.
        """
        random = np.random.default_rng(seed)
        stage = _Stage(draw_background(self._backgrounds, size, random))
        if random.random() < 0.6:
            draw_ground(stage.pixels, random)
        for _ in range(int(random.poisson(DISTRACTORS))):
            draw_distractor(stage.pixels, self._scenery(random), random)
        count = int(random.choice(len(COUNTS), p=COUNTS))
        for _ in range(ATTEMPTS * count):
            if len(stage.plates) < count:
                face = self._faces(int(random.integers(COUNT)))
                if random.random() < 0.74:
                    _stand_car(stage, face, self._scenery(random), random)
                else:
                    _hang_plate(stage, face, random)
        if random.random() < 0.1:
            _stand_car(stage, None, self._scenery(random), random)
        if random.random() < 0.2:
            _overlay(stage, random)
        pixels = film(stage.pixels, stage.plates, stage.lights, random)
        scene = Scene(pixels, np.array(stage.plates, np.float32).reshape(-1, 4, 2))
        return _letterboxed(scene, random) if random.random() < 0.2 else scene

    def _scenery(self, random: Random) -> Pixels:
        return draw_background(self._backgrounds, SCENERY, random)


def box_of(corners: Points) -> Rectangle:
    """The box around points."""
    (x1, y1), (x2, y2) = corners.min(0).tolist(), corners.max(0).tolist()
    return x1, y1, x2, y2


def _stand_car(stage: _Stage, face: Face | None, scenery: Pixels, random: Random) -> None:
    """A car, with its plate or without one, unless it would hide another plate."""
    w, h = stage.size
    car = make_car(random)
    width, height = (face.width, face.height) if face else (0.5, 0.11)
    matrix = choose_view(random, _plate_width(w, random) / (width / WIDTH))
    place = (random.uniform(0.05, 0.95) * w, random.uniform(0.1, 0.95) * h)
    painter = Painter(stage.pixels, shift_to(matrix, car.plate, place))
    (x, y), (a, b) = car.plate, (width / WIDTH / 2, height / WIDTH / 2)
    corners = painter.place([(x - a, y - b), (x + a, y - b), (x + a, y + b), (x - a, y + b)])
    body = painter.place([(-0.6, car.top), (0.6, car.top), (0.6, 0.05), (-0.6, 0.05)])
    if not stage.has_room(corners, body):
        return
    draw_car(painter, car, scenery, random)
    if face:
        stage.plates.append(draw_holder(painter, car, face, random))
    if car.lit:
        unit = float(np.linalg.norm(body[1] - body[0])) / 1.2
        for local, color in lamps(car):
            at = painter.place([local])[0]
            radius = unit * random.uniform(0.03, 0.12)
            stage.lights.append(Light((float(at[0]), float(at[1])), radius, color))


def _hang_plate(stage: _Stage, face: Face, random: Random) -> None:
    """A plate on a wall, on the back of a truck, on a panel, or before nothing at all."""
    w, h = stage.size
    matrix = choose_view(random, _plate_width(w, random) / face.width)
    place = (random.uniform(0.05, 0.95) * w, random.uniform(0.05, 0.95) * h)
    painter = Painter(stage.pixels, shift_to(matrix, (0.0, 0.0), place))
    a, b = face.width / 2, face.height / 2
    x1, y1 = random.uniform(-1.6, -0.35), random.uniform(-2, -0.15)
    x2, y2 = random.uniform(0.35, 1.6), random.uniform(0.1, 0.8)
    corners = painter.place([(-a, -b), (a, -b), (a, b), (-a, b)])
    if not stage.has_room(corners, painter.place([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])):
        return
    if random.random() < 0.8:
        _draw_panel(painter, (x1, y1, x2, y2), random)
    if random.random() < 0.5:
        rim = random.uniform(0.005, 0.06)
        tone = gray(random, 10, 200)
        painter.slab(-a - rim, -b - rim, a + rim, b + rim, tone, radius=0.02)
    stage.plates.append(painter.picture((-a, -b, a, b), face.pixels, face.cover))


def _draw_panel(painter: Painter, box: Rectangle, random: Random) -> None:
    x1, y1, x2, y2 = box
    paint = vivid(random) if random.random() < 0.4 else gray(random, 15, 240)
    light = random.uniform(0.7, 1.15, 8).cumsum() / np.arange(1, 9)
    left, right = np.array([[[x1, y1], [x1, y2]], [[x2, y1], [x2, y2]]], np.float32)
    painter.shaded(left, right, np.array(paint) * light[:, None], steps=8)
    for _ in range(int(random.integers(0, 6))):
        y = random.uniform(y1, y2)
        tone = shade(paint, random.uniform(0.4, 1.4))
        painter.line([(x1, y), (x2, y)], random.uniform(0.005, 0.05), tone)
    if random.random() < 0.5 and y1 < -0.5:
        painter.picture((x1 * 0.8, y1 * 0.9, x2 * 0.8, y1 * 0.5), draw_letters(random, paint))
    if random.random() < 0.4:
        for x in (x1 * 0.8, x2 * 0.8):
            painter.slab(x - 0.08, -0.06, x + 0.08, 0.06, (35, 25, 190), radius=0.02)


def _overlay(stage: _Stage, random: Random) -> None:
    """The time that a camera writes into its corner, or the bars of a gate."""
    w, h = stage.size
    if random.random() < 0.6:
        at = (4, int(random.choice([12, h - 6])))
        if not any(_meet((0, at[1] - 14, 160, at[1] + 6), box_of(each)) for each in stage.plates):
            text = f"2024-0{random.integers(1, 9)}-{random.integers(10, 31)} 12:30:00"
            font, ink = cv2.FONT_HERSHEY_SIMPLEX, (245, 245, 245)
            cv2.putText(stage.pixels, text, at, font, 0.35, ink, 1, cv2.LINE_AA)
        return
    painter, tone = Painter(stage.pixels, np.eye(3)), gray(random, 20, 230)
    for _ in range(int(random.integers(1, 4))):
        x, y = random.uniform(0, w), random.uniform(0, h)
        ends = [(x, 0.0), (x, float(h))] if random.random() < 0.5 else [(0.0, y), (float(w), y)]
        painter.line(ends, random.uniform(0.5, 2), tone)


def _letterboxed(scene: Scene, random: Random) -> Scene:
    """A part of the picture, with bars at two sides; the whole if that would cut a plate."""
    h, w = scene.pixels.shape[:2]
    share, sideways = random.uniform(0.4, 0.95), random.random() < 0.6
    size = np.array([round(w * share), h] if sideways else [w, round(h * share)])
    x, y = np.round(random.uniform(0, 1, 2) * ([w, h] - size)).astype(int)
    left, top = ([w, h] - size) // 2
    plates = scene.plates - np.array([x, y], np.float32)
    inside = [_inside(corners, *size) for corners in plates]
    outside = [not _meet(box_of(corners), (0.0, 0.0, *size)) for corners in plates]
    if not all(a or b for a, b in zip(inside, outside, strict=True)):
        return scene
    pixels = np.empty_like(scene.pixels)
    pixels[:] = PAD
    pixels[top : top + size[1], left : left + size[0]] = scene.pixels[
        y : y + size[1], x : x + size[0]
    ]
    return Scene(pixels, (plates + np.array([left, top], np.float32))[np.array(inside, bool)])


def _plate_width(width: int, random: Random) -> float:
    """In pixels; as many small ones as large ones."""
    return float(np.exp(random.uniform(np.log(NARROWEST), np.log(WIDEST * width))))


def _inside(corners: Points, width: float, height: float) -> bool:
    x1, y1, x2, y2 = box_of(corners)
    return bool(x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height)


def _meet(one: Rectangle, other: Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
