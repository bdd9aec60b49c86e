"""Detectors against plain decoders that follow the papers one box at a time."""

import math
import tracemalloc

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
        "nms": (None, anchors, 6 + extra),
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
        kind = row[1:].index(max(row[1:]))
        if not row[1 + kind] > score:
            continue
        x, y = cx + box[0] * 0.1 * w, cy + box[1] * 0.1 * h
        half_w, half_h = w * math.exp(box[2] * 0.2) / 2, h * math.exp(box[3] * 0.2) / 2
        corners = (x - half_w, y - half_h, x + half_w, y + half_h)
        spots = [
            (cx + mark[i] * 0.1 * w, cy + mark[i + 1] * 0.1 * h) for i in range(0, len(mark), 2)
        ]
        candidates.append((corners, row[1 + kind], kind, spots))
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
        scores = row[background:]
        if max(scores) > 0.3:
            candidates.append((tuple(box), max(scores), scores.index(max(scores)), mark))
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


# --- whatever comes ---------------------------------------------------------------------------


def every_detector(build):
    for layout in ("v5", "v8", "nms"):
        for values in ("probabilities", "logits"):
            yield yolo(build, layout, 30, values=values, points=2, score=0.3)
    for values in ("probabilities", "logits"):
        yield ssd(build, values=values)[0]
    yield build.yunet_manifest(WIDTH, 32).model
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
