"""What a plate has besides its text."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn.train.plates.fonts import SMALL, Fonts
from edgecnn.train.plates.grammar import Band, PlateKind
from edgecnn.train.plates.texts import pick
from edgecnn.train.renders.noise import Random
from edgecnn_runtime.types import Pixels

WIDTH = 256
"""Of a plate's picture in pixels."""
DEALERS = (
    "AUTO MOBIL", "TOYOTA OF OAKLAND", "HONDA CITY", "LOU FUSZ", "SERRAMONTE FORD", "RUSNAK",
    "NORTH MIAMI", "ALL STAR", "AUTOHAUS MUELLER", "www.autopalace.eu", "CARTEC MB", "COLMA",
    "AUTO-ALLES 0905 123 456", "BMW of Springfield", "PASADENA", "TEL. 030 / 555 12 34",
    "SUBARU", "GARAGE DUPONT", "I LOVE MY DOG", "CZECH REPUBLIC",
)  # fmt: skip
MONTHS = ("12", "JAN", "FEB", "DEC", "AUG", "14", "2013", "MAY", "APR")
WHITE = (240.0, 240.0, 240.0)
Bgr: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Blank:
    """A plate while it is made.

    Attributes:
        picture: uint8[H,WIDTH,3] BGR; what adds something writes into it.
        kind: Its design.
        scale: Pixels per millimeter.
        fonts: The fonts.
        random: Where chance comes from.
    """

    picture: Pixels
    kind: PlateKind
    scale: float
    fonts: Fonts
    random: Random


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a seal is.

    Attributes:
        x: Of its middle.
        y: Of its middle.
        size: The height of the characters beside it.
    """

    x: int
    y: int
    size: int


def about(color: str, random: Random) -> NDArray[np.float32]:
    """BGR of ``#rrggbb``, not exactly: float32[3]."""
    value = int(color[1:], 16)
    exact = np.array([value & 255, value >> 8 & 255, value >> 16], np.float32)
    shift = random.normal(0, 8) + random.normal(0, 4, 3)
    return np.clip(exact + shift, 0, 255).astype(np.float32)


def add_landscape(blank: Blank) -> None:
    """Something printed in pale colors: a sky, hills, a sun, patches."""
    random, picture = blank.random, blank.picture
    height = len(picture)
    wash = np.empty((4, 6, 3), np.float32)
    wash[:] = picture[0, 0]
    wash += random.normal(0, random.uniform(8, 40), wash.shape).astype(np.float32)
    if random.random() < 0.5:
        tint = random.normal(0, 35, 3).astype(np.float32)
        wash += np.linspace(-1, 1, 4, dtype=np.float32)[:, None, None] * tint
    soft = cv2.resize(wash, (WIDTH, height), interpolation=cv2.INTER_LINEAR)
    np.copyto(picture, np.clip(soft, 0, 255).astype(np.uint8))
    for _ in range(int(random.integers(0, 5))):
        rows = (random.uniform(0, 0.3), random.uniform(0.7, 1.1), random.random())
        at = (int(random.integers(WIDTH)), int(pick(rows, random) * height))
        axes = (int(random.integers(7, 60)), int(random.integers(4, 30)))
        _ellipse(picture, at, axes, _near(picture[0, 0], 50, random), random)


