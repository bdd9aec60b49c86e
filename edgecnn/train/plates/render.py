"""A plate as its country makes it, seen straight and in good light."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn.train.plates.fonts import CAP, SMALL, Fonts
from edgecnn.train.plates.grammar import Band, Grammar, PlateKind
from edgecnn.train.plates.texts import choose, pick, read_back, write
from edgecnn.train.renders.noise import Random
from edgecnn_runtime.types import Pixels

WIDTH = 256
"""Of a plate's picture in pixels; its height follows."""
TALLEST = 192
DEALERS = (
    "AUTO MOBIL", "TOYOTA OF OAKLAND", "HONDA CITY", "LOU FUSZ", "SERRAMONTE FORD", "RUSNAK",
    "NORTH MIAMI", "ALL STAR", "AUTOHAUS MUELLER", "www.autopalace.eu", "CARTEC MB", "COLMA",
    "AUTO-ALLES 0905 123 456", "BMW of Springfield", "PASADENA", "TEL. 030 / 555 12 34",
    "SUBARU", "GARAGE DUPONT", "I LOVE MY DOG", "CZECH REPUBLIC",
)  # fmt: skip
Mask = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Plate:
    """A plate, seen straight.

    Attributes:
        picture: uint8[H,WIDTH,3] BGR.
        coverage: uint8[H,WIDTH], 255 where the plate (with its frame) is; its corners are round.
        lines: The text, one or two lines of it, from the top.
        country: The country's letters.
    """

    picture: Pixels
    coverage: Mask
    lines: tuple[str, ...]
    country: str

    @property
    def text(self) -> str:
        """What is written on it, without separators."""
        return "".join(self.lines)


def render_plate(grammar: Grammar, fonts: Fonts, random: Random) -> Plate:
    """One of a country's plates.

    Args:
        grammar: The country.
        fonts: Its families of fonts at least.
        random: Where chance comes from; the plate is a function of its state.
    """
    kind = choose([(kind, kind.weight) for kind in grammar.kinds], random)
    printed = write(choose(kind.patterns, random), grammar, random)
    scale = WIDTH / kind.size[0]
    height = min(TALLEST, round(kind.size[1] * scale))
    number = int(random.integers(len(kind.paper)))
    paper, ink = _color(kind.paper[number], random), _color(_ink(kind, number, random), random)
    picture = np.empty((height, WIDTH, 3), np.uint8)
    picture[:] = paper
    if random.random() < kind.picture:
        _landscape(picture, random)
    box = kind.box
    if kind.band and random.random() < kind.band.share:
        _band(picture, kind.band, scale, fonts, random)
    elif box[0] > 0.06 and kind.band:
        box = (random.uniform(0.04, box[0]), box[1], box[2])
    if random.random() < kind.border:
        _border(picture, ink, scale, kind.corner, random)
    _headings(picture, kind, fonts, random)
    mask = np.zeros((height, WIDTH), np.uint8)
    _characters(picture, mask, printed, kind, box, scale, fonts, random)
    _paint(picture, mask, ink, random)
    _stickers(picture, kind, random)
    _bolts(picture, random)
    coverage = _rounded(height, round(kind.corner * scale))
    if random.random() < kind.frame:
        picture, coverage = _frame(picture, coverage, scale, fonts, random)
    lines = tuple(read_back(line) for line in printed.split("/"))
    return Plate(picture, coverage, lines, grammar.country)


def _ink(kind: PlateKind, number: int, random: Random) -> str:
    same = len(kind.ink) == len(kind.paper)
    return kind.ink[number] if same else pick(kind.ink, random)


def _color(text: str, random: Random) -> NDArray[np.float32]:
    """BGR of ``#rrggbb``, about."""
    value = int(text[1:], 16)
    exact = np.array([value & 255, value >> 8 & 255, value >> 16], np.float32)
    shift = random.normal(0, 8) + random.normal(0, 4, 3)
    return np.clip(exact + shift, 0, 255).astype(np.float32)


