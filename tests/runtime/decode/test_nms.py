"""Detectors against plain decoders that follow the papers one box at a time."""

import math
import tracemalloc
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn_runtime.bundle import manifest as m
from edgecnn_runtime.errors import BundleError
from edgecnn_runtime.preprocess import identity_geometry
from edgecnn_runtime.tasks import make_decoder
from edgecnn_runtime.types import Detection

WIDTH, HEIGHT = 64, 48
SEEDS = st.integers(0, 2**32 - 1)
HOSTILE = np.float32([np.nan, np.inf, -np.inf, 1e38, -1e38, 1e-45, 0.0])


def decode(model, outputs, item=0):
    return make_decoder(model).decode(outputs, item, identity_geometry(model.input))


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / union if union > 0 else 0.0


def suppressed(candidates, iou, *, agnostic):
    """Greedy, best first; candidates are (box, score, class, points) in input pixels."""
    kept = []
    for candidate in sorted(candidates, key=lambda c: -c[1]):
        box, _, kind, _ = candidate
        rivals = [k for k in kept if agnostic or k[2] == kind]
        if all(overlap(box, rival[0]) <= iou for rival in rivals):
            kept.append(candidate)
    return kept


def same(found, expected, *, labels=(), height=HEIGHT):
    """Detections equal the reference's, whose boxes are cut at the frame here."""
    shown = []
    for box, score, kind, points in expected:
        x1, y1, x2, y2 = box
        cut = (max(x1, 0), max(y1, 0), min(x2, WIDTH), min(y2, height))
        if cut[2] > cut[0] and cut[3] > cut[1]:
            shown.append((cut, score, kind, points))
    assert len(found) == len(shown)
    for have, (box, score, kind, points) in zip(found, shown, strict=True):
        assert isinstance(have, Detection)
        assert tuple(have.box) == pytest.approx(box, abs=2e-2, rel=1e-3)
        assert have.score == pytest.approx(score, abs=1e-4)
        assert have.index == kind
        assert have.label == (labels[kind] if kind < len(labels) else str(kind))
        assert len(have.points) == len(points)
        for mark, wanted in zip(have.points, points, strict=True):
            assert mark == pytest.approx(wanted, abs=2e-2, rel=1e-3)


def distinct_scores(rng, *shape):
    """Scores without ties: which of two equals wins is nobody's business."""
    count = int(np.prod(shape))
    return (rng.permutation(count).reshape(shape) + 0.5).astype(np.float32) / count


# --- YOLO -------------------------------------------------------------------------------------

LABELS = ("ant", "bee", "cat")


def yolo(build, layout, anchors, **fields):
    spec = m.Yolo(output="out", layout=layout, **({"classes": 3} | fields))
    extra = spec.points * spec.point_dims
    shape = {
        "v5": (None, anchors, 5 + spec.classes + extra),
        "v8": (None, 4 + spec.classes + extra, anchors),
        "v5-face": (None, anchors, 5 + extra + spec.classes),
        "nms": (None, anchors, 6 + extra),
        "yolox": (None, anchors, 5 + spec.classes),
    }[layout]
    return build.spec(spec, {"out": shape}, size=build.input(WIDTH, HEIGHT), labels=LABELS)


def plain_yolo(spec, rows, raw_to_score):
    """rows: one an anchor, cx cy w h, [objectness,] classes, points."""
    scale = (WIDTH, HEIGHT) if spec.normalized else (1, 1)
    start = 5 if spec.layout == "v5" else 4
    candidates = []
    for row in rows.tolist():
        chances = [raw_to_score(x) for x in row[start : start + spec.classes]]
        kind = chances.index(max(chances))
        score = chances[kind] * (raw_to_score(row[4]) if spec.layout == "v5" else 1)
        if not score > spec.score:
            continue
        cx, cy, w, h = (value * scale[i % 2] for i, value in enumerate(row[:4]))
        marks = row[start + spec.classes :]
        points = [
            (marks[i] * scale[0], marks[i + 1] * scale[1])
            for i in range(0, len(marks), spec.point_dims)
        ]
        candidates.append(((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), score, kind, points))
    kept = suppressed(candidates, spec.iou, agnostic=spec.class_agnostic)
    return kept[: spec.max_detections]