def add_band(blank: Blank, band: Band) -> None:
    """A stripe with stars or a flag, and the country's letters."""
    picture, wide = blank.picture, round(band.width * blank.scale)
    color = about(band.color, blank.random)
    if band.side == "top":
        picture[:wide] = color
        middle = (WIDTH // 2, wide // 2)
        _print(blank, band.text, "sans", Line(middle, round(wide * 0.6), WHITE))
        return
    if band.side in ("right", "both"):
        picture[:, WIDTH - wide :] = color
        _emblem(blank, WIDTH - wide // 2, wide)
    if band.side in ("left", "both"):
        picture[:, :wide] = color
        _emblem(blank, wide // 2, wide)
        middle = (wide // 2, round(len(picture) * 0.76))
        _print(blank, band.text, "sans", Line(middle, round(wide * 0.5), WHITE))


def add_border(blank: Blank, ink: NDArray[np.float32]) -> None:
    """A line along the edge."""
    random, height = blank.random, len(blank.picture)
    away, thick = int(random.integers(1, 4)), int(random.integers(1, 3))
    color = _bgr(ink) if random.random() < 0.8 else _any(random)
    end = (WIDTH - 1 - away, height - 1 - away)
    cv2.rectangle(blank.picture, (away, away), end, color, thick)


def add_headings(blank: Blank) -> None:
    """The state's or the town's name, and a motto."""
    random, kind, height = blank.random, blank.kind, len(blank.picture)
    color = _bgr(about(pick(kind.header_ink, random), random))
    style = kind.header_style if random.random() < 0.75 else "sans"
    if kind.header and random.random() < 0.92:
        size = round(height * random.uniform(0.1, 0.19))
        x, y = WIDTH * random.uniform(0.45, 0.55), height * random.uniform(0.1, 0.16)
        middle = (round(x), round(y))
        _print(blank, pick(kind.header, random), style, Line(middle, size, color))
    if kind.footer and (text := pick(kind.footer, random)):
        size = round(height * random.uniform(0.06, 0.12))
        middle = (WIDTH // 2, round(height * random.uniform(0.87, 0.93)))
        _print(blank, text, "sans", Line(middle, size, color))


def add_seal(blank: Blank, spot: Spot) -> None:
    """What a seal, a sticker or an emblem looks like from afar."""
    random, picture, x, y, size = blank.random, blank.picture, spot.x, spot.y, spot.size
    half = max(4, round(size * random.uniform(0.14, 0.24)))
    tone, other = _any(random), _any(random)
    match blank.kind.seal:
        case "two":
            for at, color in ((y - round(size * 0.24), tone), (y + round(size * 0.24), other)):
                cv2.circle(picture, (x, at), round(size * 0.17), color, -1, cv2.LINE_AA)
        case "dot":
            cv2.circle(picture, (x, y), round(size * 0.12), tone, -1, cv2.LINE_AA)
        case "round":
            cv2.circle(picture, (x, y), half + 2, tone, -1, cv2.LINE_AA)
        case "shield":
            shape = np.array([[-1, -1], [1, -1], [1, 0.2], [0, 1.3], [-1, 0.2]])
            points = (shape * half * 0.8 + (x, y)).round().astype(np.int32)
            cv2.fillPoly(picture, [points], tone, cv2.LINE_AA)
            cv2.circle(picture, (x, y), max(1, half // 3), other, -1, cv2.LINE_AA)
        case "sticker":
            tall = round(half * random.uniform(0.9, 1.9))
            cv2.rectangle(picture, (x - half, y - tall), (x + half, y + tall), tone, -1)
            inner = _near(np.array(tone), 60, random)
            cv2.rectangle(picture, (x - half + 2, y - tall + 2), (x + half - 2, y - 2), inner, -1)
        case "emblem":
            half = round(half * random.uniform(0.6, 2.0))
            axes = (half, round(half * random.uniform(0.7, 1.6)))
            _ellipse(picture, (x, y), axes, tone, random)
            if random.random() < 0.5:
                dx, dy = (int(v) for v in random.integers(-half, half + 1, 2))
                cv2.circle(picture, (x + dx, y + dy), max(2, half // 2), other, -1, cv2.LINE_AA)


def add_stickers(blank: Blank) -> None:
    """Month and year in the corners."""
    random, picture, height = blank.random, blank.picture, len(blank.picture)
    for left in (True, False):
        if random.random() < blank.kind.stickers * 0.75:
            wide, tall = int(random.integers(17, 32)), int(random.integers(12, 23))
            away = int(random.integers(3, 20))
            x = away if left else WIDTH - wide - away
            y = int(random.integers(1, 10)) if random.random() < 0.85 else height - tall - 4
            cv2.rectangle(picture, (x, y), (x + wide, y + tall), _any(random), -1)
            at, color = (x + 2, y + tall - 4), _any(random)
            cv2.putText(picture, pick(MONTHS, random), at, 0, 0.3, color, 1, cv2.LINE_AA)


def add_bolts(blank: Blank) -> None:
    """Two or four heads of bolts."""
    random, height = blank.random, len(blank.picture)
    row = random.uniform(0.06, 0.14) if height > 75 else pick((0.1, 0.5, 0.88), random)
    spots = [(0.2, row), (0.8, row)] if random.random() < 0.6 else [(0.03, 0.5), (0.97, 0.5)]
    if height > 88 and random.random() < 0.4:
        spots += [(0.2, 1 - row), (0.8, 1 - row)]
    gray = (float(random.uniform(15, 200)),) * 3
    for x, y in spots:
        at = (round((x + random.normal(0, 0.02)) * WIDTH), round(y * height))
        cv2.circle(blank.picture, at, int(random.integers(2, 6)), gray, -1, cv2.LINE_AA)


@dataclass(frozen=True, slots=True)
class Framed:
    """A plate in a frame.

    Attributes:
        picture: uint8[H,WIDTH,3] BGR.
        shift: Added to x and y of what is on the plate.
        scale: Which both are then multiplied by.
    """

    picture: Pixels
    shift: tuple[int, int]
    scale: float


def add_frame(blank: Blank) -> Framed:
    """Put a plate into a frame that hides its edge, and has a dealer's text where it is wide."""
    random, picture, height = blank.random, blank.picture, len(blank.picture)
    side = max(2, round(random.uniform(0.008, 0.03) * WIDTH))
    bottom = max(side, round(random.uniform(0.02, 0.16) * height))
    top = side
    if height > 100 and random.random() < 0.6:
        top = max(side, round(random.uniform(0.02, 0.14) * height))
    dark = random.random() < 0.67
    tone = random.uniform(5, 45) if dark else random.uniform(150, 240)
    outside = 1 - random.uniform(0.0, 0.6)
    y, x = round(top * outside), round(side * outside)
    below = round(bottom * outside)
    framed = cv2.copyMakeBorder(picture, y, below, x, x, cv2.BORDER_CONSTANT)
    tall, wide = framed.shape[:2]
    for part in (framed[:top], framed[tall - bottom :], framed[:, :side], framed[:, wide - side :]):
        part[:] = tone
    size = (WIDTH, round(tall * WIDTH / wide))
    full = np.asarray(cv2.resize(framed, size, interpolation=cv2.INTER_AREA), np.uint8)
    color = _bgr(np.full(3, 235.0 if dark else 20.0))
    page = Blank(full, blank.kind, blank.scale, blank.fonts, random)
    for middle, thick in ((size[1] - bottom // 2, bottom), (top // 2, top)):
        if thick > 0.07 * height and random.random() < 0.8:
            line = Line((WIDTH // 2, middle), round(thick * 0.85), color)
            _print(page, pick(DEALERS, random), "sans", line)
    return Framed(full, (x, y), WIDTH / wide)


@dataclass(frozen=True, slots=True)
class Line:
    """Where and how small print stands.

    Attributes:
        middle: Of the line, x and y.
        size: Its height in pixels.
        color: BGR.
    """

    middle: tuple[int, int]
    size: int
    color: Bgr


def _print(blank: Blank, text: str, style: str, line: Line) -> None:
    drawn = blank.fonts.line(pick(blank.fonts.files[style], blank.random), text)
    size = max(5, line.size)
    wide = min(WIDTH, max(3, round(drawn.shape[1] * size / SMALL)))
    small = cv2.resize(drawn, (wide, size), interpolation=cv2.INTER_AREA)
    left, top = max(0, line.middle[0] - wide // 2), max(0, line.middle[1] - size // 2)
    part = blank.picture[top : top + size, left : left + wide]
    share = small[: part.shape[0], : part.shape[1], None].astype(np.float32) / 255
    part[:] = part + (np.array(line.color, np.float32) - part) * share


def _emblem(blank: Blank, x: int, wide: int) -> None:
    """Twelve stars or a flag on a band."""
    random, picture, height = blank.random, blank.picture, len(blank.picture)
    if random.random() < 0.75:
        for turn in np.arange(12) * (np.pi / 6):
            dx, dy = wide * 0.3 * np.sin(turn), wide * 0.3 * np.cos(turn)
            at = (round(x + dx), round(height * 0.3 - dy))
            cv2.circle(picture, at, max(1, wide // 18), (60, 200, 240), -1, cv2.LINE_AA)
    else:
        half = round(wide * 0.3)
        start, end = (x - half, round(height * 0.2)), (x + half, round(height * 0.42))
        cv2.rectangle(picture, start, end, _any(random), -1)


def _ellipse(
    picture: Pixels, at: tuple[int, int], axes: tuple[int, int], color: Bgr, random: Random
) -> None:
    turn = float(random.uniform(0, 180))
    cv2.ellipse(picture, at, axes, turn, 0, 360, color, -1, cv2.LINE_AA)


def _any(random: Random) -> Bgr:
    return _bgr(random.uniform(20, 240, 3))


def _near(color: NDArray[Any], away: float, random: Random) -> Bgr:
    return _bgr(np.clip(color + random.normal(0, away, 3), 0, 255))


def _bgr(values: NDArray[Any]) -> Bgr:
    b, g, r = values.tolist()
    return float(b), float(g), float(r)
