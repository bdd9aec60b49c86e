"""Other ways to resize, to find out which of them a transform uses; too slow for anything else."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.types import Floats, Pixels

Resampler: TypeAlias = Callable[[Pixels, int, int], Floats]
"""uint8[H,W,3], width, height → float32[height,width,3]."""


def antialiased_resize(pixels: Pixels, width: int, height: int) -> Floats:
    """Bilinear with the filter widened by the scale, as PIL and torchvision's antialias do."""
    rows, columns = _triangle(pixels.shape[0], height), _triangle(pixels.shape[1], width)
    lines = pixels.transpose(0, 2, 1).reshape(-1, pixels.shape[1]).astype(np.float32)
    across = (lines @ columns.T).reshape(pixels.shape[0], -1)
    return (rows @ across).reshape(height, 3, width).transpose(0, 2, 1)


def _triangle(source: int, target: int) -> NDArray[np.float32]:
    """float32[target,source]: the weight of each source pixel in each target pixel."""
    scale = source / target
    reach = max(scale, 1.0)
    centers = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(source)[None] + 0.5 - centers[:, None]) / reach
    weights = np.maximum(0.0, 1.0 - distance)
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)


def _opencv(interpolation: int, pixels: Pixels, width: int, height: int) -> Floats:
    resized = cv2.resize(pixels, (width, height), interpolation=interpolation)
    return np.asarray(resized, np.float32)


def _mapped(aligned: bool, pixels: Pixels, width: int, height: int) -> Floats:
    """Bilinear with other pixel centers: at the corners, or half a pixel off."""
    sides = ((pixels.shape[1], width), (pixels.shape[0], height))
    places = [np.linspace(0, size - aligned, count, endpoint=aligned) for size, count in sides]
    across, down = (np.asarray(part, np.float32) for part in np.meshgrid(*places))
    planes = pixels.astype(np.float32)
    resized = cv2.remap(planes, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(resized, np.float32)


SAMPLERS: Mapping[str, Resampler] = {
    "shrinks smoothly, as PIL and torchvision's antialias do": antialiased_resize,
    "takes the nearest pixel": partial(_opencv, cv2.INTER_NEAREST),
    "resizes with bicubic interpolation": partial(_opencv, cv2.INTER_CUBIC),
    "resizes with Lanczos interpolation": partial(_opencv, cv2.INTER_LANCZOS4),
    "aligns the corner pixels (align_corners=True), which is half a pixel off": (
        partial(_mapped, True)
    ),
    "resizes from the corner, half a pixel off (half_pixel_centers=False)": partial(_mapped, False),
}
"""By description: what a transform may do that no setting of a bundle does."""