@given(
    seed=SEEDS,
    layout=st.sampled_from(("v5", "v8")),
    values=st.sampled_from(("probabilities", "logits")),
    points=st.integers(0, 2),
    dims=st.sampled_from((2, 3)),
    normalized=st.booleans(),
    agnostic=st.booleans(),
    score=st.floats(0.05, 0.9),
    limit=st.integers(1, 40),
)
def test_raw_yolo(build, seed, layout, values, points, dims, normalized, agnostic, score, limit):
    rng = np.random.default_rng(seed)
    model = yolo(
        build, layout, 40, values=values, points=points, point_dims=dims, normalized=normalized,
        class_agnostic=agnostic, score=score, max_detections=limit,
    )  # fmt: skip
    spec = model.decode
    rows = rng.uniform(0, 1, (40, 4 + 3 + points * dims)).astype(np.float32)
    rows[:, :4] *= (1, 1, 0.5, 0.5)
    if not normalized:
        rows[:, :4] *= (WIDTH, HEIGHT, WIDTH, HEIGHT)
    chances = distinct_scores(rng, 40, 3)
    if layout == "v5":
        objects = rng.uniform(0.2, 1, (40, 1)).astype(np.float32)
        rows = np.hstack((rows[:, :4], objects, chances, rows[:, 7:]))
    else:
        rows[:, 4:7] = chances
    start = 4
    if values == "logits":
        stop = start + (4 if layout == "v5" else 3)
        rows[:, start:stop] = np.log(rows[:, start:stop] / (1 - rows[:, start:stop] * 0.999))
    expected = plain_yolo(spec, rows, sigmoid if values == "logits" else float)
    head = rows.T if layout == "v8" else rows
    batch = np.stack((np.zeros_like(head), head)).astype(np.float32)
    same(decode(model, {"out": batch}, 1), expected, labels=LABELS)


@given(seed=SEEDS, points=st.integers(0, 2), normalized=st.booleans())
def test_yolo_with_suppression_inside(build, seed, points, normalized):
    rng = np.random.default_rng(seed)
    model = yolo(build, "nms", 12, points=points, normalized=normalized, score=0.4)
    rows = rng.uniform(0, 1, (12, 6 + 2 * points)).astype(np.float32)
    rows[:, 2:4] += rows[:, :2]
    rows[:, 4] = distinct_scores(rng, 12)
    rows[:, 5] = rng.integers(0, 4, 12)
    rows[3, 5] = -1  # how some graphs mark an empty row
    scale = np.array([WIDTH, HEIGHT]) if normalized else np.ones(2)
    expected = [
        (
            (row[:4] * np.tile(scale, 2)).tolist(),
            float(row[4]),
            int(row[5]),
            (row[6:].reshape(-1, 2) * scale).tolist(),
        )
        for row in sorted(rows, key=lambda row: -row[4])
        if row[4] > 0.4 and row[5] >= 0
    ]
    same(decode(model, {"out": rows[None]}), expected, labels=LABELS)


def test_overlapping_boxes_of_two_classes_both_stay_unless_class_agnostic(build):
    head = np.zeros((1, 7, 2), np.float32)
    head[0, :4] = np.float32([[20, 20, 10, 10], [21, 20, 10, 10]]).T
    head[0, 4, 0], head[0, 5, 1] = 0.9, 0.8
    both = decode(yolo(build, "v8", 2), {"out": head})
    assert [found.label for found in both] == ["ant", "bee"]
    best = decode(yolo(build, "v8", 2, class_agnostic=True), {"out": head})
    assert [found.label for found in best] == ["ant"]


def test_many_classes_stay_apart(build):
    """The classes' boxes are moved apart before suppression; none may be moved onto another."""
    count = 600
    model = yolo(build, "v8", count, classes=count, max_detections=1000)
    head = np.zeros((1, 4 + count, count), np.float32)
    head[0, :4] = np.float32([20, 20, 10, 10])[:, None]
    head[0, 4:][np.diag_indices(count)] = 0.5 + np.arange(count) / 2000
    assert len(decode(model, {"out": head})) == count


def test_one_wild_box_does_not_disturb_the_others(build):
    head = np.zeros((1, 7, 3), np.float32)
    head[0, :4] = np.float32([[20, 20, 10, 10], [21, 20, 10, 10], [1e30, 20, 1e30, 10]]).T
    head[0, 4] = 0.9, 0.8, 0.7
    found = decode(yolo(build, "v8", 3), {"out": head})
    assert tuple(found[0].box) == (15, 15, 25, 25)
    assert len(found) <= 2