def _characters(
    picture: Pixels,
    mask: Mask,
    printed: str,
    kind: PlateKind,
    box: tuple[float, float, float],
    scale: float,
    fonts: Fonts,
    random: Random,
) -> None:
    """Write the lines into ``mask``, and seals and stickers into ``picture``."""
    height = mask.shape[0]
    file = pick(fonts.files[pick(kind.fonts, random)], random)
    latin = pick(fonts.files[pick(("din", "wide"), random)], random)
    lines = printed.split("/")
    tall = random.uniform(*kind.height) * scale
    slots = _slots(box, height, tall, len(lines), random)
    mono = bool(random.random() < 0.45)
    for line, (middle, limit) in zip(lines, slots, strict=True):
        size = max(8, min(round(limit), round(tall)))
        strip, seals = _strip(line, kind, file, latin, fonts, mono, random)
        room = (box[1] - box[0]) * WIDTH
        natural = strip.shape[1] * size / CAP
        # letters are made narrower to fit, or wider up to what a country's own are
        wide = min(room, natural * random.uniform(0.85, 1.3))
        if random.random() < 0.5:
            wide = min(room * random.uniform(0.86, 1.0), natural * 1.6)
        wide = max(20, round(wide))
        left = round(box[0] * WIDTH + (room - wide) * random.uniform(0.3, 0.7))
        top = int(np.clip(round(middle - size / 2), 0, height - size))
        small = cv2.resize(strip, (wide, size), interpolation=cv2.INTER_AREA)
        part = mask[top : top + size, left : left + wide]
        np.maximum(part, small[:, : part.shape[1]], out=part)
        for position, style in seals:
            center = (round(left + position * wide / strip.shape[1]), round(middle))
            _seal(picture, style, center, size, random)
    if kind.fonts != ("cjk",) or random.random() < 0.3:
        _weigh(mask, tall, random)


def _slots(
    box: tuple[float, float, float], height: int, tall: float, lines: int, random: Random
) -> list[tuple[float, float]]:
    """The middle and the most height of each line, in pixels."""
    if lines == 1:
        return [(box[2] * height + random.normal(0, 0.01) * height, height * 0.9)]
    room = height * min(box[2], 1 - box[2]) * 2 * 0.92
    size = min(tall, room / 2.15)
    gap = (room - 2 * size) / 3 * random.uniform(0.6, 1.1)
    first = size * random.choice([1.0, 1.0, 1.0, 0.75])
    middle = box[2] * height
    return [(middle - gap / 2 - first / 2, first), (middle + gap / 2 + size / 2, size)]


def _strip(
    line: str,
    kind: PlateKind,
    file: object,
    latin: object,
    fonts: Fonts,
    mono: bool,
    random: Random,
) -> tuple[Mask, list[tuple[float, str]]]:
    """A line at CAP pixels, and where in it its seals are."""
    space = random.uniform(0.06, 0.24) * CAP
    wide = CAP * random.uniform(0.5, 0.62)
    parts: list[tuple[float, Mask]] = []
    seals: list[tuple[float, str]] = []
    x = space / 2
    for char in line:
        if char in " -.*":
            gap = CAP * random.uniform(
                *{" ": (0.2, 0.5), "-": (0.3, 0.5), ".": (0.25, 0.4)}.get(char, (0.35, 0.6))
            )
            if char == "-":
                dash = np.full(
                    (max(4, round(CAP * 0.13)), max(6, round(gap * 0.75))), 255, np.uint8
                )
                parts.append((x, _at(dash, 0.5)))
            elif char == ".":
                dot = np.zeros((13, 13), np.uint8)
                cv2.circle(dot, (6, 6), int(random.integers(3, 7)), 255, -1, cv2.LINE_AA)
                parts.append((x + gap / 2 - 6, _at(dot, random.choice([0.5, 0.5, 0.5, 0.9]))))
            elif char == "*":
                seals.append((x + gap / 2, kind.seal))
            x += gap + space
            continue
        chinese = ord(char) > 255
        glyph = fonts.glyph(file if chinese or kind.fonts != ("cjk",) else latin, char)  # type: ignore[arg-type] # paths
        if chinese:
            glyph = cv2.resize(
                glyph, (round(CAP * random.uniform(0.48, 0.62)), CAP), interpolation=cv2.INTER_AREA
            )
        advance = float(glyph.shape[1])
        if mono and not chinese:
            glyph, advance = _in_cell(glyph, wide), wide
            parts.append((x + (wide - glyph.shape[1]) / 2, glyph))
        else:
            parts.append((x, glyph))
        x += advance + space
    strip = np.zeros((CAP, max(8, round(x - space / 2))), np.uint8)
    for left, glyph in parts:
        at = int(min(max(0, round(left)), strip.shape[1] - 1))
        part = strip[:, at : at + glyph.shape[1]]
        np.maximum(part, glyph[:, : part.shape[1]], out=part)
    return strip, seals


