"""What is behind the cars of a scene: photographs that packages ship, roads, walls, and signs."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edgecnn.train.plates.scenes_painter import Painter, around, gray, shade, vivid
from edgecnn.train.plates.scenes_prints import draw_letters, draw_poster
from edgecnn.train.plates.scenes_view import choose_view, shift_to
from edgecnn.train.renders.noise import Random
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.image_file import list_images, read_picture
from edgecnn_runtime.types import Pixels

PHOTO_SIDE = 1000
"""The longer side of a photograph in memory, in pixels."""
FOLDERS = ("/usr/share/backgrounds", "/usr/share/wallpapers", "/usr/local/share/backgrounds")
"""Where packages put photographs: ``apt-get install gnome-backgrounds mate-backgrounds
plasma-workspace-wallpapers lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 ukui-wallpapers``."""
LEAST_SIDE = 150
"""Pixels of a photograph's shorter side, at half size, below which it is left out."""


def read_backgrounds(folders: Sequence[str]) -> list[Pixels]:
    """The photographs below some folders, each at most PHOTO_SIDE pixels long.

    Args:
        folders: Those of FOLDERS where there are none.

    Returns:
        In the order of their names; a file that is no picture is left out.

    Raises:
        UsageError: A folder is missing, or there is no photograph in one.
    """
    photographs: list[Pixels] = []
    for folder in folders or [each for each in FOLDERS if Path(each).is_dir()]:
        if not Path(folder).is_dir():
            raise UsageError(f"--backgrounds {folder}: no such folder")
        before = len(photographs)
        photographs += _read_folder(Path(folder))
        if folders and len(photographs) == before:
            raise UsageError(f"--backgrounds {folder}: no photographs in it")
    return photographs


def _read_folder(folder: Path) -> list[Pixels]:
    photographs = []
    for file in sorted(list_images(folder)):
        pixels = read_picture(file, cv2.IMREAD_REDUCED_COLOR_2)
        if pixels is None or min(pixels.shape[:2]) < LEAST_SIDE:
            continue
        share = min(PHOTO_SIDE / max(pixels.shape[:2]), 1.0)
        size = (round(pixels.shape[1] * share), round(pixels.shape[0] * share))
        photographs.append(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8))
    return photographs


def draw_background(backgrounds: Sequence[Pixels], size: tuple[int, int], random: Random) -> Pixels:
    """A part of a photograph, uint8[h,w,3]; now and then only colors.

    Args:
        backgrounds: Photographs; there may be none.
        size: Width and height in pixels.
        random: For the choice.
    """
    width, height = size
    if not backgrounds or random.random() < 0.08:
        coarse = random.uniform(0, 255, (5, 8, 3)) * random.uniform(0.2, 1)
        smooth = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
        return np.clip(smooth, 0, 255).astype(np.uint8)
    photo = backgrounds[int(random.integers(len(backgrounds)))]
    h, w = photo.shape[:2]
    part_w = random.uniform(0.25, 1.0) * min(w, h * width / height)
    part_h = part_w * height / width
    x, y = int(random.uniform(0, w - part_w)), int(random.uniform(0, h - part_h))
    part = photo[y : y + max(2, int(part_h)), x : x + max(2, int(part_w))]
    if random.random() < 0.5:
        part = part[:, ::-1]
    return np.ascontiguousarray(cv2.resize(part, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def draw_ground(pixels: Pixels, random: Random) -> None:
    """Draw a road, its lines, and sometimes a building behind it."""
    h, w = pixels.shape[:2]
    horizon = h * random.uniform(-0.1, 0.7)
    painter = Painter(pixels, np.eye(3))
    if random.random() < 0.3:
        _draw_facade(painter, w, horizon, random)
    tilt = random.normal(0, 0.05) * w
    tone = gray(random, 60, 200, 12)
    steps = 6
    for step in range(steps):
        top = horizon + (h - horizon) * step / steps - (1 if step else 0)
        painter.polygon(
            [(-9, top - tilt), (w + 9, top + tilt), (w + 9, h + 99), (-9, h + 99)],
            shade(tone, 1 + 0.05 * step * random.uniform(-1, 1)),
        )
    for _ in range(int(random.integers(0, 5))):
        x, reach = random.uniform(-0.5, 1.5) * w, random.uniform(-1, 1) * w
        color = gray(random, 180, 240) if random.random() < 0.6 else gray(random, 40, 110)
        painter.line([(x, horizon), (x + reach, h + 9)], random.uniform(1, 7), color)
    low = max(0, int(horizon))
    part = pixels[low:]
    if part.size:
        coarse = random.normal(0, random.uniform(1, 9), (max(1, len(part) // 2), w // 2)).astype(
            np.float32
        )
        grain = cv2.resize(coarse, (w, len(part)), interpolation=cv2.INTER_LINEAR)
        part[...] = np.clip(part + grain[..., None], 0, 255).astype(np.uint8)


def _draw_facade(painter: Painter, width: float, horizon: float, random: Random) -> None:
    wall = gray(random, 60, 220, 25)
    painter.rectangle(0, 0, width, horizon, wall)
    pitch = random.uniform(12, 90)
    pane = shade(wall, random.uniform(0.2, 1.4))
    for x in np.arange(random.uniform(-pitch, 0), width, pitch):
        for y in np.arange(0, horizon, pitch * random.uniform(0.4, 1.5)):
            painter.rectangle(
                float(x), float(y), float(x + 0.6 * pitch), float(y + 0.4 * pitch), pane
            )


def draw_distractor(pixels: Pixels, scenery: Pixels, random: Random) -> None:
    """Draw a sign, a poster, a word, a lamp or a pane: bright, printed or framed, and no plate.

    Args:
        pixels: uint8[h,w,3], drawn into.
        scenery: uint8[h,w,3], what a pane shows.
        random: For all of it.
    """
    h, w = pixels.shape[:2]
    scale = float(np.exp(random.uniform(np.log(7), np.log(200))))
    place = (random.uniform(0, w), random.uniform(0, h))
    painter = Painter(pixels, shift_to(choose_view(random, scale), (0.0, 0.0), place))
    kind = random.random()
    if kind < 0.3:
        tall = random.uniform(0.12, 0.8)
        if random.random() < 0.5:
            rim = random.uniform(0.01, 0.08)
            tone = gray(random, 0, 250)
            painter.slab(*around(0, 0, 0.5 + rim, tall / 2 + rim), tone, radius=rim)
        painter.picture(around(0, 0, 0.5, tall / 2), scenery)
    elif kind < 0.65:
        tall = random.uniform(0.12, 1.3)
        painter.picture((-0.5, -tall / 2, 0.5, tall / 2), draw_poster(random))
    elif kind < 0.78:
        at = (min(max(int(place[1]), 0), h - 1), min(max(int(place[0]), 0), w - 1))
        blue, green, red = pixels[at].tolist()
        painter.picture((-0.5, -0.1, 0.5, 0.1), draw_letters(random, (blue, green, red)))
    elif kind < 0.88:
        tone = gray(random, 10, 250, 30)
        painter.slab(-0.5, -0.2, 0.5, 0.2, tone, radius=0.1)
        for y in np.linspace(-0.18, 0.18, int(random.integers(2, 9))):
            painter.line(
                [(-0.48, float(y)), (0.48, float(y))], 0.02, shade(tone, random.uniform(0.3, 2))
            )
    else:
        painter.slab(-0.5, -random.uniform(0.1, 0.5), 0.5, 0.2, vivid(random), radius=0.02)