@pytest.mark.parametrize(
    ("layout", "shape"), [("v5", (None, 40, 9)), ("v8", (None, 8, 40)), ("nms", (None, 40, 7))]
)
def test_yolo_with_misfitting_columns_is_refused(build, layout, shape):
    spec = m.Yolo(output="out", layout=layout, classes=3)
    with pytest.raises(BundleError, match="Yolo head needs"):
        make_decoder(build.spec(spec, {"out": shape}))


# --- SSD --------------------------------------------------------------------------------------


def ssd(build, classes=3, points=2, **fields):
    spec = m.Ssd(
        boxes="boxes", scores="scores", landmarks="marks" if points else "", points=points,
        strides=(16, 32), min_sizes=((8.0, 12.0), (20.0,)), aspect_ratios=(1.0, 2.0), **fields,
    )  # fmt: skip
    count = 4 * 3 * 4 + 2 * 2 * 2
    shapes = {"boxes": (None, count, 4), "scores": (None, count, classes)}
    if points:
        shapes["marks"] = (None, count, 2 * points)
    return build.spec(spec, shapes, size=build.input(WIDTH, HEIGHT), labels=LABELS), count


def plain_priors():
    for stride, edges in ((16, (8.0, 12.0)), (32, (20.0,))):
        for row in range(math.ceil(HEIGHT / stride)):
            for column in range(math.ceil(WIDTH / stride)):
                for edge in edges:
                    for ratio in (1.0, 2.0):
                        width, height = edge * math.sqrt(ratio), edge / math.sqrt(ratio)
                        yield (column + 0.5) * stride, (row + 0.5) * stride, width, height


@given(
    seed=SEEDS,
    values=st.sampled_from(("probabilities", "logits")),
    classes=st.integers(2, 4),
    points=st.integers(0, 2),
    score=st.floats(0.1, 0.8),
)
def test_ssd(build, seed, values, classes, points, score):
    rng = np.random.default_rng(seed)
    model, count = ssd(build, classes, points, values=values, score=score)
    boxes = rng.normal(0, 1.5, (count, 4)).astype(np.float32)
    marks = rng.normal(0, 3, (count, 2 * points)).astype(np.float32)
    logits = rng.normal(0, 2, (count, classes)).astype(np.float32)
    chances = np.array([np.exp(row) / np.exp(row).sum() for row in logits.astype(np.float64)])
    candidates = []
    for (cx, cy, w, h), box, mark, row in zip(
        plain_priors(), boxes.tolist(), marks.tolist(), chances.tolist(), strict=True
    ):
        x, y = cx + box[0] * 0.1 * w, cy + box[1] * 0.1 * h
        half_w, half_h = w * math.exp(box[2] * 0.2) / 2, h * math.exp(box[3] * 0.2) / 2
        corners = (x - half_w, y - half_h, x + half_w, y + half_h)
        spots = [
            (cx + mark[i] * 0.1 * w, cy + mark[i + 1] * 0.1 * h) for i in range(0, len(mark), 2)
        ]
        candidates += [
            (corners, chance, kind, spots) for kind, chance in enumerate(row[1:]) if chance > score
        ]
    outputs = {"boxes": boxes[None], "marks": marks[None]}
    outputs["scores"] = (logits if values == "logits" else chances.astype(np.float32))[None]
    expected = suppressed(candidates, 0.4, agnostic=False)
    same(decode(model, outputs), expected, labels=LABELS)


