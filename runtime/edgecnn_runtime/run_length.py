"""Masks as run lengths, in COCO's format, and polygons as masks.

Source of both: COCO's ``maskApi.c`` (T.-Y. Lin, P. Dollár; github.com/cocodataset/cocoapi). Pixels
are counted column by column; runs of 0 and 1 take turns, the first one of 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FINE = 5
"""Steps per pixel in which the outline of a polygon is followed."""


@dataclass(frozen=True)
class RunLengths:
    """A mask of a whole picture.

    Attributes:
        height: Of the picture, in pixels.
        width: Likewise.
        counts: The lengths of its runs as COCO writes them: from the fourth on the difference to
            the length two before, five bits in each character.
    """

    height: int
    width: int
    counts: bytes

    def lengths(self) -> NDArray[np.int64]:
        """int64[runs], first of 0, then of 1, and so on.

        Raises:
            ValueError: ``counts`` is damaged, or its runs are not as long as the picture.
        """
        lengths = _unpack(self.counts)
        if min(lengths, default=0) < 0 or sum(lengths) != self.height * self.width:
            raise ValueError(
                f"runs of {sum(lengths):,} pixels, but {self.width} × {self.height} are "
                f"{self.height * self.width:,}"
            )
        return np.array(lengths, np.int64)

    def pixels(self) -> NDArray[np.bool_]:
        """bool[height,width], a new array.

        Raises:
            ValueError: ``counts`` is damaged, or its runs are not as long as the picture.
        """
        lengths = self.lengths()
        values = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
        return values.reshape(self.width, self.height).T


def from_lengths(lengths: Sequence[int], height: int, width: int) -> RunLengths:
    """Run lengths that are written as plain numbers; they are not checked."""
    return RunLengths(height, width, _pack(lengths))


def from_polygons(polygons: Sequence[NDArray[np.float64]], height: int, width: int) -> RunLengths:
    """The pixels inside at least one of some polygons, as COCO fills them.

    Args:
        polygons: float64[points,2] each, x and y in pixels, at least three points. What lies
            outside the picture is cut off.
        height: Of the picture, in pixels.
        width: Likewise.
    """
    ends = [_crossings(polygon, height, width) for polygon in polygons]
    if len(ends) == 1:
        return _from_changes(ends[0], height, width)
    places = np.concatenate(ends)
    steps = np.concatenate([1 - np.arange(len(each)) % 2 * 2 for each in ends])
    order = np.argsort(places, kind="stable")
    depth = np.cumsum(steps[order])
    inside = np.diff(depth > 0, prepend=False)
    return _from_changes(places[order][inside], height, width)


def _crossings(polygon: NDArray[np.float64], height: int, width: int) -> NDArray[np.int64]:
    """Where a walk over all pixels, column by column, crosses the outline, in order."""
    points = _outline(np.trunc(FINE * polygon + 0.5).astype(np.int64))
    (u, v), (before_u, before_v) = points[1:].T, points[:-1].T
    columns = (np.minimum(u, before_u) + 0.5) / FINE - 0.5
    crosses = (u != before_u) & (columns % 1 == 0) & (columns >= 0) & (columns <= width - 1)
    rows = np.ceil(np.clip((np.minimum(v, before_v) + 0.5) / FINE - 0.5, 0, height))
    return np.sort(columns[crosses].astype(np.int64) * height + rows[crosses].astype(np.int64))


def _outline(corners: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[points,2], every fine step from corner to corner and back to the first one."""
    edges = np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)
    sides = np.abs(edges[:, 1] - edges[:, 0])
    long = (sides[:, 1] > sides[:, 0]).astype(np.intp)
    every = np.arange(len(edges))
    length = sides[every, long]
    backwards = edges[every, 0, long] > edges[every, 1, long]
    edges[backwards] = edges[backwards][:, ::-1]
    rise = edges[every, 1, 1 - long] - edges[every, 0, 1 - long]
    at = np.repeat(every, length + 1)
    step = np.arange(len(at)) - np.repeat(np.cumsum(length + 1) - length - 1, length + 1)
    step = np.where(backwards[at], length[at] - step, step)
    slope = rise / np.maximum(length, 1)
    points = np.empty((len(at), 2), np.int64)
    row = np.arange(len(at))
    points[row, long[at]] = edges[at, 0, long[at]] + step
    points[row, 1 - long[at]] = np.trunc(edges[at, 0, 1 - long[at]] + slope[at] * step + 0.5)
    return points


def _from_changes(changes: NDArray[np.int64], height: int, width: int) -> RunLengths:
    """From the pixels at which the mask changes, in order; two changes at one pixel are none."""
    places, counts = np.unique(changes, return_counts=True)
    places = places[(counts % 2 == 1) & (places < height * width)]
    lengths = np.diff(places, prepend=0, append=height * width)
    return from_lengths(lengths.tolist(), height, width)


def _pack(lengths: Sequence[int]) -> bytes:
    characters = bytearray()
    for at, length in enumerate(lengths):
        value = length - lengths[at - 2] if at > 2 else length
        while True:
            low, value = value & 0x1F, value >> 5
            more = value != (-1 if low & 0x10 else 0)
            characters.append(48 + (low | 0x20 if more else low))
            if not more:
                break
    return bytes(characters)


def _unpack(counts: bytes) -> list[int]:
    lengths: list[int] = []
    value = shift = 0
    for character in counts:
        bits = character - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError("`counts` is not COCO's text of run lengths")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("`counts` ends in the middle of a run")
    return lengths
