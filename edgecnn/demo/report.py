"""out/report.html: what the demo did and how well, on one page without a network or scripts."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from markupsafe import Markup

from edgecnn.demo.gallery import Exhibit
from edgecnn.demo.scene import FPS, WINDOW, Scene, Tile
from edgecnn.demo.score import NONE, DigitScore, Look, is_right
from edgecnn_bench.page import render_page
from edgecnn_bench.schema import BenchReport
from edgecnn_bench.svg import WIDTH, axis_x, linear_scale, rect, svg, text
from edgecnn_runtime.bundle.bundle import Bundle
from edgecnn_runtime.errors import SourceLostError
from edgecnn_runtime.parity import cosine_text
from edgecnn_runtime.types import Pixels

THUMBNAIL = 96
HERO = 3
"""Index of the digit in the large picture, where there are as many."""
LANES = (*"0123456789", NONE)
NAMES, TOP, LANE = 46.0, 6.0, 20.0
"""The timeline in SVG units: room for the labels, above the lanes, and for each lane."""
HALF = 7
"""Frames before and after the one with a digit in the middle in which all of it is visible."""


@dataclass(frozen=True, slots=True)
class DemoResults:
    """Everything on the page.

    Attributes:
        scene: What was rendered.
        looks: The events of every frame.
        score: The readings compared with the tiles.
        exhibits: A picture of each task.
        bundle: The exported bundle.
        bench: Its timings.
        annotated: The annotated video.
        commands: The commands as typed.
        files: What each written file is, by name.
    """

    scene: Scene
    looks: Sequence[Look]
    score: DigitScore
    exhibits: Sequence[Exhibit]
    bundle: Bundle
    bench: BenchReport
    annotated: Path
    commands: Sequence[str]
    files: dict[str, str]


def render(results: DemoResults) -> str:
    """The page."""
    tiles = results.scene.tiles
    hero = still(results.annotated, tiles[min(HERO, len(tiles) - 1)].frame)
    return render_page(
        "edgecnn.demo",
        "report.html",
        results=results,
        tiles=list(_strip(results)),
        hero=_data_uri(hero, 86),
        pictures=[(each, _data_uri(each.picture, 78)) for each in results.exhibits],
        timeline=timeline(results.looks, results.score, results.scene.length),
        rows=sorted(results.bench.rows, key=lambda row: (row.scope, row.latency.p50.value)),
        seconds=results.scene.length / FPS,
        cosine_text=cosine_text,
    )


def still(video: Path, frame: int) -> Pixels:
    """One frame of a video, uint8[H,W,3] BGR.

    Raises:
        SourceLostError: The video has no such frame.
    """
    reader = cv2.VideoCapture(str(video))
    try:
        for _ in range(frame):
            reader.grab()
        complete, picture = reader.read()
    finally:
        reader.release()
    if not complete:
        raise SourceLostError(f"{video} has no frame {frame}")
    return np.asarray(picture, np.uint8)


def window(scene: Scene, tile: Tile) -> Pixels:
    """A digit in the middle of the window, uint8[THUMBNAIL,THUMBNAIL,3] BGR."""
    x, y, w, h = WINDOW
    picture = scene.frame(tile.frame)[y : y + h, x : x + w]
    small = cv2.resize(picture, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def timeline(looks: Sequence[Look], score: DigitScore, length: int) -> Markup:
    """SVG with one lane per label: boxes for the digits, bars for the model's results."""
    x = linear_scale(length / FPS, NAMES, WIDTH - 8)
    bottom = TOP + LANE * len(LANES)
    parts = [axis_x(x, TOP, bottom, "seconds")]
    tops = {label: TOP + LANE * number for number, label in enumerate(LANES)}
    for label, top in tops.items():
        parts.append(text(NAMES - 10, top + 14, label, "name", "end"))
    for first, last, label in _bars(looks):
        start, end = x(first / FPS), x((last + 1) / FPS)
        style = "seen none" if label == NONE else "seen"
        parts.append(rect(start, tops[label] + 4, end - start, LANE - 8, style))
    for tile, reading in score.pairs:
        start, end = x((tile.frame - HALF) / FPS), x((tile.frame + HALF) / FPS)
        style = "truth" if is_right(tile, reading) else "truth missed"
        tip = f"{tile.digit} at {tile.frame / FPS:.1f} s, read {reading.label if reading else '–'}"
        top = tops[str(tile.digit)]
        parts.append(rect(start, top + 1, end - start, LANE - 2, style, tip=tip))
    return svg(bottom + 40, parts, "digits in the window, and how they were read")


def _bars(looks: Sequence[Look]) -> Iterator[tuple[int, int, str]]:
    """Neighboring frames with the same label as one: first, last, label."""
    for label, group in groupby(looks, key=lambda look: look.label):
        frames = [look.frame for look in group]
        yield frames[0], frames[-1], label


def _strip(results: DemoResults) -> Iterator[dict[str, Any]]:
    for tile, reading in results.score.pairs:
        yield {
            "image": _data_uri(window(results.scene, tile), 80),
            "digit": tile.digit,
            "label": reading.label if reading else "–",
            "share": reading.share if reading else 0.0,
            "right": is_right(tile, reading),
        }


def _data_uri(picture: Pixels, quality: int) -> str:
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
