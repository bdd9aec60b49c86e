"""Fronts and rears of cars, in units of their width: x is 0 in the middle, y on the ground."""

from dataclasses import dataclass

import numpy as np

from edgecnn.train.plates.scenes_faces import Face
from edgecnn.train.plates.scenes_painter import (
    Color,
    Painter,
    Points,
    around,
    color_of,
    gray,
    shade,
    vivid,
)
from edgecnn.train.plates.scenes_prints import draw_letters, draw_poster
from edgecnn.train.renders.noise import Random
from edgecnn_runtime.types import Pixels

WIDTH = 1.75
"""Meters of a car's width."""
MIRROR = np.array([-1, 1], np.float32)
SHINY, GLASSY = 0.5, 0.6
"""How many bodies and windows mirror what is around them."""
LAMP_RED: Color = (35, 25, 165)


@dataclass(frozen=True, slots=True)
class Car:
    """What a car looks like; heights are negative, upwards from the ground.

    Attributes:
        rear: Whether it is seen from behind.
        top: Height of its roof.
        belt: Lower edge of its windows.
        bumper: Upper edge of its bumper.
        floor: Lower edge of its body.
        roof: Half of the roof's width.
        paint: Color of the body.
        trim: Color of the bumper.
        lit: Whether its lamps are on.
        plate: The middle of its plate.
    """

    rear: bool
    top: float
    belt: float
    bumper: float
    floor: float
    roof: float
    paint: Color
    trim: Color
    lit: bool
    plate: tuple[float, float]


def make_car(random: Random) -> Car:
    """A car of any make."""
    rear = bool(random.random() < 0.6)
    top = -random.uniform(0.68, 1.0) if random.random() < 0.85 else -random.uniform(1.0, 1.5)
    belt = top * random.uniform(0.55, 0.68)
    bumper = -random.uniform(0.24, 0.34)
    floor = -random.uniform(0.08, 0.15)
    roll = random.random()
    neutral = gray(random, 15, 245, 10)
    paint = neutral if roll < 0.6 else shade(vivid(random), random.uniform(0.5, 1))
    plastic = random.random() < 0.4
    trim = gray(random, 25, 90) if plastic else shade(paint, random.uniform(0.75, 1))
    on_lid = rear and random.random() < 0.55
    height = (
        (belt + bumper) / 2 + random.uniform(-0.05, 0.07)
        if on_lid
        else bumper * random.uniform(0.5, 0.95)
    )
    side = random.uniform(-0.3, 0.3) if random.random() < 0.15 else random.normal(0, 0.01)
    return Car(
        rear, top, belt, bumper, floor, random.uniform(0.3, 0.44), paint, trim,
        bool(random.random() < 0.25), (float(side), float(height)),
    )  # fmt: skip


def draw_car(painter: Painter, car: Car, scenery: Pixels, random: Random) -> None:
    """Draw everything but the plate.

    Args:
        painter: In units of the car's width.
        car: The car.
        scenery: uint8[h,w,3], what its windows and its paint reflect.
        random: For all details.
    """
    _shadow(painter, random)
    _flank(painter, car, random)
    for side in (-1, 1):
        x1, x2 = sorted_x(side * 0.33, side * 0.47)
        painter.slab(x1, -0.26, x2, 0.0, gray(random, 12, 45), radius=0.04)
    _body(painter, car, random)
    if random.random() < SHINY:
        _reflect(painter, (-0.47, car.belt, 0.47, car.floor), scenery, random.uniform(0.05, 0.3))
    _windows(painter, car, scenery, random)
    (_rear if car.rear else _front)(painter, car, random)
    _bumper(painter, car, random)
    if random.random() < 0.3:
        _stickers(painter, car, random)
    for _ in range(int(random.poisson(1.0))):
        _spot(painter, car, random)
    if car.rear and random.random() < 0.08:
        _spare_wheel(painter, car, random)