def _in_cell(glyph: Mask, wide: float) -> Mask:
    """A character made nearly as wide as its cell, but for those that are narrow by nature."""
    if glyph.shape[1] < 0.42 * CAP or abs(glyph.shape[1] / wide - 1) < 0.04:
        return glyph[:, : round(wide)]
    return np.asarray(
        cv2.resize(glyph, (round(wide), CAP), interpolation=cv2.INTER_LINEAR), np.uint8
    )


def _at(mark: Mask, middle: float) -> Mask:
    """A mark on an empty strip, at a share of its height."""
    strip = np.zeros((CAP, mark.shape[1]), np.uint8)
    top = min(CAP - mark.shape[0], max(0, round(middle * CAP - mark.shape[0] / 2)))
    strip[top : top + mark.shape[0]] = mark
    return strip


def _weigh(mask: Mask, tall: float, random: Random) -> None:
    """Make strokes thinner or thicker, and their ends and corners rounder."""
    if random.random() < 0.25:
        return
    radius = tall * random.uniform(0.02, 0.055)
    cv2.GaussianBlur(mask, (0, 0), radius, dst=mask)
    level, steep = random.uniform(80, 165), random.uniform(2.5, 5.0)
    cv2.convertScaleAbs(
        np.clip(mask, level - 127 / steep, 255),
        dst=mask,
        alpha=steep,
        beta=-(level - 127 / steep) * steep,
    )


def _paint(picture: Pixels, mask: Mask, ink: NDArray[np.float32], random: Random) -> None:
    """Put ink where the mask is, over embossed letters with a light and a dark edge."""
    deep = random.random() < 0.5
    if deep:
        shift = int(random.choice([-1, 1])) * 1
        moved = np.zeros_like(mask)
        moved[max(0, shift) : mask.shape[0] + min(0, shift)] = mask[
            max(0, -shift) : mask.shape[0] + min(0, -shift)
        ]
        amount = random.uniform(0.1, 0.5)
        cv2.add(
            picture,
            cv2.cvtColor(
                cv2.convertScaleAbs(cv2.subtract(moved, mask), alpha=amount * 0.4),
                cv2.COLOR_GRAY2BGR,
            ),
            dst=picture,
        )
        edge = cv2.subtract(mask, moved)
    share = cv2.cvtColor(mask, cv2.COLOR_GRAY2BGR)
    strength = random.uniform(0.75, 1.0) / 255
    solid = np.empty_like(picture)
    solid[:] = ink
    darker = cv2.multiply(cv2.subtract(picture, solid), share, scale=strength)
    lighter = cv2.multiply(cv2.subtract(solid, picture), share, scale=strength)
    cv2.subtract(picture, darker, dst=picture)
    cv2.add(picture, lighter, dst=picture)
    if deep:
        bright = cv2.convertScaleAbs(edge, alpha=amount * 0.25)
        cv2.add(picture, cv2.cvtColor(bright, cv2.COLOR_GRAY2BGR), dst=picture)


