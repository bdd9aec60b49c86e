"""Masks as other programs take them: run lengths and polygons; and how much two of them overlap."""

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.types import Point

Mask = NDArray[np.bool_]

TOLERANCE = 0.8
"""How far, in pixels, a polygon may leave out a corner of its mask."""


def run_lengths(mask: Mask, origin: tuple[int, int], height: int, width: int) -> list[int]:
    """A mask in the uncompressed convention of COCO.

    The pixels of the picture are counted column by column, from the top: so many outside, so many
    inside, and so on (T.-Y. Lin et al., cocoapi, ``maskApi.h``).

    Args:
        mask: bool[h,w], a part of the picture.
        origin: x, y of its first pixel in the picture.
        height: Of the picture.
        width: Of the picture.

    Returns:
        The lengths of the runs; the first one is 0 where the first pixel is inside.
    """
    rows, columns = mask.shape
    padded = np.zeros((columns, rows + 2), np.int8)  # no run goes on into the next column
    padded[:, 1:-1] = mask.T
    column, row = np.diff(padded, axis=1).nonzero()
    edges = (column + origin[0]) * height + row + origin[1]
    if rows == height and len(edges):  # but in the picture it may
        goes_on = edges[1:-1:2] == edges[2::2]
        edges = edges[np.r_[True, ~np.repeat(goes_on, 2), True]]
    counts: list[int] = np.diff(edges, prepend=0, append=height * width).tolist()
    return counts[:-1] if counts[-1] == 0 and len(counts) > 1 else counts


def from_run_lengths(counts: list[int], height: int, width: int) -> Mask:
    """The whole picture's mask, bool[height,width], of what ``run_lengths`` gave.

    Raises:
        ValueError: The runs are not as long as the picture.
    """
    inside = np.arange(len(counts)) % 2 == 1
    pixels = np.repeat(inside, counts)
    if pixels.size != height * width:
        raise ValueError(f"{pixels.size} pixels in runs, and {height * width} in the picture")
    return pixels.reshape(width, height).T


def polygons(mask: Mask, origin: tuple[int, int] = (0, 0)) -> list[list[Point]]:
    """The outlines of the parts of a mask, the largest first.

    Each runs through the centers of the outermost pixels, to within TOLERANCE. Holes are left out,
    and parts without an area: those of a pixel, or of a line.

    Args:
        mask: bool[h,w].
        origin: x, y of its first pixel in the picture.
    """
    if not mask.any():
        return []
    image = np.ascontiguousarray(mask).view(np.uint8)
    outlines, _ = cv2.findContours(image, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    shift = np.array(origin, np.float64) + 0.5
    ranked = sorted(outlines, key=cv2.contourArea, reverse=True)
    paths = (cv2.approxPolyDP(path, TOLERANCE, True)[:, 0] + shift for path in ranked)
    return [[(x, y) for x, y in path.tolist()] for path in paths if len(path) > 2]


def mask_iou(
    one: Mask, origin: tuple[int, int], other: Mask, other_origin: tuple[int, int]
) -> float:
    """Intersection over union of two masks of a picture; 0.0 where both are empty.

    Args:
        one: bool[h,w], a part of the picture.
        origin: x, y of its first pixel in the picture.
        other: Likewise.
        other_origin: Likewise.
    """
    spans = [
        (max(a, b), min(a + n, b + m))
        for a, n, b, m in zip(origin, one.shape[::-1], other_origin, other.shape[::-1], strict=True)
    ]
    total = np.count_nonzero(one) + np.count_nonzero(other)
    if not total or any(start >= stop for start, stop in spans):
        return 0.0
    parts = (
        mask[tuple(slice(a - o, b - o) for (a, b), o in zip(spans, start, strict=True))[::-1]]
        for mask, start in ((one, origin), (other, other_origin))
    )
    both = np.count_nonzero(np.logical_and(*parts))
    return float(both / (total - both))