def draw_holder(painter: Painter, car: Car, face: Face, random: Random) -> Points:
    """What surrounds a plate, and the plate; returns its corners in the scene, float32[4,2]."""
    x, y = car.plate
    width, height = face.width / WIDTH / 2, face.height / WIDTH / 2
    kind = random.random()
    if kind < 0.35:
        more, tall = random.uniform(1.05, 1.7), random.uniform(1.1, 1.8)
        tone = (
            shade(car.paint, random.uniform(0.3, 0.9))
            if random.random() < 0.6
            else gray(random, 10, 60)
        )
        painter.slab(
            x - more * width,
            y - tall * height,
            x + more * width,
            y + tall * height,
            tone,
            radius=0.02,
        )
    elif kind < 0.75:
        rim, low = random.uniform(0.003, 0.012), random.uniform(0.003, 0.02)
        tone = gray(random, 10, 60) if random.random() < 0.75 else gray(random, 120, 230)
        painter.slab(
            x - width - rim, y - height - rim, x + width + rim, y + height + low, tone, radius=0.01
        )
        if low > 0.012:
            painter.picture(
                (x - width * 0.6, y + height + 0.002, x + width * 0.6, y + height + low),
                draw_letters(random, tone),
            )  # fmt: skip
    if random.random() < 0.25:
        lower, tone = y + height * 1.25, gray(random, 10, 70)
        painter.rectangle(x - width * 1.05, y, x + width * 1.05, lower, tone)
    corners = painter.picture(
        (x - width, y - height, x + width, y + height), face.pixels, face.cover
    )
    if random.random() < 0.15:
        shaded = shade(car.paint, 0.35)
        painter.rectangle(
            x - width * 1.3,
            y - height * 1.5,
            x + width * 1.3,
            y - height * random.uniform(0.8, 1.02),
            shaded,
        )
    if car.rear and random.random() < 0.08:
        painter.ellipse(
            x + random.normal(0, 0.02),
            y + height * random.uniform(0.9, 1.6),
            0.014,
            0.014,
            gray(random, 20, 120),
        )
    return corners


def sorted_x(first: float, second: float) -> tuple[float, float]:
    """Both, the smaller one first."""
    return min(first, second), max(first, second)


def lamps(car: Car) -> list[tuple[tuple[float, float], Color]]:
    """Where light comes from when it is dark: places on the car, and their color."""
    color: Color = (60, 60, 255) if car.rear else (230, 245, 255)
    y = (car.belt + car.bumper) / 2
    return [((side * 0.4, y), color) for side in (-1, 1)]


def _shadow(painter: Painter, random: Random) -> None:
    middle, reach = random.normal(0, 0.03), random.uniform(0.5, 0.65)
    outline = [
        (middle - reach, -0.06),
        (middle + reach, -0.06),
        (middle + reach, 0.05),
        (middle - reach, 0.05),
    ]
    painter.shadow(outline, random.uniform(0.4, 0.85))
    painter.rectangle(-0.42, -0.2, 0.42, -0.03, gray(random, 5, 45))


def _flank(painter: Painter, car: Car, random: Random) -> None:
    """The side that is seen of a car that stands askew."""
    if random.random() < 0.35:
        return
    side, length = random.choice([-1, 1]), random.uniform(0.1, 1.3)
    lift, drop = random.uniform(0.0, 0.1) * length, random.uniform(0.0, 0.12) * length
    near, far = side * 0.49, side * (0.49 + length)
    tone = shade(car.paint, random.uniform(0.55, 1.05))
    painter.polygon(
        [(near, car.belt), (far, car.belt + lift), (far, car.floor - drop), (near, car.floor)], tone
    )
    roof = side * car.roof
    glass = gray(random, 15, 90)
    painter.polygon(
        [
            (roof, car.top),
            (roof + side * length * 0.9, car.top + lift),
            (far, car.belt + lift),
            (near, car.belt),
        ],
        tone,
    )
    inset = 0.05
    painter.polygon(
        [
            (roof + side * inset * 1.5, car.top + inset),
            (roof + side * length * 0.8, car.top + lift + inset),
            (far - side * inset, car.belt + lift - 0.01),
            (near + side * inset, car.belt - 0.01),
        ],
        glass,
    )
    for share in (0.25, 0.8):
        x, radius = near + side * length * share, 0.13 * (1 - 0.2 * share)
        painter.ellipse(x, -radius - drop * share, radius * 0.55, radius, gray(random, 12, 40))
        painter.ellipse(
            x, -radius - drop * share, radius * 0.3, radius * 0.6, gray(random, 60, 190)
        )
    if random.random() < 0.6:
        painter.line([(near, car.bumper), (far, car.bumper + lift)], 0.02, shade(tone, 0.6))


