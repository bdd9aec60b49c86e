"""Whether two programs find the same objects in a picture: pairs of them, and how far they differ.

What one finds in a picture is a dict of lists with one entry per object: ``scores``, ``classes``
and ``boxes`` (x1, y1, x2, y2, or x, y, width, height, radians of a rotated one), all in pixels of
the picture; ``keypoints`` (x, y and perhaps a probability each) and ``masks`` (``unpack_mask``
reads them) where the task has them, otherwise empty.

Paired are objects of one class, the best overlap first. A picture in which the reference finds
fewer than LEAST objects does not count. No partner is needed for a score within GOAL_SCORE of the
threshold, nor for a box without an area, which random weights give and which we drop. Masks are
compared on the pixels of their box without those that its edges cut: Ultralytics takes one whose
upper left corner is in the box, we one whose center is.
"""

import base64
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn_runtime.geometry import iou, is_box
from edgecnn_runtime.masks import Mask, mask_iou
from edgecnn_runtime.tasks.obb import rotated_iou
from edgecnn_runtime.types import Box, RotatedBox
from lib.experiment import Cell, Row
from lib.material import ASSETS, video_frames, write_pictures

LEAST = 20
"""Objects in a picture that counts."""
LEAST_PICTURES = 8
"""Pictures that count, of a network that is compared in full."""
PARTNER = 0.5
GOAL_IOU, GOAL_MASK, GOAL_PIXELS, GOAL_DEGREES, GOAL_SCORE = 0.95, 0.9, 2.0, 1.0, 0.01

COLUMNS: dict[str, Cell] = {
    "": "{what}",
    "pictures": "{pictures}",
    "objects": "{objects}",
    "without partner": "{alone}",
    "least IoU": "{iou:.4f}",
    "score": "{score:.4f}",
    "keypoints": "{pixels:.2f} px",
    "angle": "{degrees:.2f}°",
    "masks": "{mask:.4f}",
}