@given(
    seed=SEEDS,
    values=st.sampled_from(("probabilities", "logits")),
    classes=st.integers(1, 4),
    points=st.integers(0, 2),
    normalized=st.booleans(),
    background=st.booleans(),
)
def test_ssd_that_is_decoded(build, seed, values, classes, points, normalized, background):
    rng = np.random.default_rng(seed)
    columns, count = classes + background, 20
    shapes = {"boxes": (None, count, 4), "scores": (None, count, columns)}
    if points:
        shapes["marks"] = (None, count, 2 * points)
    spec = m.Ssd(
        boxes="boxes", scores="scores", landmarks="marks" if points else "", points=points,
        decoded=True, normalized=normalized, background=background, values=values, score=0.3,
    )  # fmt: skip
    model = build.spec(spec, shapes, size=build.input(WIDTH, HEIGHT), labels=LABELS)
    corners = rng.uniform(0, 30, (count, 4)).astype(np.float32)
    corners[:, 2:] += corners[:, :2] + 1
    marks = rng.uniform(0, 48, (count, points, 2)).astype(np.float32)
    logits = rng.normal(0, 2, (count, columns)).astype(np.float32)
    if background:
        chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    else:
        chances = 1 / (1 + np.exp(-logits))
    candidates = []
    for box, mark, row in zip(corners.tolist(), marks.tolist(), chances.tolist(), strict=True):
        candidates += [
            (tuple(box), chance, kind, mark)
            for kind, chance in enumerate(row[background:])
            if chance > 0.3
        ]
    unit = np.float32([WIDTH, HEIGHT]) if normalized else np.float32([1, 1])
    outputs = {
        "boxes": (corners / np.tile(unit, 2))[None],
        "marks": (marks / unit).reshape(1, count, -1),
        "scores": (logits if values == "logits" else chances.astype(np.float32))[None],
    }
    expected = suppressed(candidates, 0.4, agnostic=False)
    same(decode(model, outputs), expected, labels=LABELS)


def test_ssd_without_priors_has_to_be_decoded(build):
    spec = m.Ssd(boxes="boxes", scores="scores")
    with pytest.raises(BundleError, match="needs strides"):
        make_decoder(build.spec(spec, {"boxes": (None, 9, 4), "scores": (None, 9, 3)}))


def test_ssd_with_other_priors_is_refused(build):
    model, count = ssd(build)
    with pytest.raises(BundleError, match=rf"needs \[{count}, 4\]"):
        make_decoder(
            build.spec(
                model.decode,
                {"boxes": (None, 9, 4), "scores": (None, 9, 3), "marks": (None, 9, 4)},
                size=model.input,
            )
        )


# --- anchor-free ------------------------------------------------------------------------------


@given(seed=SEEDS, score=st.floats(0.2, 0.9))
def test_yunet(build, seed, score):
    """FaceDetectorYN::postProcess, one cell at a time."""
    rng = np.random.default_rng(seed)
    model = build.yunet_manifest(WIDTH, 32, decode={"score": score}).model
    width, height = model.input.width, model.input.height
    outputs, candidates = {}, []
    for stride in (8, 16, 32):
        columns, rows = width // stride, height // stride
        cells = columns * rows
        cls = rng.uniform(-0.2, 1.2, (1, cells, 1)).astype(np.float32)
        obj = distinct_scores(rng, 1, cells, 1)
        bbox = rng.normal(0, 0.7, (1, cells, 4)).astype(np.float32)
        kps = rng.normal(0, 1, (1, cells, 10)).astype(np.float32)
        outputs |= {
            f"cls_{stride}": cls, f"obj_{stride}": obj, f"bbox_{stride}": bbox,
            f"kps_{stride}": kps,
        }  # fmt: skip
        for row in range(rows):
            for column in range(columns):
                i = row * columns + column
                a, b = (min(max(float(x[0, i, 0]), 0), 1) for x in (cls, obj))
                if not math.sqrt(a * b) > score:
                    continue
                dx, dy, dw, dh = bbox[0, i].tolist()
                cx, cy = (column + dx) * stride, (row + dy) * stride
                w, h = math.exp(dw) * stride, math.exp(dh) * stride
                marks = kps[0, i].tolist()
                points = [
                    ((marks[k] + column) * stride, (marks[k + 1] + row) * stride)
                    for k in range(0, 10, 2)
                ]
                box = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
                candidates.append((box, math.sqrt(a * b), 0, points))
    expected = suppressed(candidates, 0.3, agnostic=True)
    same(decode(model, outputs), expected, labels=("face",), height=height)


def centerface(build, points=5):
    rows, columns = HEIGHT // 4, WIDTH // 4
    channels = {"heatmap": 1, "scale": 2, "offset": 2, "landmarks": 2 * points}
    spec = m.AnchorFree(
        variant="centerface", outputs={role: f"out.{role}" for role in channels}, strides=(4,),
        points=points, score=0.5,
    )  # fmt: skip
    shapes = {f"out.{role}": (None, count, rows, columns) for role, count in channels.items()}
    return build.spec(spec, shapes, size=build.input(WIDTH, HEIGHT), labels=("face",))