def _body(painter: Painter, car: Car, random: Random) -> None:
    bulge = random.uniform(0.46, 0.5)
    outline = [(car.roof, car.top), (bulge - 0.03, car.belt), (0.5, (car.belt + car.bumper) / 2),
               (0.5, car.bumper), (random.uniform(0.43, 0.49), car.floor)]  # fmt: skip
    right = np.array(outline, np.float32)
    steps = 14
    at = np.linspace(0, 1, steps)
    light = random.uniform(0.75, 1.15) - random.uniform(-0.1, 0.5) * at
    light = light + random.uniform(0, 0.25) * np.sin(
        at * random.uniform(4, 22) + random.uniform(0, 6)
    )
    sky = random.uniform(0, 70) * np.clip(np.sin(at * random.uniform(3, 9)), 0, 1)
    colors = np.array(car.paint)[None] * light[:, None] + sky[:, None]
    painter.shaded(right * MIRROR, right, colors, steps=steps)
    for _ in range(int(random.integers(0, 4))):
        y = random.uniform(car.belt, car.floor)
        painter.line(
            [(-0.47, y), (0.47, y)],
            random.uniform(0.004, 0.015),
            shade(car.paint, random.uniform(0.3, 1.5)),
        )


def _windows(painter: Painter, car: Car, scenery: Pixels, random: Random) -> None:
    inset = random.uniform(0.02, 0.06)
    top, low = car.top + random.uniform(0.03, 0.08), car.belt - random.uniform(0.0, 0.05)
    right = np.array(
        [(car.roof - inset, top), (0.47 - inset * random.uniform(0.6, 1.6), low)], np.float32
    )
    rise = np.linspace(0, 1, 6)
    tone = random.uniform(10, 110) + random.uniform(-30, 120) * (
        1 - rise if random.random() < 0.7 else rise
    )
    colors = tone[:, None] + np.array([random.uniform(0, 25), random.uniform(0, 12), 0])
    if random.random() < 0.92:
        painter.shaded(right * MIRROR, right, colors, steps=6)
    if random.random() < GLASSY:
        wide = 0.85 * float(right[0, 0])
        _reflect(painter, (-wide, top, wide, low), scenery, random.uniform(0.15, 0.8))
    for _ in range(int(random.integers(0, 4))):
        x, y = random.uniform(-0.3, 0.3), random.uniform(top, low)
        reach = random.uniform(0.02, 0.1)
        color = color_of(np.array(gray(random, 10, 200)))
        painter.slab(
            x - reach, max(y - reach, top), x + reach, min(y + reach, low), color, radius=0.05
        )
    if random.random() < 0.3:
        painter.line(
            [(0, low), (random.uniform(-0.25, 0.25), (top + low) / 2)], 0.012, gray(random, 10, 50)
        )
    if random.random() < (0.3 if car.rear else 0.8):
        for side in (-1, 1):
            painter.ellipse(side * 0.54, car.belt - 0.01, 0.05, 0.035, shade(car.paint, 0.7))


def _rear(painter: Painter, car: Car, random: Random) -> None:
    middle = (car.belt + car.bumper) / 2
    inner, tall = random.uniform(0.22, 0.4), random.uniform(0.04, 0.2 if car.top < -0.85 else 0.1)
    red = shade(LAMP_RED, random.uniform(0.5, 1.5)) if not car.lit else (110.0, 100.0, 255.0)
    lean = random.uniform(-0.05, 0.05)
    shift = random.uniform(-0.05, 0.05)
    for side in (-1, 1):
        y = middle + shift
        outline = [(side * inner, y - tall * 0.8 + lean), (side * 0.48, y - tall),
                   (side * 0.485, y + tall), (side * (inner + lean), y + tall * 0.8)]  # fmt: skip
        painter.polygon(outline, red)
        if random.random() < 0.6:
            part = random.uniform(0.2, 0.5)
            x1, x2 = sorted_x(side * (inner + 0.03), side * 0.46)
            tone = gray(random, 150, 245) if random.random() < 0.6 else (30.0, 120.0, 220.0)
            painter.slab(
                x1, y + tall * (part - 0.3), x2, y + tall * (part + 0.15), tone, radius=0.01
            )
        if car.lit:
            painter.ellipse(side * 0.41, y, 0.04, 0.04, (235, 235, 255))
    if random.random() < 0.35:
        painter.slab(
            -0.18, middle - 0.08, 0.18, middle - 0.055, gray(random, 140, 250), radius=0.01
        )
    _emblem(painter, car, random, middle - random.uniform(0.05, 0.12))
    for side in (-1, 1):
        if random.random() < 0.5:
            _badge(
                painter,
                car,
                random,
                side * random.uniform(0.18, 0.32),
                middle + random.uniform(-0.02, 0.14),
            )
    if random.random() < 0.3:
        painter.slab(
            -0.22, car.belt - 0.02, 0.22, car.belt, (40, 30, 190 if car.lit else 90), radius=0.01
        )