def photographs(folder: Path, count: int) -> list[str]:
    """Files of photographs of streets and of frames of the video, about half each.

    Args:
        folder: The frames are written into its new folder ``frames``.
        count: How many, at least.
    """
    scenes = sorted((ASSETS / "plates" / "scenes").glob("*/*.jpg"))
    frames = write_pictures(folder / "frames", video_frames()[:: 105 * 2 // count])
    files = [*scenes[:: len(scenes) * 2 // count], *sorted(frames.iterdir())]
    return [str(file) for file in files]


def plain(result: Any, task: str, size: Sequence[int]) -> dict[str, Any]:
    """Our own result in the form of this file.

    Args:
        result: Of a model of that task.
        task: ``detect``, ``pose``, ``obb`` or ``segment``.
        size: Width and height of the picture; keypoints are clipped at its edge, as Ultralytics
            does it.
    """
    poses = [np.array(each.keypoints) for each in result] if task == "pose" else []
    for pose in poses:
        pose[:, :2] = pose[:, :2].clip(0, size)
    if task == "detect":
        poses = [np.array(each.points) for each in result if each.points]
    return {
        "scores": [each.score for each in result],
        "classes": [each.index for each in result],
        "boxes": [list(each.rotated_box if task == "obb" else each.box) for each in result],
        "keypoints": [pose.tolist() for pose in poses],
        "masks": [(each.mask, each.origin) for each in result] if task == "segment" else [],
    }


def unpack_mask(mask: dict[str, Any]) -> tuple[Mask, tuple[int, int]]:
    """bool[h,w] and x, y of its first pixel, of zlib's compression of its bits in base 64."""
    height, width = mask["shape"]
    packed = np.frombuffer(zlib.decompress(base64.b64decode(mask["bits"])), np.uint8)
    bits = np.unpackbits(packed, count=height * width)
    return bits.reshape(height, width).view(bool), tuple(mask["origin"])


def judge(
    what: str, task: str, theirs: Sequence[Any], ours: Sequence[Any], threshold: float
) -> Row:
    """The worst of each figure over all pairs, and how many objects have no partner.

    Args:
        what: Name of the row.
        task: Of the results.
        theirs: The reference's, of every picture.
        ours: Likewise.
        threshold: What a score has to pass.
    """
    overlaps, scores, pixels, degrees, masks = [1.0], [0.0], [0.0], [0.0], [1.0]
    alone = objects = counted = 0
    for their, our in zip(theirs, ours, strict=True):
        if len(their["scores"]) < LEAST:
            continue
        counted += 1
        objects += len(their["scores"])
        pairs = partners(task, their, our)
        matched = [{i for i, _, _ in pairs}, {j for _, j, _ in pairs}]
        for found, taken in zip((their, our), matched, strict=True):
            sure = [
                i
                for i, (score, box) in enumerate(zip(found["scores"], found["boxes"], strict=True))
                if score > threshold + GOAL_SCORE and has_area(task, box)
            ]
            alone += len(set(sure) - taken)
        for i, j, overlap in pairs:
            overlaps.append(overlap)
            scores.append(abs(their["scores"][i] - our["scores"][j]))
            if their["keypoints"]:
                one, other = np.array(their["keypoints"][i]), np.array(our["keypoints"][j])
                pixels.append(float(np.hypot(*(one - other)[:, :2].T).max()))
                scores.append(float(np.abs(one - other)[:, 2:].max(initial=0.0)))
            if task == "obb":
                degrees.append(angle_between(their["boxes"][i], our["boxes"][j]))
            if task == "segment":
                box = our["boxes"][j]
                if has_area(task, box):
                    pair = unpack_mask(their["masks"][i]), our["masks"][j]
                    masks.append(overlap_of_masks(*inner(*pair[0], box), *inner(*pair[1], box)))
    return {
        "what": what,
        "pictures": counted,
        "objects": objects,
        "alone": alone,
        "iou": min(overlaps),
        "score": max(scores),
        "pixels": max(pixels),
        "degrees": max(degrees),
        "mask": min(masks),
    }


def has_area(task: str, box: Sequence[float]) -> bool:
    """Whether it is a box at all; of a mask, whether it has a pixel that both programs take."""
    if task == "obb":
        return True
    left, top, right, bottom = whole_pixels(box)
    return is_box(Box._make(box)) and (task != "segment" or (left < right and top < bottom))


def whole_pixels(box: Sequence[float]) -> tuple[int, int, int, int]:
    """The pixels of which both the corner and the center are in a box."""
    left, top = (math.ceil(value) for value in box[:2])
    right, bottom = (math.ceil(value - 0.5) for value in box[2:])
    return left, top, right, bottom


def inner(
    mask: Mask, origin: tuple[int, int], box: Sequence[float]
) -> tuple[Mask, tuple[int, int]]:
    """The part of a mask at the whole pixels of a box, and x, y of its first pixel."""
    left, top, right, bottom = whole_pixels(box)
    x, y = max(left - origin[0], 0), max(top - origin[1], 0)
    part = mask[y : max(bottom - origin[1], y), x : max(right - origin[0], x)]
    return part, (origin[0] + x, origin[1] + y)


def partners(task: str, their: Any, our: Any) -> list[tuple[int, int, float]]:
    """Pairs of one class, the largest overlap first, each object once."""
    overlap = overlap_rotated if task == "obb" else overlap_upright
    pairs = sorted(
        (
            (overlap(one, other), i, j)
            for i, one in enumerate(their["boxes"])
            for j, other in enumerate(our["boxes"])
            if their["classes"][i] == our["classes"][j]
        ),
        reverse=True,
    )
    result: list[tuple[int, int, float]] = []
    taken: tuple[set[int], set[int]] = (set(), set())
    for value, i, j in pairs:
        if value >= PARTNER and i not in taken[0] and j not in taken[1]:
            result.append((i, j, value))
            taken[0].add(i)
            taken[1].add(j)
    return result


def overlap_of_masks(
    one: Mask, origin: tuple[int, int], other: Mask, other_origin: tuple[int, int]
) -> float:
    """IoU of two masks; 1 where both are empty."""
    if not one.any() and not other.any():
        return 1.0
    return mask_iou(one, origin, other, other_origin)


def overlap_upright(one: Sequence[float], other: Sequence[float]) -> float:
    """IoU of two boxes by their corners."""
    return iou(Box._make(one), Box._make(other))


def overlap_rotated(one: Sequence[float], other: Sequence[float]) -> float:
    """IoU of two rotated boxes."""
    return rotated_iou(RotatedBox._make(one), RotatedBox._make(other))


def angle_between(one: Sequence[float], other: Sequence[float]) -> float:
    """Degrees; a box turned by a quarter is the same with its sides exchanged."""
    square = math.isclose(other[2], other[3], rel_tol=0.02)
    swapped = (one[2] < one[3]) != (other[2] < other[3])
    turn = math.pi / 2 if square else math.pi
    difference = one[4] - other[4] + (math.pi / 2 if swapped and not square else 0.0)
    return math.degrees(abs((difference + turn / 2) % turn - turn / 2))


def reached(row: Row) -> bool:
    """Whether every object has its partner, near enough in every way."""
    return bool(
        row["pictures"] >= LEAST_PICTURES
        and not row["alone"]
        and row["iou"] >= GOAL_IOU
        and row["score"] <= GOAL_SCORE
        and row["pixels"] <= GOAL_PIXELS
        and row["degrees"] <= GOAL_DEGREES
        and row["mask"] >= GOAL_MASK
    )
