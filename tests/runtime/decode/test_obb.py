"""Rotated boxes, against plain code that follows the layout and the formula number by number."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn_runtime.bundle import manifest as m
from edgecnn_runtime.errors import BundleError
from edgecnn_runtime.geometry import corners_of
from edgecnn_runtime.preprocess import (
    Preprocessor,
    Warp,
    compute_geometry,
    cut_warp,
    identity_geometry,
)
from edgecnn_runtime.stages.crop import CROPS, evidence
from edgecnn_runtime.tasks import TASKS, make_decoder
from edgecnn_runtime.tasks.obb import rotated_iou
from edgecnn_runtime.types import RotatedBox, RotatedDetection

WIDTH, HEIGHT = 128, 96
LABELS = ("ship", "plane", "car")
HOSTILE = np.float32([np.nan, np.inf, -np.inf, 3e38, -3e38, 0])
SEEDS = st.integers(0, 2**32 - 1)


def obb_model(build, layout="v8", count=40, size=(WIDTH, HEIGHT), **fields):
    shape = (None, 5 + len(LABELS), count) if layout == "v8" else (None, count, 7)
    spec = m.Obb(output="out", layout=layout, classes=len(LABELS), **fields)
    return build.spec(
        spec, {"out": shape}, task="obb", labels=list(LABELS), size=build.input(*size)
    )


def objects(rng, count=40):
    """Boxes float[K,5] in a few crowds, scores that differ, and classes."""
    crowds = rng.uniform((10, 10, 8, 4, -0.78), (110, 80, 40, 20, 2.3), (max(1, count // 5), 5))
    boxes = crowds[rng.integers(0, len(crowds), count)] + rng.normal(0, 1, (count, 5)) * (
        1.5, 1.5, 1, 0.5, 0.05
    )  # fmt: skip
    boxes[:, 2:4] = np.abs(boxes[:, 2:4]) + 1
    scores = rng.permutation(np.linspace(0.02, 0.98, count))
    return boxes.astype(np.float32), scores.astype(np.float32), rng.integers(0, 3, count)


def table(layout, boxes, scores, kinds):
    if layout == "nms":
        return np.hstack([boxes[:, :4], scores[:, None], kinds[:, None], boxes[:, 4:]])
    chances = np.zeros((len(boxes), 3), np.float32)
    chances[np.arange(len(boxes)), kinds] = scores
    return np.hstack([boxes[:, :4], chances, boxes[:, 4:]]).T


def decode(model, rows, geometry=None):
    geometry = geometry or identity_geometry(model.input)
    return make_decoder(model).decode({"out": rows[None].astype(np.float32)}, 0, geometry)


def plain_probiou(one, other):
    """Term by term, as the authors write it."""

    def gaussian(box):
        _, _, w, h, angle = map(float, box)
        cos, sin = math.cos(angle), math.sin(angle)
        a, b = w * w / 12, h * h / 12
        return a * cos**2 + b * sin**2, a * sin**2 + b * cos**2, (a - b) * cos * sin

    (a1, b1, c1), (a2, b2, c2) = gaussian(one), gaussian(other)
    x, y = float(one[0]) - float(other[0]), float(one[1]) - float(other[1])
    joint = (a1 + a2) * (b1 + b2) - (c1 + c2) ** 2
    t1 = ((a1 + a2) * y * y + (b1 + b2) * x * x) / (joint + 1e-7) / 4
    t2 = (c1 + c2) * -x * y / (joint + 1e-7) / 2
    own = math.sqrt(max(0, a1 * b1 - c1**2) * max(0, a2 * b2 - c2**2))
    t3 = math.log(joint / (4 * own + 1e-7) + 1e-7) / 2
    return 1 - math.sqrt(1 - math.exp(-min(max(t1 + t2 + t3, 1e-7), 100)) + 1e-7)


@given(seed=SEEDS, iou=st.floats(0.05, 0.95), score=st.floats(0.05, 0.9), agnostic=st.booleans(),
       limit=st.integers(1, 50))  # fmt: skip
def test_raw_boxes(build, seed, iou, score, agnostic, limit):
    boxes, scores, kinds = objects(np.random.default_rng(seed))
    model = obb_model(build, iou=iou, score=score, max_detections=limit, class_agnostic=agnostic)
    order = [i for i in np.argsort(-scores) if scores[i] > np.float32(score)]
    expected = []
    for place, i in enumerate(order):
        better = [j for j in order[:place] if agnostic or kinds[j] == kinds[i]]
        if not any(plain_probiou(boxes[j], boxes[i]) > iou for j in better):
            expected.append(i)
    expected = expected[:limit]
    found = decode(model, table("v8", boxes, scores, kinds))
    assert [each.score for each in found] == pytest.approx(scores[expected].tolist())
    assert [each.label for each in found] == [LABELS[kinds[i]] for i in expected]
    for each, i in zip(found, expected, strict=True):
        same_rectangle(each.rotated_box, boxes[i])


@given(seed=SEEDS, score=st.floats(0.05, 0.9))
def test_boxes_with_suppression_inside(build, seed, score):
    boxes, scores, kinds = objects(np.random.default_rng(seed))
    model = obb_model(build, "nms", score=score)
    found = decode(model, table("nms", boxes, scores, kinds))
    best = [i for i in np.argsort(-scores) if scores[i] > np.float32(score)]
    assert [each.index for each in found] == kinds[best].tolist()
    for each, i in zip(found, best, strict=True):
        same_rectangle(each.rotated_box, boxes[i])


def same_rectangle(box, expected):
    assert box.width >= box.height
    assert -math.pi / 2 <= box.angle < math.pi / 2
    there = corners_of(RotatedBox(*map(float, expected)))
    for corner in corners_of(box):
        assert min(math.dist(corner, other) for other in there) < 0.02


@given(seed=SEEDS, width=st.integers(20, 500), height=st.integers(20, 500))
def test_boxes_are_those_of_the_frame(build, seed, width, height):
    """The letterbox scales both axes alike, but for whole pixels."""
    boxes, scores, kinds = objects(np.random.default_rng(seed), 10)
    model = obb_model(build, "nms", 10, score=0.01)
    geometry = compute_geometry(model.input, width, height)
    found = decode(model, table("nms", boxes, scores, kinds), geometry)
    for each, i in zip(found, np.argsort(-scores), strict=True):
        x, y, w, h, _ = map(float, boxes[i])
        box, gain = each.rotated_box, geometry.gain
        assert (box.x, box.y) == pytest.approx(
            (x * gain[0] + geometry.shift[0], y * gain[1] + geometry.shift[1]), abs=0.01
        )
        ratio = max(gain[0] / gain[1], gain[1] / gain[0]) * 1.001
        area = w * h * gain[0] * gain[1]
        assert area / ratio**2 <= box.width * box.height <= area * ratio**2


def test_a_turned_region_turns_its_boxes(build):
    model = obb_model(build, "nms", 1)
    turn = math.radians(30)
    matrix = np.array(
        [[math.cos(turn), -math.sin(turn), 200.0], [math.sin(turn), math.cos(turn), 100.0],
         [0, 0, 1]]
    )  # fmt: skip
    pixels = np.zeros((1, HEIGHT, WIDTH, 3), np.uint8)
    geometry = Preprocessor(model.input, pixels).load_frame(
        np.zeros((400, 400, 3), np.uint8), 0, Warp(WIDTH, HEIGHT, matrix)
    )
    (found,) = decode(model, np.float32([[60, 40, 30, 10, 0.9, 0, 0.2]]), geometry)
    assert found.rotated_box.angle == pytest.approx(0.2 + turn, abs=1e-4)
    assert (found.rotated_box.width, found.rotated_box.height) == pytest.approx((30, 10), abs=1e-3)


@given(seed=SEEDS, layout=st.sampled_from(["v8", "nms"]), share=st.floats(0, 1))
def test_boxes_are_finite_whatever_the_output(build, seed, layout, share):
    rng = np.random.default_rng(seed)
    model = obb_model(build, layout)
    rows = table(layout, *objects(rng)).astype(np.float32)
    wild = rng.random(rows.shape) < share
    rows[wild] = rng.choice(HOSTILE, int(wild.sum()))
    for found in decode(model, rows):
        assert np.isfinite(found.rotated_box).all()
        assert found.rotated_box.width >= found.rotated_box.height > 0
        assert 0 < found.score <= 1


@pytest.mark.parametrize("layout", ["v8", "nms"])
def test_2000_boxes_are_cut_to_the_best(build, layout):
    count = 2000
    model = obb_model(build, layout, count, size=(1600, 1600))
    x, y = np.divmod(np.arange(count), 45)
    boxes = np.stack([x * 32 + 16, y * 32 + 16, np.full(count, 20), np.full(count, 8),
                      np.linspace(-0.7, 2.3, count)], 1)  # fmt: skip
    scores = np.linspace(0.3, 0.9, count).astype(np.float32)
    found = decode(model, table(layout, boxes, scores, np.zeros(count, int)))
    assert len(found) == 300
    assert found[0].score == pytest.approx(0.9)


def test_20000_boxes_in_one_place_are_one(build):
    model = obb_model(build, "v8", 20_000)
    boxes = np.tile(np.float32([60, 40, 30, 10, 0.4]), (20_000, 1))
    scores = np.linspace(0.3, 0.9, 20_000).astype(np.float32)
    assert len(decode(model, table("v8", boxes, scores, np.zeros(20_000, int)))) == 1


def test_a_head_that_does_not_fit_is_refused(build):
    spec = obb_model(build).decode
    with pytest.raises(BundleError, match="needs"):
        make_decoder(build.spec(spec, {"out": (None, 7, 40)}, task="obb", labels=list(LABELS)))


BOXES = st.builds(
    RotatedBox, st.floats(0, 100), st.floats(0, 100), st.floats(10, 60), st.floats(10, 60),
    st.floats(-1.57, 1.57),
)  # fmt: skip


@settings(max_examples=40)
@given(one=BOXES, other=BOXES)
def test_the_overlap_of_rotated_boxes(one, other):
    """Against a count of points on a fine grid."""
    y, x = np.mgrid[-50:150:0.25, -50:150:0.25] + 0.125

    def inside(box):
        u = (x - box.x) * math.cos(box.angle) + (y - box.y) * math.sin(box.angle)
        v = -(x - box.x) * math.sin(box.angle) + (y - box.y) * math.cos(box.angle)
        return (abs(u) <= box.width / 2) & (abs(v) <= box.height / 2)

    both, either = (inside(one) & inside(other)).sum(), (inside(one) | inside(other)).sum()
    assert rotated_iou(one, other) == pytest.approx(both / max(1, either), abs=0.06)
    assert rotated_iou(one, one) == pytest.approx(1.0, abs=1e-3)


def test_a_crop_of_a_rotated_box_is_upright():
    """A white bar with a black left end, turned by 70 degrees."""
    frame = np.full((300, 300, 3), 90, np.uint8)
    box = RotatedBox(150.0, 140.0, 100.0, 30.0, math.radians(70))
    assert (cut_warp(frame, Warp(300, 300, np.eye(3))) == frame).all()
    y, x = np.mgrid[:300, :300] + 0.5
    along = (x - box.x) * math.cos(box.angle) + (y - box.y) * math.sin(box.angle)
    across = -(x - box.x) * math.sin(box.angle) + (y - box.y) * math.cos(box.angle)
    bar = (abs(along) < 50) & (abs(across) < 15)
    frame[bar], frame[bar & (along < 0)] = 255, 0
    (found,) = TASKS["obb"].detections([RotatedDetection(box, 0.9, "bar", 0)])
    region = CROPS["box"].cut(found, 300, 300, 0.0)
    picture = cut_warp(frame, region)
    assert picture.shape == (30, 100, 3)
    assert picture[5:25, 5:45].max() < 20
    assert picture[5:25, 55:95].min() > 235
    around = evidence(frame, found.box, found.corners)
    assert around.shape[1] > around.shape[0] > 30
    assert around[2, 2].tolist() == [90, 90, 90]


def test_nothing_the_size_of_a_head_is_allocated(build):
    """A head at 640x384 holds 0.4 MB; 20 objects with 8 cells each are a share of it."""
    model = obb_model(build, count=5040, size=(640, 384))
    head = np.zeros((1, 8, 5040), np.float32)
    spots = np.arange(160) * 30
    head[0, :2, spots] = np.stack([np.arange(160) // 8 * 30 + 20, np.full(160, 100)], 1)
    head[0, 2:4, spots] = 20, 8
    head[0, 4, spots] = np.linspace(0.3, 0.9, 160)
    decoder, geometry = make_decoder(model), identity_geometry(model.input)
    assert len(decoder.decode({"out": head}, 0, geometry)) == 20
    tracemalloc.start()
    decoder.decode({"out": head}, 0, geometry)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 250_000
