"""A picture of any size → the network's input, exactly as the device computes it."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn.models.recipe import Recipe
from edgecnn.train.config import TrainConfig
from edgecnn_runtime.bundle.manifest import Input, Normalization
from edgecnn_runtime.preprocess import prepare
from edgecnn_runtime.types import Pixels

Fit = Callable[[Pixels], NDArray[np.uint8]]
"""uint8[H,W,3] BGR → uint8[size,size,C], C 1 for gray, 3 for BGR."""


def make_resizer(recipe: Recipe, config: TrainConfig) -> Fit:
    """The runtime's own resizing, then conversion to gray for a gray network."""
    spec = Input(
        width=recipe.size,
        height=recipe.size,
        color=recipe.color,
        normalization=Normalization(mean=recipe.mean, std=recipe.std, origin="checkpoint"),
        resize=config.resize,
        interpolation=config.interpolation,
    )

    def fit(picture: Pixels) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = prepare(spec, [picture])[0]
        if recipe.color == "gray":
            pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8)
            pixels = pixels.reshape(recipe.size, recipe.size, 1)
        return pixels

    return fit
