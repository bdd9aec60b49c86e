"""One picture of each task: a bundle's result on it, drawn as ``edgecnn run`` draws it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgecnn.demo.scene import WINDOW, Scene
from edgecnn.train.renders.codes import draw_code
from edgecnn.train.renders.workshop import draw_workshop
from edgecnn_runtime.draw import Canvas
from edgecnn_runtime.model import load
from edgecnn_runtime.tasks import TASKS
from edgecnn_runtime.text import TextRenderer
from edgecnn_runtime.types import Embedding, Pixels

SIDE = 384
"""Of a tile's picture, in pixels."""
NEIGHBORS = 12
"""Tiles of the clip that the embedded one is compared with."""
ABOUT: Mapping[str, tuple[str, str]] = {
    "digits": ("classify", "One class for the whole picture: the digit on the tile."),
    "reader": ("ocr", "A line of text: the code on the plate."),
    "workshop-detect": ("detect", "A box around every object."),
    "workshop-pose": ("pose", "A box around every person, and the joints inside it."),
    "workshop-obb": ("obb", "A box around every part on the belt, turned as the part is."),
    "workshop-segment": ("segment", "A box around every object, and the pixels that belong to it."),
    "workshop-surfaces": ("segment, class map", "What every pixel of the picture shows."),
    "digit-features": ("embed", "A vector for the picture; those of similar pictures are close."),
}
"""Name of a bundle → its task, and what that is in plain words, in the order of the page."""


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A picture with the result drawn in.

    Attributes:
        name: Of the bundle.
        task: Its task.
        about: What the task is.
        result: The result in words.
        picture: uint8[H,W,3] BGR.
    """

    name: str
    task: str
    about: str
    result: str
    picture: Pixels


def exhibits(bundles: Mapping[str, Path], scene: Scene, seed: int) -> list[Exhibit]:
    """Run every bundle on its picture.

    Args:
        bundles: Path by the name in ABOUT.
        scene: The clip, whose tiles are classified and embedded.
        seed: Of the other pictures.

    Raises:
        EdgecnnError: A bundle cannot be used here.
    """
    workshop, letters = draw_workshop(seed).picture, TextRenderer()
    tiles = [tile_picture(scene, number) for number in range(min(NEIGHBORS, len(scene.tiles)))]
    pictures = {"digits": tiles[0], "reader": draw_code(seed).picture, "digit-features": tiles[0]}
    results = []
    for name, (task, about) in ABOUT.items():
        with load(bundles[name]) as model:
            picture = pictures.get(name, workshop).copy()
            result = model(picture)
            words = TASKS[model.spec.task].summarize(result)
            if isinstance(result, Embedding):
                vectors = [model(tile) for tile in tiles[1:]]
                words += _nearest(result, vectors, [tile.digit for tile in scene.tiles])
            canvas = Canvas(picture, labels=model.spec.labels, letters=letters)
            TASKS[model.spec.task].draw(canvas, result)
        results.append(Exhibit(name, task, about, words, picture))
    return results


def tile_picture(scene: Scene, number: int) -> Pixels:
    """A tile in the middle of the reading window, uint8[SIDE,SIDE,3] BGR."""
    x, y, w, h = WINDOW
    part = scene.frame(scene.tiles[number].frame)[y : y + h, x : x + w]
    return np.asarray(cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR), np.uint8)


def _nearest(result: Embedding, others: Sequence[object], digits: Sequence[int]) -> str:
    """Which other tile's vector is nearest; the model was not told any digit."""
    cosines = list(_cosines(result, others))
    if not cosines:
        return ""
    best = int(np.argmax(cosines))
    return (
        f"; this tile shows {digits[0]}, and the nearest of {len(cosines)} others, "
        f"at a cosine of {cosines[best]:.2f}, shows {digits[best + 1]}"
    )


def _cosines(result: Embedding, others: Sequence[object]) -> Iterator[float]:
    for other in others:
        assert isinstance(other, Embedding)
        yield float(result.vector @ other.vector)
