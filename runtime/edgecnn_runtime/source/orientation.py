"""Whatever a camera delivers → uint8[H,W,3] BGR, turned the way it hangs."""

from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.types import Pixels

Rotation: TypeAlias = Literal[0, 90, 180, 270]
Flip: TypeAlias = Literal["", "h", "v", "hv"]

ROTATIONS: dict[int, int] = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
FLIPS: dict[str, int] = {"h": 1, "v": 0, "hv": -1}


def to_bgr(pixels: NDArray[Any]) -> Pixels:
    """Convert a picture to 8-bit BGR.

    16-bit values lose their low byte (v >> 8), so 65535 becomes 255 in every picture, and a scene
    has the same brightness from one frame to the next.

    Args:
        pixels: uint8 or uint16, [H,W] or [H,W,1] gray, [H,W,2] YUYV (uint8 only), [H,W,3] BGR,
            [H,W,4] BGRA (alpha is dropped).

    Returns:
        uint8[H,W,3]; ``pixels`` itself if it is that already.

    Raises:
        UsageError: The layout is another one.
    """
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2] if pixels.ndim == 3 else 0
    if pixels.dtype != np.uint8 or channels not in {1, 2, 3, 4}:
        raise UsageError(
            f"pictures of {pixels.dtype}{list(pixels.shape)} are not supported: "
            "8- or 16-bit gray, BGR, BGRA and 8-bit YUYV are"
        )
    if channels == 3:
        return pixels
    code = {1: cv2.COLOR_GRAY2BGR, 2: cv2.COLOR_YUV2BGR_YUY2, 4: cv2.COLOR_BGRA2BGR}[channels]
    return np.asarray(cv2.cvtColor(pixels, code))


def orient(pixels: Pixels, rotate: Rotation, flip: Flip) -> Pixels:
    """Rotate clockwise by 0, 90, 180 or 270 degrees, then mirror: h left-right, v upside down."""
    if rotate:
        pixels = np.asarray(cv2.rotate(pixels, ROTATIONS[rotate]))
    if flip:
        pixels = np.asarray(cv2.flip(pixels, FLIPS[flip]))
    return pixels