def _front(painter: Painter, car: Car, random: Random) -> None:
    middle = (car.belt + car.bumper) / 2 + random.uniform(-0.02, 0.06)
    inner, tall = random.uniform(0.18, 0.36), random.uniform(0.03, 0.08)
    lean = random.uniform(-0.03, 0.03)
    for side in (-1, 1):
        glass = gray(random, 130, 240) if not car.lit else gray(random, 230, 255)
        if random.random() < 0.2:
            painter.ellipse(side * 0.39, middle, 0.07, 0.07, glass)
        else:
            outline = [(side * inner, middle - tall + lean), (side * 0.48, middle - tall - lean),
                       (side * 0.485, middle + tall), (side * inner, middle + tall)]  # fmt: skip
            painter.polygon(outline, glass)
            painter.ellipse(
                side * random.uniform(0.36, 0.43), middle, 0.04, 0.04, gray(random, 90, 255)
            )
        if random.random() < 0.5:
            x1, x2 = sorted_x(side * 0.43, side * 0.49)
            painter.slab(x1, middle - tall, x2, middle + tall, (30, 130, 230), radius=0.02)
    wide, high = inner * random.uniform(0.7, 1.0), random.uniform(0.03, 0.1)
    dark = gray(random, 10, 70)
    painter.slab(
        -wide,
        middle - high,
        wide,
        middle + high,
        gray(random, 120, 220) if random.random() < 0.5 else dark,
        radius=0.03,
    )
    painter.slab(
        -wide + 0.01, middle - high + 0.01, wide - 0.01, middle + high - 0.01, dark, radius=0.03
    )
    bars = int(random.integers(0, 9))
    for bar in range(bars):
        share = (bar + 0.5) / bars * 2 - 1
        tone = gray(random, 60, 210)
        if bars > 6:
            painter.line(
                [(share * wide, middle - high), (share * wide, middle + high)], 0.006, tone
            )
        else:
            painter.line(
                [(-wide, middle + share * high), (wide, middle + share * high)], 0.008, tone
            )
    _emblem(painter, car, random, middle - random.uniform(-0.02, 0.1))
    if random.random() < 0.7:
        low = car.bumper * random.uniform(0.35, 0.6)
        reach = random.uniform(0.2, 0.4)
        painter.slab(-reach, low - 0.035, reach, low + 0.035, gray(random, 10, 60), radius=0.02)


def _bumper(painter: Painter, car: Car, random: Random) -> None:
    kind = random.random()
    if kind < 0.55:
        top = car.bumper + random.uniform(-0.02, 0.06)
        right = np.array(
            [(0.505, top), (0.51, (top + car.floor) / 2), (0.47, car.floor)], np.float32
        )
        at = np.linspace(0, 1, 6)
        light = random.uniform(0.85, 1.3) - random.uniform(0, 0.6) * at
        painter.shaded(right * MIRROR, right, np.array(car.trim)[None] * light[:, None], steps=6)
    elif kind < 0.7:
        painter.slab(
            -0.5, car.bumper - 0.02, 0.5, car.bumper + 0.06, gray(random, 130, 230), radius=0.02
        )
    for side in (-1, 1):
        if random.random() < 0.35:
            tone = LAMP_RED if car.rear else gray(random, 150, 250)
            x1, x2 = sorted_x(side * 0.36, side * 0.45)
            painter.slab(x1, car.bumper * 0.55, x2, car.bumper * 0.45, tone, radius=0.01)
    if car.rear and random.random() < 0.5:
        for side in (-1, 1)[: random.integers(1, 3)]:
            painter.ellipse(
                side * random.uniform(0.2, 0.36), car.floor, 0.03, 0.02, gray(random, 30, 140)
            )
    if random.random() < 0.5:
        painter.rectangle(-0.44, car.floor - 0.01, 0.44, car.floor + 0.03, gray(random, 10, 50))


