"""The faces of plates that stand in scenes, each made once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgecnn.train.plates.degrade import dirt
from edgecnn.train.plates.fonts import Fonts
from edgecnn.train.plates.grammar import Grammar
from edgecnn.train.plates.render import render_plate
from edgecnn.train.plates.texts import choose
from edgecnn_runtime.types import Pixels

COUNT = 3000
"""Different plates; light, dirt and distance make the rest."""
AREA = 0.052
"""Square meters: what most countries' plates have, whatever their shape."""
DIRTY = 0.25


@dataclass(frozen=True, slots=True)
class Face:
    """The picture of a plate.

    Attributes:
        pixels: uint8[h,w,3] BGR.
        cover: uint8[h,w], 255 where the plate is; its corners are round.
    """

    pixels: Pixels
    cover: NDArray[np.uint8]

    @property
    def height(self) -> float:
        """In meters."""
        h, w = self.cover.shape
        return float((AREA * h / w) ** 0.5)

    @property
    def width(self) -> float:
        """In meters."""
        return AREA / self.height


Faces: TypeAlias = Callable[[int], Face]
"""The face of a number, 0 to COUNT - 1; always the same one."""


def rendered_faces(grammars: Sequence[Grammar], fonts: Fonts) -> Faces:
    """Plates of countries.

    Args:
        grammars: The countries, each as often as its weight says.
        fonts: Their families of fonts at least.
    """
    weighted = [(grammar, grammar.weight) for grammar in grammars]

    def render(number: int) -> Face:
        random = np.random.default_rng((15, number))
        plate = render_plate(choose(weighted, random), fonts, random)
        if random.random() < DIRTY:
            dirt(plate.picture, random)
        return Face(plate.picture, plate.coverage)

    return lru_cache(COUNT)(render)