def _landscape(picture: Pixels, random: Random) -> None:
    """Something printed in pale colors: a sky, hills, a sun, patches."""
    height = picture.shape[0]
    wash = np.empty((4, 6, 3), np.float32)
    wash[:] = picture[0, 0]
    wash += random.normal(0, random.uniform(8, 40), (4, 6, 3)).astype(np.float32)
    if random.random() < 0.5:
        wash += np.linspace(-1, 1, 4, dtype=np.float32)[:, None, None] * random.normal(
            0, 35, 3
        ).astype(np.float32)
    soft = cv2.resize(wash, (WIDTH, height), interpolation=cv2.INTER_CUBIC)
    np.copyto(picture, np.clip(soft, 0, 255).astype(np.uint8))
    for _ in range(int(random.integers(0, 5))):
        color = tuple(float(v) for v in np.clip(picture[0, 0] + random.normal(0, 50, 3), 0, 255))
        at = (
            int(random.integers(WIDTH)),
            int(
                random.choice([random.uniform(0, 0.3), random.uniform(0.7, 1.1), random.random()])
                * height
            ),
        )
        axes = (int(random.integers(7, 60)), int(random.integers(3, 20)))
        cv2.ellipse(
            picture, at, axes, float(random.uniform(0, 180)), 0, 360, color, -1, cv2.LINE_AA
        )