def _emblem(painter: Painter, car: Car, random: Random, y: float) -> None:
    kind, tone = random.random(), gray(random, 120, 245)
    if kind < 0.55:
        wide = random.uniform(0.015, 0.04)
        painter.ellipse(0, y, wide, wide * random.uniform(0.6, 1), tone)
        inner = shade(car.paint, random.uniform(0.2, 1))
        painter.ellipse(0, y, wide * 0.75, wide * 0.6, inner)
        for angle in random.uniform(0, np.pi, int(random.integers(0, 4))):
            x, z = 0.7 * wide * np.cos(angle), 0.7 * wide * np.sin(angle)
            painter.line([(-x, y - z), (x, y + z)], 0.2 * wide, tone)
    elif kind < 0.7:
        reach = random.uniform(0.06, 0.2)
        painter.picture(
            (-reach, y - 0.022, reach, y + 0.022), draw_letters(random, shade(car.paint, 0.9))
        )


def _reflect(
    painter: Painter, box: tuple[float, float, float, float], scenery: Pixels, share: float
) -> None:
    """Add what glass or paint mirrors to what is there."""
    cover = np.full(scenery.shape[:2], round(255 * share), np.uint8)
    painter.picture(box, scenery, cover)


def _spot(painter: Painter, car: Car, random: Random) -> None:
    """A bright or dark rectangle of any origin, outside of the plate."""
    x, y = random.uniform(-0.45, 0.45), random.uniform(car.top + 0.05, car.floor)
    if abs(y - car.plate[1]) < 0.13 and abs(x - car.plate[0]) < 0.26:
        return
    wide, tall = random.uniform(0.015, 0.12), random.uniform(0.008, 0.04)
    tone = gray(random, 0, 255, 15)
    painter.slab(*around(x, y, wide, tall), tone, radius=random.uniform(0, tall))
    if random.random() < 0.4:
        painter.slab(*around(x, y, 0.7 * wide, 0.6 * tall), gray(random, 0, 255), radius=0.01)


def _spare_wheel(painter: Painter, car: Car, random: Random) -> None:
    radius = random.uniform(0.14, 0.2)
    x = car.plate[0] + random.choice([-1, 1]) * random.uniform(0.2, 0.4)
    y = (car.belt + car.bumper) / 2
    painter.ellipse(x, y, radius, radius, gray(random, 10, 50))
    rim = gray(random, 60, 200)
    painter.ellipse(x, y, 0.65 * radius, 0.65 * radius, rim)
    for angle in np.arange(5) * 1.257 + random.uniform(0, 1.2):
        end = (x + 0.6 * radius * np.cos(angle), y + 0.6 * radius * np.sin(angle))
        painter.line([(x, y), end], 0.2 * radius, shade(rim, random.uniform(0.3, 0.7)))


def _badge(painter: Painter, car: Car, random: Random, x: float, y: float) -> None:
    reach = random.uniform(0.03, 0.09)
    painter.picture(around(x, y, reach, 0.014), draw_letters(random, car.paint))


def _stickers(painter: Painter, car: Car, random: Random) -> None:
    for _ in range(int(random.integers(1, 4))):
        x, y = random.uniform(-0.38, 0.38), random.uniform(car.top + 0.1, car.bumper)
        if abs(y - car.plate[1]) < 0.1 and abs(x - car.plate[0]) < 0.22:
            continue
        reach = random.uniform(0.02, 0.07)
        if random.random() < 0.5:
            painter.ellipse(x, y, reach * 1.1, reach * 0.75, gray(random, 200, 250))
        painter.picture(
            (x - reach * 0.7, y - reach * 0.4, x + reach * 0.7, y + reach * 0.4),
            draw_poster(random),
        )