@given(seed=SEEDS)
def test_centerface(build, seed):
    rng = np.random.default_rng(seed)
    rows, columns = HEIGHT // 4, WIDTH // 4
    heat = distinct_scores(rng, 1, 1, rows, columns)
    scale = rng.normal(1, 0.5, (1, 2, rows, columns)).astype(np.float32)
    offset = rng.uniform(-0.5, 0.5, (1, 2, rows, columns)).astype(np.float32)
    marks = rng.uniform(0, 1, (1, 10, rows, columns)).astype(np.float32)
    candidates = []
    for row, column in zip(*np.nonzero(heat[0, 0] > 0.5), strict=True):
        h, w = (math.exp(v) * 4 for v in scale[0, :, row, column].tolist())
        dy, dx = offset[0, :, row, column].tolist()
        x1, y1 = (column + dx + 0.5) * 4 - w / 2, (row + dy + 0.5) * 4 - h / 2
        mark = marks[0, :, row, column].tolist()
        points = [(mark[2 * k + 1] * w + x1, mark[2 * k] * h + y1) for k in range(5)]
        candidates.append(((x1, y1, x1 + w, y1 + h), float(heat[0, 0, row, column]), 0, points))
    outputs = {
        "out.heatmap": heat, "out.scale": scale, "out.offset": offset, "out.landmarks": marks
    }  # fmt: skip
    expected = suppressed(candidates, 0.3, agnostic=True)
    same(decode(centerface(build), outputs), expected, labels=("face",))


def test_missing_roles_are_named(build):
    spec = m.AnchorFree(variant="yunet", outputs={"cls_8": "a"}, strides=(8,))
    with pytest.raises(BundleError, match="names no obj_8, bbox_8, kps_8"):
        make_decoder(build.spec(spec, {"a": (None, 48, 1)}))


