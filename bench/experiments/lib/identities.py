"""How well identities are kept: switches, and detections without one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lib.moving_world import Sight

Output: TypeAlias = Sequence[Sequence[float]]
"""x1, y1, x2, y2 and identity of each object that a tracker believes in one frame."""

SAME = 0.3
"""A tracker's box is a detection's if their intersection over union is larger."""


@dataclass(frozen=True)
class Count:
    """What a tracker made of a world.

    Attributes:
        switches: How often a detection had another identity than its object had before, or one
            that another object had before.
        missing: How many detections had none.
        detections: How many there were.
    """

    switches: int
    missing: int
    detections: int


def count(sights: Sequence[Sight], outputs: Sequence[Output]) -> Count:
    """Compare the identities that a tracker gave with what the detections really show."""
    last_identity: dict[int, int] = {}
    last_object: dict[int, int] = {}
    switches = missing = total = 0
    for sight, output in zip(sights, outputs, strict=True):
        total += len(sight.truth)
        identities = _identities(sight, output)
        missing += len(sight.truth) - len(identities)
        for place, identity in identities.items():
            thing = sight.truth[place]
            known = last_identity.get(thing, identity) == identity
            switches += not (known and last_object.get(identity, thing) == thing)
            last_identity[thing], last_object[identity] = identity, thing
    return Count(switches, missing, total)


def _identities(sight: Sight, output: Output) -> dict[int, int]:
    """The identity of each detection by its place, the best overlap first, each used once."""
    if not sight.detections or not output:
        return {}
    overlaps = _overlaps(
        np.array([each.box for each in sight.detections]), np.array([row[:4] for row in output])
    )
    identities: dict[int, int] = {}
    for flat in np.argsort(-overlaps, axis=None).tolist():
        place, row = divmod(flat, len(output))
        if overlaps[place, row] <= SAME:
            break
        identity = int(output[row][4])
        if place not in identities and identity not in identities.values():
            identities[place] = identity
    return identities


def _overlaps(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of boxes float64[N,4] and float64[M,4], float64[N,M]."""
    first, second = one[:, None], other[None]
    corner = np.minimum(first[..., 2:], second[..., 2:])
    sides = (corner - np.maximum(first[..., :2], second[..., :2])).clip(0)
    both = sides.prod(axis=2)
    areas = [(each[..., 2:] - each[..., :2]).prod(axis=2) for each in (first, second)]
    shares: NDArray[np.float64] = both / (areas[0] + areas[1] - both)
    return shares
