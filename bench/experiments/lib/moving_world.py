"""A rendered world of objects that cross and hide each other, and what a detector sees of it.

Objects come in over an edge of a 1280x720 picture, cross it in 3 to 12 seconds on curved ways, and
leave; another one comes for each that left. They are painted from far to near onto a coarse canvas,
the pillars last, and what remains of each is how much of it can be seen. A detector reports
those that can be seen by 30 % or more, with a score that falls with what is hidden, misses 8 % of
them, and jitters each side of a box by 3 % of its length.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.types import Box, Detection

WIDTH, HEIGHT, FPS = 1280, 720, 25.0
SHORTEST, LONGEST = 30.0, 90.0
SLOWEST, FASTEST = WIDTH / 12, WIDTH / 3
TURNING, TURN_SECONDS = 0.5, 1.0
"""How fast an object turns, in radians per second, and for how long it goes on turning that way."""
LEAST_VISIBLE, MISSES, JITTER = 0.3, 0.08, 0.03
PILLARS = ((400, 440), (850, 910))
COARSE = 4
"""A pixel of the canvas is so many pixels wide."""


@dataclass(frozen=True)
class Sight:
    """What the detector reports of one frame.

    Attributes:
        at: When the frame was taken, in seconds.
        detections: In random order.
        truth: Which object each of them shows.
    """

    at: float
    detections: list[Detection]
    truth: list[int]


@dataclass
class Walker:
    """One object: its center, heading and turn rate change, all else stays."""

    number: int
    x: float
    y: float
    heading: float
    speed: float
    width: float
    height: float
    depth: float
    turn: float = 0.0

    def walk(self, rng: np.random.Generator) -> None:
        """Go on for the time of one frame."""
        step = 1 / FPS
        push = TURNING * np.sqrt(2 * step / TURN_SECONDS) * rng.normal()
        self.turn += push - self.turn * step / TURN_SECONDS
        self.heading += self.turn * step
        self.x += self.speed * step * np.cos(self.heading)
        self.y += self.speed * step * np.sin(self.heading)

    def has_left(self) -> bool:
        """Whether nothing of it is inside the picture any more."""
        x, y = abs(self.x - WIDTH / 2), abs(self.y - HEIGHT / 2)
        return x > (WIDTH + self.width) / 2 or y > (HEIGHT + self.height) / 2

    def box(self) -> NDArray[np.float64]:
        """x1, y1, x2, y2 of the part inside the picture; empty where it is outside."""
        half = np.array([self.width, self.height]) / 2
        center = np.array([self.x, self.y])
        return np.concatenate((center - half, center + half)).clip(0, [WIDTH, HEIGHT] * 2)


def render(objects: int, seconds: float, seed: int) -> Iterator[Sight]:
    """The world, frame by frame at FPS; the same for the same seed."""
    rng = np.random.default_rng(seed)
    walkers = [_enter(rng, number, inside=True) for number in range(objects)]
    number = objects
    for index in range(round(seconds * FPS)):
        for place, walker in enumerate(walkers):
            walker.walk(rng)
            if walker.has_left():
                walkers[place] = _enter(rng, number, inside=False)
                number += 1
        yield _look(walkers, index / FPS, rng)


def drop(sights: Iterator[Sight], share: float, seed: int) -> Iterator[Sight]:
    """The world as a busy box sees it: each frame is dropped with this probability."""
    rng = np.random.default_rng(seed)
    return (sight for sight in sights if rng.random() >= share)


def _enter(rng: np.random.Generator, number: int, *, inside: bool) -> Walker:
    shape: dict[str, Any] = {
        "speed": np.exp(rng.uniform(np.log(SLOWEST), np.log(FASTEST))),
        "width": rng.uniform(SHORTEST, LONGEST),
        "height": rng.uniform(SHORTEST, LONGEST),
        "depth": rng.random(),
    }
    x, y = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT)
    heading = rng.uniform(-np.pi, np.pi)
    if not inside:
        edge = rng.integers(4)
        across, down = shape["width"] / 2, shape["height"] / 2
        x, y = [(-across, y), (WIDTH + across, y), (x, -down), (x, HEIGHT + down)][edge]
        heading = [0.0, np.pi, np.pi / 2, -np.pi / 2][edge] + rng.uniform(-0.9, 0.9)
    return Walker(number, x, y, heading, **shape)


def _look(walkers: list[Walker], at: float, rng: np.random.Generator) -> Sight:
    boxes = [walker.box() for walker in walkers]
    visible = _visible(walkers, boxes)
    detections, truth = [], []
    for place in rng.permutation(len(walkers)).tolist():
        missed, noise, jitter = rng.random() < MISSES, rng.normal(), rng.normal(size=4)
        if missed or visible[place] < LEAST_VISIBLE:
            continue
        x1, y1, x2, y2 = boxes[place] + JITTER * jitter * np.tile(
            boxes[place][2:] - boxes[place][:2], 2
        )
        if x2 - x1 < 4 or y2 - y1 < 4:
            continue
        score = float(np.clip(0.95 * visible[place] + 0.05 * noise, 0.05, 0.99))
        detections.append(Detection(Box(x1, y1, x2, y2), score, "object", 0))
        truth.append(walkers[place].number)
    return Sight(at, detections, truth)


def _visible(walkers: list[Walker], boxes: list[NDArray[np.float64]]) -> list[float]:
    """Which share of each object is seen, by painting all of them."""
    canvas = np.zeros((HEIGHT // COARSE, WIDTH // COARSE), np.uint8)
    areas = [walker.width * walker.height / COARSE**2 for walker in walkers]
    for place in sorted(range(len(walkers)), key=lambda i: -walkers[i].depth):
        x1, y1, x2, y2 = (boxes[place] / COARSE).round().astype(int).tolist()
        canvas[y1:y2, x1:x2] = place + 1
    for left, right in PILLARS:
        canvas[:, left // COARSE : right // COARSE] = 0
    seen = np.bincount(canvas.ravel(), minlength=len(walkers) + 1)[1:]
    shares: list[float] = (seen / np.array(areas)).tolist()
    return shares