@given(seed=SEEDS, anchors=st.integers(1, 3), points=st.sampled_from((0, 5)))
def test_scrfd(build, seed, anchors, points):
    """SCRFD.forward of InsightFace, one anchor at a time."""
    rng = np.random.default_rng(seed)
    model = scrfd(build, anchors, points)
    outputs, candidates = {}, []
    for stride in (8, 16, 32):
        columns, rows = WIDTH // stride, 64 // stride
        cells = columns * rows * anchors
        score = distinct_scores(rng, 1, cells, 1)
        bbox = rng.uniform(-0.1, 2, (1, cells, 4)).astype(np.float32)
        kps = rng.normal(0, 1, (1, cells, 2 * points)).astype(np.float32)
        outputs |= {f"score_{stride}": score, f"bbox_{stride}": bbox, f"kps_{stride}": kps}
        for i in np.flatnonzero(score > 0.5):
            y, x = (stride * n for n in divmod(i // anchors, columns))
            left, top, right, bottom = (bbox[0, i] * stride).tolist()
            marks = (kps[0, i] * stride).tolist()
            box = (x - left, y - top, x + right, y + bottom)
            spots = [(x + marks[k], y + marks[k + 1]) for k in range(0, 2 * points, 2)]
            if box[2] > box[0] and box[3] > box[1]:
                pixels = (*box[:2], box[2] + 1, box[3] + 1)  # as it counts them where boxes overlap
                candidates.append((pixels, float(score[0, i, 0]), 0, (box, spots)))
    expected = [
        (box, score, kind, spots)
        for _, score, kind, (box, spots) in suppressed(candidates, 0.4, agnostic=True)
    ]
    same(decode(model, outputs), expected, labels=("face",), height=64)


# --- grids, queries, rows ---------------------------------------------------------------------


def scrfd(build, anchors=2, points=5):
    roles = {"score": 1, "bbox": 4} | ({"kps": 2 * points} if points else {})
    shapes = {
        f"{role}_{s}": (None, anchors * (WIDTH // s) * (64 // s), width)
        for role, width in roles.items()
        for s in (8, 16, 32)
    }
    spec = m.AnchorFree(
        variant="scrfd", outputs={name: name for name in shapes}, anchors=anchors, points=points,
        score=0.5, iou=0.4,
    )  # fmt: skip
    return build.spec(spec, shapes, size=build.input(WIDTH, 64), labels=("face",))


def gfl(build, **fields):
    spec = m.Gfl(**{"output": "out", "classes": 3, "bins": 6, "strides": (8, 16), **fields})
    shape = (None, 8 * 6 + 4 * 3, 3 + 24)
    return build.spec(spec, {"out": shape}, size=build.input(WIDTH, HEIGHT), labels=LABELS)


def detr(build, *, queries=9, joint=False, **fields):
    columns = 3 + fields.get("background", False)
    spec = m.Detr(
        **{"boxes": "b", "scores": "b" if joint else "s", "classes": 3, "score": 0.3, **fields}
    )
    shapes = {"b": (None, queries, 4 + columns)}
    if not joint:
        shapes = {"b": (None, queries, 4), "s": (None, queries, columns)}
    return build.spec(spec, shapes, size=build.input(WIDTH, HEIGHT), labels=LABELS)


def ranked(build, *, rows=20, **fields):
    spec = m.Ranked(
        **{"boxes": "b", "scores": "s", "labels": "l", "count": "n", "classes": 3, "score": 0.3,
           **fields}
    )  # fmt: skip
    shapes = {"b": (None, rows, 4), "s": (None, rows), "l": (None, rows), "n": (None,)}
    return build.spec(spec, shapes, size=build.input(WIDTH, HEIGHT), labels=LABELS)


def plain_cells(strides, height=HEIGHT):
    """Column, row and stride of every cell, in the order of the rows."""
    for stride in strides:
        for row in range(math.ceil(height / stride)):
            for column in range(math.ceil(WIDTH / stride)):
                yield column, row, stride


@given(seed=SEEDS, values=st.sampled_from(("probabilities", "logits")))
def test_yolox_before_its_box_arithmetic(build, seed, values):
    rng = np.random.default_rng(seed)
    cells = list(plain_cells((8, 16, 32)))
    model = yolo(build, "yolox", len(cells), values=values)
    rows = np.hstack((rng.normal(0, 0.7, (len(cells), 4)), distinct_scores(rng, len(cells), 4)))
    if values == "logits":
        rows[:, 4:] = np.log(rows[:, 4:] / (1 - rows[:, 4:] * 0.999))
    chance = sigmoid if values == "logits" else float
    candidates = []
    for (x, y, stride), row in zip(cells, rows.astype(np.float32).tolist(), strict=True):
        chances = [chance(value) for value in row[5:]]
        score = chance(row[4]) * max(chances)
        cx, cy, w, h = (x + row[0]) * stride, (y + row[1]) * stride, *map(math.exp, row[2:4])
        half_w, half_h = w * stride / 2, h * stride / 2
        box = (cx - half_w, cy - half_h, cx + half_w, cy + half_h)
        if score > 0.25:
            candidates.append((box, score, chances.index(max(chances)), ()))
    expected = suppressed(candidates, 0.45, agnostic=False)
    same(decode(model, {"out": rows[None].astype(np.float32)}), expected, labels=LABELS)


def test_landmarks_before_the_classes(build):
    model = yolo(build, "v5-face", 2, points=2, score=0.5)
    rows = np.float32([[30, 20, 10, 10, 0.9, 26, 18, 34, 18, 0.1, 0.8, 0], [9] * 4 + [0.1] * 8])
    (face,) = decode(model, {"out": rows[None]})
    assert (face.label, face.score) == ("bee", pytest.approx(0.72))
    assert face.points == ((26, 18), (34, 18))


@given(
    seed=SEEDS,
    offset=st.sampled_from((0.0, 0.5)),
    values=st.sampled_from(("probabilities", "logits")),
)
def test_distributions_over_distances(build, seed, offset, values):
    rng = np.random.default_rng(seed)
    model = gfl(build, offset=offset, values=values)
    cells = list(plain_cells((8, 16)))
    scores = distinct_scores(rng, len(cells), 3)
    bins = rng.normal(0, 2, (len(cells), 4, 6)).astype(np.float32)
    candidates = []
    for (x, y, stride), chances, sides in zip(cells, scores.tolist(), bins.tolist(), strict=True):
        left, top, right, bottom = (
            stride * sum(i * share for i, share in enumerate(plain_softmax(side))) for side in sides
        )
        cx, cy = (x + offset) * stride, (y + offset) * stride
        x1, y1, x2, y2 = cx - left, cy - top, cx + right, cy + bottom
        box = (max(x1, 0.0), max(y1, 0.0), min(x2, WIDTH), min(y2, HEIGHT))
        candidates += [(box, value, i, ()) for i, value in enumerate(chances) if value > 0.35]
    raw = np.log(scores / (1 - scores)) if values == "logits" else scores
    table = np.hstack((raw, bins.reshape(len(cells), -1))).astype(np.float32)
    expected = suppressed(candidates, 0.6, agnostic=False)
    same(decode(model, {"out": table[None]}), expected, labels=LABELS)


def plain_softmax(row):
    powers = [math.exp(value - max(row)) for value in row]
    return [power / sum(powers) for power in powers]


@given(
    seed=SEEDS,
    background=st.booleans(),
    multi_label=st.booleans(),
    joint=st.booleans(),
    normalized=st.booleans(),
    values=st.sampled_from(("probabilities", "logits")),
    score=st.floats(0.05, 0.8),
)
def test_queries(build, seed, background, multi_label, joint, normalized, values, score):
    rng = np.random.default_rng(seed)
    model = detr(
        build, joint=joint, background=background, multi_label=multi_label, score=score,
        normalized=normalized, values=values,
    )  # fmt: skip
    logits = rng.normal(0, 2, (9, 3 + background)).astype(np.float32)
    boxes = rng.uniform(0.05, 0.95, (9, 4)).astype(np.float32)
    chances = [
        plain_softmax(row)[:3] if background else [sigmoid(value) for value in row]
        for row in logits.tolist()
    ]
    detections = []
    for (cx, cy, w, h), row in zip((boxes * ([WIDTH, HEIGHT] * 2)).tolist(), chances, strict=True):
        box = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
        every = enumerate(row)
        if background or not multi_label:
            every = [max(every, key=lambda pair: pair[1])]
        detections += [(box, chance, kind, ()) for kind, chance in every if chance > score]
    table = logits
    if values == "probabilities":
        table = np.float32([plain_softmax(row) if background else list(map(sigmoid, row))
                            for row in logits.tolist()])  # fmt: skip
    if not normalized:
        boxes = boxes * np.float32([WIDTH, HEIGHT] * 2)
    outputs = {"b": boxes[None], "s": table[None]}
    if joint:
        outputs = {"b": np.hstack((boxes, table))[None]}
    expected = sorted(detections, key=lambda entry: -entry[1])
    same(decode(model, outputs), expected, labels=LABELS)


def test_columns_that_are_no_class_are_not_read(build):
    spec = m.Detr(boxes="b", scores="s", classes=2)
    shapes = {"b": (None, 1, 4), "s": (None, 1, 3)}
    model = build.spec(spec, shapes, size=build.input(WIDTH, HEIGHT), labels=LABELS)
    outputs = {"b": np.float32([[[0.5, 0.5, 0.2, 0.2]]]), "s": np.float32([[[3, -3, 9]]])}
    assert [found.label for found in decode(model, outputs)] == ["ant"]
    with pytest.raises(BundleError, match="than 3 classes and the background"):
        make_decoder(build.spec(m.Detr(boxes="b", scores="s", classes=3, background=True), shapes))


@given(seed=SEEDS, tensorflow=st.booleans(), counted=st.booleans())
def test_rows_in_outputs_of_their_own(build, seed, tensorflow, counted):
    rng = np.random.default_rng(seed)
    fields = {"order": "yxyx", "normalized": True, "first_class": 1} if tensorflow else {}
    model = ranked(build, count="n" if counted else "", **fields)
    boxes = rng.uniform(0, 0.5, (20, 4)).astype(np.float32)
    boxes[:, 2:] += boxes[:, :2] + 0.01
    boxes *= np.float32([WIDTH, HEIGHT] * 2)
    scores, classes = distinct_scores(rng, 20), rng.integers(0, 3, 20)
    rows = range(12 if counted else 20)
    chosen = [(boxes[i].tolist(), scores[i], classes[i], ()) for i in rows if scores[i] > 0.3]
    if tensorflow:
        boxes = (boxes / np.float32([WIDTH, HEIGHT] * 2))[:, [1, 0, 3, 2]]
    outputs = {
        "b": boxes[None], "s": scores[None], "l": classes[None] + fields.get("first_class", 0),
        "n": np.float32([12]),
    }  # fmt: skip
    expected = sorted(chosen, key=lambda row: -row[1])
    same(decode(model, outputs), expected, labels=LABELS)


@pytest.mark.parametrize("count", [np.nan, np.inf, -np.inf, 1e30, -1])
def test_a_count_of_rows_that_is_none(build, count):
    model = ranked(build, rows=2)
    outputs = {"b": np.float32([[[1, 1, 9, 9]] * 2]), "s": np.full((1, 2), 0.9, np.float32),
               "l": np.zeros((1, 2), np.float32), "n": np.float32([count])}  # fmt: skip
    assert len(decode(model, outputs)) == (2 if count > 0 else 0)


@pytest.mark.parametrize("make", [gfl, detr, ranked])
def test_2000_objects_are_cut_to_the_best(build, make):
    fields = {"queries": 2000} if make is detr else {"rows": 2000} if make is ranked else {}
    model = make(build, **fields)
    outputs = {
        output.name: np.full((1, *output.shape[1:]), 0.9, np.float32) for output in model.outputs
    }
    if make is ranked:
        outputs |= {"n": np.float32([2000]), "l": np.zeros((1, 2000), np.float32)}
        outputs["b"][..., 2:] = 9.0
    detections = decode(model, outputs)
    assert 0 < len(detections) <= model.decode.max_detections


# --- whatever comes ---------------------------------------------------------------------------


def every_detector(build):
    for values in ("probabilities", "logits"):
        for layout in ("v5", "v5-face", "v8", "nms"):
            yield yolo(build, layout, 30, values=values, points=2, score=0.3)
        yield yolo(build, "yolox", 64, values=values, score=0.3)
        yield ssd(build, values=values)[0]
        yield gfl(build, values=values)
        for background, multi_label, joint in product((False, True), repeat=3):
            yield detr(build, values=values, background=background, multi_label=multi_label,
                       joint=joint)  # fmt: skip
    yield ranked(build)
    yield ranked(build, order="yxyx", normalized=True, count="")
    yield build.yunet_manifest(WIDTH, 32).model
    yield scrfd(build)
    yield centerface(build)


@settings(max_examples=60)
@given(seed=SEEDS, share=st.floats(0, 1))
def test_detections_are_finite_and_inside_whatever_the_output(build, seed, share):
    rng = np.random.default_rng(seed)
    for model in every_detector(build):
        outputs = {}
        for output in model.outputs:
            value = rng.normal(0.5, 1, (1, *output.shape[1:])).astype(np.float32)
            wild = rng.random(value.shape) < share
            value[wild] = rng.choice(HOSTILE, int(wild.sum()))
            outputs[output.name] = value
        size = model.input
        for found in decode(model, outputs):
            x1, y1, x2, y2 = found.box
            assert 0 <= x1 < x2 <= size.width
            assert 0 <= y1 < y2 <= size.height
            assert 0 < found.score <= 1
            assert np.isfinite(np.array(found.points)).all()


def test_nothing_the_size_of_a_head_is_allocated(build):
    """A YOLOv8n head at 640x384 holds 1.7 MB, its 51 candidates 17 kB in memory used again."""
    model = build.spec(
        m.Yolo(output="out", layout="v8", classes=80),
        {"out": (None, 84, 5040)},
        size=build.input(640, 384),
    )
    head = np.zeros((1, 84, 5040), np.float32)
    head[0, :4, ::100] = 50
    head[0, 10, ::100] = np.linspace(0.3, 0.9, 51)
    decoder, geometry = make_decoder(model), identity_geometry(model.input)
    assert decoder.decode({"out": head}, 0, geometry)
    tracemalloc.start()
    decoder.decode({"out": head}, 0, geometry)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 24_000


def test_half_precision_outputs_are_decoded_in_single(build):
    rng, count = np.random.default_rng(4), 0
    for model in every_detector(build):
        halves = {
            output.name: rng.uniform(0.1, 0.9, (1, *output.shape[1:])).astype(np.float16)
            for output in model.outputs
        }
        singles = {name: value.astype(np.float32) for name, value in halves.items()}
        for half, single in zip(decode(model, halves), decode(model, singles), strict=True):
            assert half.box == pytest.approx(single.box, rel=0.01)
            assert half.score == pytest.approx(single.score, rel=0.01)
            count += 1
    assert count > 100