def _band(picture: Pixels, band: Band, scale: float, fonts: Fonts, random: Random) -> None:
    height = picture.shape[0]
    wide = round(band.width * scale)
    color = _color(band.color, random)
    if band.side == "top":
        picture[:wide] = color
        _print(
            picture,
            band.text,
            "sans",
            (WIDTH // 2, wide // 2),
            round(wide * 0.6),
            (240, 240, 240),
            fonts,
            random,
        )
        return
    for left in (
        (0, WIDTH - wide)
        if band.side == "both"
        else ((0,) if band.side == "left" else (WIDTH - wide,))
    ):
        picture[:, left : left + wide] = color
        center = left + wide // 2
        style = random.random()
        if style < 0.75:
            radius, star = wide * 0.3, (60, 200, 240)
            for turn in np.arange(12) * (np.pi / 6):
                at = (
                    round(center + radius * np.sin(turn)),
                    round(height * 0.3 - radius * np.cos(turn)),
                )
                cv2.circle(picture, at, max(1, wide // 18), star, -1, cv2.LINE_AA)
        else:
            tone = tuple(float(v) for v in random.uniform(0, 255, 3))
            half = round(wide * 0.3)
            cv2.rectangle(
                picture,
                (center - half, round(height * 0.2)),
                (center + half, round(height * 0.42)),
                tone,
                -1,
            )
        if band.text and left == 0:
            _print(
                picture,
                band.text,
                "sans",
                (center, round(height * 0.76)),
                round(wide * 0.5),
                (240, 240, 240),
                fonts,
                random,
            )


def _headings(picture: Pixels, kind: PlateKind, fonts: Fonts, random: Random) -> None:
    height = picture.shape[0]
    color = _color(pick(kind.header_ink, random), random)
    style = kind.header_style if random.random() < 0.75 else "sans"
    if kind.header and random.random() < 0.92:
        size = round(height * random.uniform(0.1, 0.19))
        at = (round(WIDTH * random.uniform(0.45, 0.55)), round(height * random.uniform(0.1, 0.16)))
        _print(picture, pick(kind.header, random), style, at, size, color, fonts, random)
    if kind.footer and (text := pick(kind.footer, random)):
        size = round(height * random.uniform(0.06, 0.12))
        at = (WIDTH // 2, round(height * random.uniform(0.87, 0.93)))
        _print(picture, text, "sans", at, size, color, fonts, random)


def _print(
    picture: Pixels,
    text: str,
    style: str,
    center: tuple[int, int],
    size: int,
    color: object,
    fonts: Fonts,
    random: Random,
) -> None:
    """Small print around a point."""
    size = max(5, size)
    line = fonts.line(pick(fonts.files[style], random), text)
    wide = min(WIDTH, max(3, round(line.shape[1] * size / SMALL)))
    line = np.asarray(cv2.resize(line, (wide, size), interpolation=cv2.INTER_AREA), np.uint8)
    left, top = max(0, center[0] - line.shape[1] // 2), max(0, center[1] - size // 2)
    part = picture[top : top + size, left : left + line.shape[1]]
    share = line[: part.shape[0], : part.shape[1], None].astype(np.float32) / 255
    part[:] = part + (np.asarray(color, np.float32) - part) * share


def _seal(picture: Pixels, style: str, center: tuple[int, int], size: int, random: Random) -> None:
    """What a seal, a sticker or an emblem looks like from afar."""
    x, y = center
    half = max(4, round(size * random.uniform(0.14, 0.24)))
    tone = _bright(random)
    if style == "two":
        for shift in (-1, 1):
            cv2.circle(
                picture,
                (x, y + round(shift * size * 0.24)),
                round(size * 0.17),
                _bright(random),
                -1,
                cv2.LINE_AA,
            )
    elif style == "dot":
        cv2.circle(picture, (x, y), round(size * 0.12), tone, -1, cv2.LINE_AA)
    elif style == "round":
        cv2.circle(picture, (x, y), half + 2, tone, -1, cv2.LINE_AA)
    elif style == "shield":
        points = np.array([[-1, -1], [1, -1], [1, 0.2], [0, 1.3], [-1, 0.2]]) * half * 0.8 + (x, y)
        cv2.fillPoly(picture, [points.round().astype(np.int32)], tone, cv2.LINE_AA)
        cv2.circle(picture, (x, y), max(1, half // 3), _bright(random), -1, cv2.LINE_AA)
    elif style == "sticker":
        tall = round(half * random.uniform(0.9, 1.9))
        cv2.rectangle(picture, (x - half, y - tall), (x + half, y + tall), tone, -1)
        inner = tuple(float(v) for v in np.clip(np.array(tone) + random.normal(0, 60, 3), 0, 255))
        cv2.rectangle(picture, (x - half + 2, y - tall + 2), (x + half - 2, y - 2), inner, -1)
    elif style == "emblem":
        half = round(half * random.uniform(0.6, 2.0))
        axes = (half, round(half * random.uniform(0.7, 1.6)))
        cv2.ellipse(
            picture, (x, y), axes, float(random.uniform(0, 180)), 0, 360, tone, -1, cv2.LINE_AA
        )
        if random.random() < 0.5:
            at = (
                x + int(random.integers(-half, half + 1)),
                y + int(random.integers(-half, half + 1)),
            )
            cv2.circle(picture, at, max(2, half // 2), _bright(random), -1, cv2.LINE_AA)


def _bright(random: Random) -> tuple[float, float, float]:
    b, g, r = random.uniform(20, 240, 3)
    return float(b), float(g), float(r)


def _stickers(picture: Pixels, kind: PlateKind, random: Random) -> None:
    """Month and year in the upper corners, or one in another corner."""
    height = picture.shape[0]
    for left in (True, False):
        if random.random() < kind.stickers * 0.75:
            wide, tall = int(random.integers(17, 32)), int(random.integers(12, 23))
            x = int(random.integers(3, 20)) if left else WIDTH - wide - int(random.integers(3, 20))
            y = int(random.integers(1, 10)) if random.random() < 0.85 else height - tall - 4
            cv2.rectangle(picture, (x, y), (x + wide, y + tall), _bright(random), -1)
            text = pick(("12", "JAN", "FEB", "DEC", "AUG", "14", "2013", "MAY", "APR"), random)
            cv2.putText(
                picture, text, (x + 2, y + tall - 4), 0, 0.3, _bright(random), 1, cv2.LINE_AA
            )


def _bolts(picture: Pixels, random: Random) -> None:
    if random.random() < 0.5:
        return
    height = picture.shape[0]
    row = random.uniform(0.06, 0.14) if height > 75 else random.choice([0.1, 0.5, 0.88])
    spots = [(0.2, row), (0.8, row)] if random.random() < 0.6 else [(0.03, 0.5), (0.97, 0.5)]
    if height > 88 and random.random() < 0.4:
        spots += [(0.2, 1 - row), (0.8, 1 - row)]
    gray = random.uniform(15, 200)
    for x, y in spots:
        at = (round((x + random.normal(0, 0.02)) * WIDTH), round(y * height))
        cv2.circle(picture, at, int(random.integers(2, 6)), (gray, gray, gray), -1, cv2.LINE_AA)


def _border(
    picture: Pixels, ink: NDArray[np.float32], scale: float, corner: float, random: Random
) -> None:
    height = picture.shape[0]
    away, thick = int(random.integers(1, 4)), int(random.integers(1, 3))
    color = tuple(float(v) for v in (ink if random.random() < 0.8 else random.uniform(0, 255, 3)))
    cv2.rectangle(picture, (away, away), (WIDTH - 1 - away, height - 1 - away), color, thick)


def _rounded(height: int, radius: int) -> Mask:
    coverage = np.zeros((height, WIDTH), np.uint8)
    cv2.rectangle(coverage, (radius, 0), (WIDTH - 1 - radius, height - 1), 255, -1)
    cv2.rectangle(coverage, (0, radius), (WIDTH - 1, height - 1 - radius), 255, -1)
    for x in (radius, WIDTH - 1 - radius):
        for y in (radius, height - 1 - radius):
            cv2.circle(coverage, (x, y), radius, 255, -1, cv2.LINE_AA)
    return coverage


def _frame(
    picture: Pixels, coverage: Mask, scale: float, fonts: Fonts, random: Random
) -> tuple[Pixels, Mask]:
    """Put the plate into a frame: wider where a dealer's text is, over the plate's own edge."""
    height = picture.shape[0]
    side = max(2, round(random.uniform(0.008, 0.03) * WIDTH))
    bottom = max(side, round(random.uniform(0.02, 0.16) * height))
    top = (
        max(side, round(random.uniform(0.02, 0.14) * height))
        if height > 100 and random.random() < 0.6
        else side
    )
    over = random.uniform(0.0, 0.6)
    tone = random.choice([random.uniform(5, 45), random.uniform(5, 45), random.uniform(150, 240)])
    tall, wide = height + round((top + bottom) * (1 - over)), WIDTH + round(2 * side * (1 - over))
    framed = np.full((tall, wide, 3), tone, np.uint8)
    y, x = round(top * (1 - over)), round(side * (1 - over))
    framed[y : y + height, x : x + WIDTH] = picture
    for part in (framed[:top], framed[tall - bottom :], framed[:, :side], framed[:, wide - side :]):
        part[:] = tone
    light = 235 if tone < 100 else 20
    full = np.empty((round(tall * WIDTH / wide), WIDTH, 3), np.uint8)
    full = np.asarray(
        cv2.resize(framed, (full.shape[1], full.shape[0]), interpolation=cv2.INTER_AREA), np.uint8
    )
    for where, thick in ((tall - bottom // 2, bottom), (top // 2, top)):
        if thick > 0.07 * height and random.random() < 0.8:
            _print(
                full,
                pick(DEALERS, random),
                "sans",
                (WIDTH // 2, where),
                round(thick * 0.85),
                (light,) * 3,
                fonts,
                random,
            )
    return full, np.full(full.shape[:2], 255, np.uint8)
