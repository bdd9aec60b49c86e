"""Average precision of boxes, masks and key points, number by number as pycocotools has it."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgecnn_runtime.evaluation.dataset import LabeledImage, LabeledObject
from edgecnn_runtime.evaluation.overlaps import box_overlaps, mask_overlaps, point_similarities
from edgecnn_runtime.evaluation.ranking import THRESHOLDS, Measure, rank_classes
from edgecnn_runtime.masks import run_lengths
from edgecnn_runtime.run_length import RunLengths, from_lengths
from edgecnn_runtime.types import Box

SIDE = 24
"""Of every picture, in pixels."""
POINTS = 17
SCORES = st.sampled_from([0.2, 0.5, 0.5000001, 0.9])
COORDINATES = st.integers(0, 16)
LENGTHS = st.integers(1, 8)


@dataclass(frozen=True)
class Found:
    """A detection as all measures need it."""

    index: int
    score: float
    box: Box
    points: Any
    mask: RunLengths


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x, y, w, h = draw(COORDINATES), draw(COORDINATES), draw(LENGTHS), draw(LENGTHS)
    return Box(x, y, x + w, y + h)


@st.composite
def masks(draw: st.DrawFn, box: Box) -> RunLengths:
    """Inside the box, as an instance's; ragged in half of the cases."""
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[int(box.y1) : int(box.y2), int(box.x1) : int(box.x2)] = True
    if draw(st.booleans()):
        mask &= np.random.default_rng(draw(st.integers(0, 9))).random(mask.shape) < 0.8
    return from_lengths(run_lengths(mask, (0, 0), SIDE, SIDE), SIDE, SIDE)


@st.composite
def points(draw: st.DrawFn, box: Box, spread: float) -> np.ndarray:
    random = np.random.default_rng(draw(st.integers(0, 99)))
    center = np.array([(box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2])
    shape = np.linspace(-1, 1, POINTS)[:, None] * [box.x2 - box.x1, box.y2 - box.y1]
    return center + shape / 2 + random.normal(0, spread, (POINTS, 2))


@st.composite
def labeled_objects(draw: st.DrawFn) -> LabeledObject:
    box, crowd = draw(boxes()), draw(st.integers(0, 4)) == 0
    visible = draw(st.sampled_from([[0], [2], [0, 1, 2]]))
    flags = [visible[at % len(visible)] for at in range(POINTS)]
    places = draw(points(box, 0.0)).tolist()
    return LabeledObject(
        draw(st.integers(0, 1)),
        box,
        points=tuple((x, y, v) for (x, y), v in zip(places, flags, strict=True)),
        mask=draw(masks(box)),
        area=draw(st.sampled_from([0.5, 1.0])) * (box.x2 - box.x1) * (box.y2 - box.y1),
        crowd=crowd,
    )


@st.composite
def detections(draw: st.DrawFn, objects: Sequence[LabeledObject]) -> Found:
    """Around a labeled object in most cases."""
    near = draw(st.sampled_from([*objects, None]))
    box = near.box if near and draw(st.booleans()) else draw(boxes())
    spread = draw(st.sampled_from([0.0, 0.3, 1.0]))
    index = near.index if near else draw(st.integers(0, 1))
    return Found(index, draw(SCORES), box, draw(points(box, spread)), draw(masks(box)))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[LabeledImage], list[list[Found]]]:
    samples, results = [], []
    for number in range(draw(st.integers(1, 4))):
        objects = draw(st.lists(labeled_objects(), max_size=5))
        samples.append(LabeledImage(Path(f"{number}.png"), objects=tuple(objects)))
        results.append(draw(st.lists(detections(objects), max_size=7)))
    return samples, results


def coco_box(box: Box) -> list[float]:
    return [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1]


def rle(mask: RunLengths | None) -> dict[str, Any]:
    assert mask
    return {"size": [mask.height, mask.width], "counts": mask.counts.decode()}


def truth_of(samples: Sequence[LabeledImage]) -> COCO:
    annotations = [
        {
            "image_id": image,
            "category_id": labeled.index + 1,
            "bbox": coco_box(labeled.box),
            "area": labeled.area,
            "iscrowd": int(labeled.crowd),
            "segmentation": rle(labeled.mask),
            "keypoints": np.ravel(labeled.points).tolist(),
            "num_keypoints": sum(v > 0 for _, _, v in labeled.points),
        }
        for image, sample in enumerate(samples, 1)
        for labeled in sample.objects
    ]
    truth = COCO()
    truth.dataset = {
        "images": [
            {"id": n, "width": SIDE, "height": SIDE} for n in range(1, len(samples) + 1)
        ],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "annotations": [{"id": n, **each} for n, each in enumerate(annotations, 1)],
    }  # fmt: skip
    truth.createIndex()
    return truth


def record(image: int, found: Found, kind: str) -> dict[str, Any]:
    content: dict[str, Any] = {
        "bbox": {"bbox": coco_box(found.box)},
        "segm": {"segmentation": rle(found.mask)},
        "keypoints": {"keypoints": np.c_[found.points, np.ones(POINTS)].ravel().tolist()},
    }[kind]
    return {"image_id": image, "category_id": found.index + 1, "score": found.score, **content}


def theirs(
    samples: Sequence[LabeledImage], results: Sequence[Sequence[Found]], kind: str, limit: int
) -> np.ndarray:
    """float64[T,2], AP by threshold and class; -1 where there is nothing to find."""
    records = [record(n, each, kind) for n, row in enumerate(results, 1) for each in row]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = truth_of(samples)
        found = truth.loadRes(records) if records else truth_of([])
        evaluation = COCOeval(truth, found, kind)
        evaluation.params.maxDets = [limit]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 0]
    return np.asarray(precision.mean(axis=1))


MEASURES = {
    "bbox": lambda found, objects: box_overlaps([each.box for each in found], objects),
    "segm": lambda found, objects: mask_overlaps([each.mask.lengths() for each in found], objects),
    "keypoints": lambda found, objects: point_similarities(
        [each.points for each in found], objects
    ),
}


@pytest.mark.parametrize("kind", MEASURES)
@pytest.mark.parametrize("limit", [2, 100])
@settings(max_examples=60)
@given(world=worlds())
def test_average_precision_equals_cocos_own(
    world: tuple[list[LabeledImage], list[list[Found]]], kind: str, limit: int
) -> None:
    samples, results = world

    if kind != "keypoints":
        samples = [
            replace(each, objects=tuple(replace(labeled, points=()) for labeled in each.objects))
            for each in samples
        ]
    measure = Measure("mAP", MEASURES[kind], strict=True, limit=limit)
    rankings = rank_classes(samples, results, measure)
    expected = theirs(samples, results, kind, limit)
    for index in (0, 1):
        if index in rankings:
            ours = rankings[index].average_precisions(np.ones(len(samples)), len(THRESHOLDS))
            assert ours == pytest.approx(expected[:, index], abs=1e-9)
        else:
            assert (expected[:, index] == -1).all()
