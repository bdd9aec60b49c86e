"""Printed things that are no plates: signs, stickers, shop text, names of cars."""

import string
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn.train.plates.scenes_painter import Color, gray, vivid
from edgecnn.train.renders.noise import Random
from edgecnn_runtime.types import Pixels

FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
)  # fmt: skip
WORDS = (
    "OPEN", "SALE", "Pizza", "Hotel", "TAXI", "PARKING", "Cafe", "EXIT", "Truck Rental", "Service",
    "No Parking", "STOP", "Market", "24h", "www.shop.com", "AUTO", "Dealer", "Toyota", "Turbo 4x4",
    "Private Property", "SPEED 30", "Metro", "1-800-555", "Bank", "TDI", "Quattro", "Sport", "2.0",
)  # fmt: skip


def draw_poster(random: Random) -> Pixels:
    """A sign, a sticker or shop text: printed, and no plate."""
    height, width = int(random.integers(40, 160)), int(random.integers(60, 260))
    pixels = np.empty((height, width, 3), np.uint8)
    paper = vivid(random) if random.random() < 0.6 else gray(random, 10, 250)
    dark = sum(paper) < 380
    ink = gray(random, 200, 255) if dark else gray(random, 0, 60)
    pixels[:] = paper
    if random.random() < 0.4:
        cv2.rectangle(pixels, (4, 4), (width - 5, height - 5), ink, 3, cv2.LINE_AA)
    lines = int(random.integers(0, 5))
    for line in range(lines):
        top, bottom = (line + 0.18) / lines, (line + 0.82) / lines
        length = random.uniform(0.4, 0.92)
        start = random.uniform(0.04, 0.96 - length)
        _text(pixels, _words(random), (start, top, start + length, bottom), ink)
    if not lines:
        for _ in range(int(random.integers(1, 5))):
            x, y = int(random.integers(width)), int(random.integers(height))
            cv2.circle(pixels, (x, y), int(random.integers(5, 60)), vivid(random), -1, cv2.LINE_AA)
    return pixels


def draw_letters(random: Random, paper: Color) -> Pixels:
    """A word on the color of what it is written on."""
    word = _words(random)
    pixels = np.empty((48, max(40, 24 * len(word)), 3), np.uint8)
    pixels[:] = paper
    ink = gray(random, 150, 250) if sum(paper) < 380 else gray(random, 0, 160)
    _text(pixels, word, (0.02, 0.12, 0.98, 0.88), ink)
    return pixels


def _text(pixels: Pixels, text: str, box: tuple[float, float, float, float], ink: Color) -> None:
    """Characters side by side in a box, in shares of the picture."""
    h, w = pixels.shape[:2]
    x1, y1, x2, y2 = box[0] * w, box[1] * h, box[2] * w, box[3] * h
    pitch = min((x2 - x1) / len(text), (y2 - y1) * 0.75)
    start = (x1 + x2 - pitch * len(text)) / 2
    font = FONTS[sum(map(ord, text)) % len(FONTS)]
    thick = 2 + sum(map(ord, text)) // 7 % 5
    for place, letter in enumerate(text):
        if letter in " -.":
            continue
        left, right = round(start + pitch * (place + 0.08)), round(start + pitch * (place + 0.92))
        top, bottom = round(y1), round(y2)
        if right <= left or bottom <= top:
            continue
        glyph = cv2.resize(
            _glyph(letter, font, thick), (right - left, bottom - top), interpolation=cv2.INTER_AREA
        )
        part = pixels[top:bottom, left:right]
        alpha = glyph[: part.shape[0], : part.shape[1], None].astype(np.float32) / 255
        part[...] = part + alpha * (np.array(ink, np.float32) - part)


@cache
def _glyph(letter: str, font: int, thick: int) -> NDArray[np.uint8]:
    """A character, as large as its picture, uint8[h,w] 0..255."""
    tile = np.zeros((110, 110), np.uint8)
    cv2.putText(tile, letter, (30, 80), font, 2.0, 255, 2 * thick, cv2.LINE_AA)
    x, y, w, h = cv2.boundingRect(tile)
    return np.ascontiguousarray(tile[y : y + h, x : x + w]) if w and h else tile


def _letters(random: Random, low: int, high: int) -> str:
    return "".join(random.choice(list(string.ascii_uppercase), random.integers(low, high)))


def _words(random: Random) -> str:
    return str(random.choice(WORDS)) if random.random() < 0.6 else _letters(random, 3, 14)
