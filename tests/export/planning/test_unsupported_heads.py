"""Outputs in the layouts of well-known detectors: read rightly, or refused by their true names.

The tables below are made as the networks make them: a box near each cell of a grid, scores that
are small nearly everywhere.
"""

import contextlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecnn_export.config import ExportConfig
from edgecnn_export.exporter_metadata import ExporterMetadata, read_json_metadata, read_metadata
from edgecnn_export.loading.size import Size
from edgecnn_export.planning.graph_info import GraphInfo
from edgecnn_export.planning.resolve import Evidence, Plan, resolve
from edgecnn_export.planning.settings import ExportSettings
from edgecnn_runtime.bundle.manifest import (
    AnchorFree,
    Detr,
    Gfl,
    Output,
    Ranked,
    Segment,
    Semantic,
    Ssd,
    Yolo,
)
from edgecnn_runtime.errors import EdgecnnError, UsageError

PICTURES = 2
WIDTH, HEIGHT = 320, 192
Array = NDArray[np.float32]
Outputs = dict[str, Array]


def cells(width: int, height: int) -> tuple[Array, Array]:
    """Centers in cells and the stride of every cell of strides 8, 16 and 32."""
    centers, strides = [], []
    for stride in (8, 16, 32):
        rows, columns = height // stride, width // stride
        y, x = np.divmod(np.arange(rows * columns), columns)
        centers.append(np.stack((x, y), 1))
        strides.append(np.full((rows * columns, 1), stride))
    return np.concatenate(centers).astype(np.float32), np.concatenate(strides).astype(np.float32)


class Maker:
    """Random parts of a detector's output, float32[PICTURES,A,…]."""

    def __init__(self, seed: int, width: int = WIDTH, height: int = HEIGHT) -> None:
        self.rng = np.random.default_rng(seed)
        self.size = np.float32([width, height])
        self.centers, self.strides = cells(width, height)
        self.count = len(self.centers)

    def normal(self, columns: int, mean: float = 0.0, spread: float = 1.0, rows: int = 0) -> Array:
        shape = (PICTURES, rows or self.count, columns)
        return self.rng.normal(mean, spread, shape).astype(np.float32)

    def logits(self, columns: int, rows: int = 0) -> Array:
        return self.normal(columns, -5, 2, rows)

    def scores(self, columns: int, rows: int = 0) -> Array:
        return 1 / (1 + np.exp(-self.logits(columns, rows)))

    def boxes(self) -> Array:
        """Centers and sizes in pixels."""
        centers = (self.centers + 0.5 + self.normal(2, 0, 0.4)) * self.strides
        return np.concatenate([centers, np.exp(self.normal(2, 1, 0.5)) * self.strides], 2)

    def corners(self) -> Array:
        boxes = self.boxes()
        half = boxes[..., 2:] / 2
        return np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], 2)

    def fractions(self, rows: int) -> Array:
        """Centers and sizes as shares of the input."""
        return self.rng.uniform(0.05, 0.95, (PICTURES, rows, 4)).astype(np.float32)

    def ranked(self, rows: int, classes: int) -> Array:
        """x1, y1, x2, y2, score, class."""
        best = self.corners()[:, :rows]
        score = np.sort(self.rng.uniform(0, 0.9, (PICTURES, rows, 1)))[:, ::-1]
        kind = self.rng.integers(0, classes, (PICTURES, rows, 1))
        return np.concatenate([best, score, kind], 2).astype(np.float32)

    def pixels(self, columns: int, rows: int = 0) -> Array:
        shape = (PICTURES, rows or self.count, columns)
        return self.rng.uniform(0, self.size.max(), shape).astype(np.float32)

    def key_points(self, count: int, dims: int, rows: int = 0) -> Array:
        points = [self.pixels(2, rows), self.scores(1, rows)][: dims - 1]
        return np.concatenate(points * count, 2)


def joined(*parts: Array) -> Array:
    return np.concatenate(parts, 2).astype(np.float32)


def turned(table: Array) -> Array:
    return np.ascontiguousarray(table.swapaxes(1, 2))


def plan(
    outputs: Outputs,
    metadata: Mapping[str, str] | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    **options: Any,
) -> Plan:
    config = ExportConfig(**{"preset": "unit", "color": "rgb", **options})
    entries = tuple(
        Output(name=name, dtype="float32", shape=(None, *values.shape[1:]))
        for name, values in outputs.items()
    )
    evidence = Evidence(outputs=outputs, pictures=PICTURES, metadata=read_metadata(metadata or {}))
    settings = ExportSettings(config, "preset")
    return resolve(settings, Size(*size, 3), GraphInfo(entries, {}), evidence)


def refusal(outputs: Outputs, **options: Any) -> str:
    message = problem(outputs, **options)
    assert all(f"{name}[" in message for name in outputs)  # the outputs as they are
    return message


def problem(outputs: Outputs, **options: Any) -> str:
    with pytest.raises(EdgecnnError) as caught:
        plan(outputs, **options)
    return str(caught.value)


def names(count: int) -> tuple[str, ...]:
    return tuple(f"name {index}" for index in range(count))


def yolox(m: Maker, classes: int) -> Array:
    return joined(m.normal(2, 0.5, 0.6), m.normal(2, 1, 0.6), m.scores(1 + classes))


def nanodet(m: Maker, classes: int) -> Array:
    return joined(m.scores(classes), m.normal(4 * 8, 0, 2.5))


LAYOUTS: Mapping[str, tuple[Callable[[Maker, int], Outputs], str]] = {
    "YOLOX before decoding, exchanged": (lambda m, c: {"o": turned(yolox(m, c))}, "YOLOX"),
    "RT-DETR, exchanged": (
        lambda m, c: {"o": turned(joined(m.fractions(300), m.logits(c, 300)))}, "DETR.*permute"
    ),
    "cells, not pixels": (
        lambda m, c: {"o": joined(m.boxes() / m.strides, m.scores(1 + c))}, "before decoding"
    ),
    "YOLOv8 before its arithmetic": (
        lambda m, c: {"o": turned(joined(m.normal(64, 0, 2), m.logits(c)))}, "YOLOv8 .*before"
    ),
    "NanoDet, exchanged": (lambda m, c: {"o": turned(nanodet(m, c))}, "NanoDet"),
    "seg, without its maps": (
        lambda m, c: {"o": turned(joined(m.boxes(), m.scores(c), m.normal(32)))}, "segmentation"
    ),
    "obb": (
        lambda m, c: {
            "o": turned(joined(m.boxes(), m.scores(c), m.rng.uniform(
                -0.78, 2.3, (PICTURES, m.count, 1)
            ).astype(np.float32)))
        },
        "oriented boxes.*angle",
    ),
    "obb, end to end": (
        lambda m, c: {"o": joined(m.ranked(100, c), m.normal(1, 0.5, 0.4, rows=100))},
        "oriented boxes",
    ),
    "pose": (
        lambda m, c: {"o": turned(joined(m.boxes(), m.scores(c), m.key_points(17, 3)))},
        r'pose.*\{"points": 17, "point_dims": 3\}',
    ),
    "pose, end to end": (
        lambda m, c: {"o": joined(m.ranked(100, c), m.key_points(17, 3, rows=100))},
        r'pose.*\{"points": 17, "point_dims": 3\}',
    ),
    "pose without visibility": (
        lambda m, c: {"o": turned(joined(m.boxes(), m.scores(c), m.key_points(7, 2)))},
        r'pose.*\{"points": 7, "point_dims": 2\}',
    ),
    "corners in one table": (
        lambda m, c: {"o": joined(m.corners(), m.scores(1 + c))}, "corners"
    ),
    "centers in fractions after suppression": (
        lambda m, c: {"o": joined(m.fractions(60), m.scores(1, 60), m.rng.integers(
            0, 3, (PICTURES, 60, 1)
        ))},
        "centers and sizes.*x2 <= x1|class number 2 occurs",
    ),
    "centers after suppression": (
        lambda m, c: {"o": joined(m.boxes(), m.scores(1), np.zeros_like(m.scores(1)))[:, :60]},
        "centers and sizes.*x2 <= x1",
    ),
    "SSD's offsets": (
        lambda m, c: {"boxes": m.normal(4), "scores": m.scores(1 + c)}, "offsets.*min_sizes"
    ),
    "YOLOv4": (
        lambda m, c: {"boxes": (m.corners() / 400)[:, :, None], "confs": m.scores(c)}, "YOLOv4"
    ),
    "YOLO before decoding": (
        lambda m, c: {
            f"level{stride}": np.zeros((PICTURES, 3 * (5 + c), 192 // stride, 320 // stride))
            for stride in (8, 16, 32)
        },
        "raw maps",
    ),
    "a map of classes": (lambda m, c: {"y": np.zeros((PICTURES, 21, 192, 320))}, "segmentation"),
    "a depth map": (lambda m, c: {"y": np.zeros((PICTURES, 1, 192, 320))}, "depth"),
}  # fmt: skip


def yolov5_face(m: Maker, classes: int) -> Array:
    return joined(m.boxes(), m.scores(1), m.pixels(10), m.scores(classes))


def scrfd(m: Maker, points: int = 5, anchors: int = 2) -> Outputs:
    """Named by numbers, as in InsightFace's files."""
    rows = {stride: anchors * WIDTH * HEIGHT // stride**2 for stride in (8, 16, 32)}
    outputs = {f"{400 + s}": m.scores(1, rows[s]) for s in rows}
    outputs |= {f"{500 + s}": np.abs(m.normal(4, 1, 0.5, rows[s])) for s in rows}
    return outputs | ({f"{600 + s}": m.normal(2 * points, rows=rows[s]) for s in rows if points})


def rows_after_selection(m: Maker, classes: int, first: int = 0) -> Outputs:
    kinds = m.rng.integers(0, classes, (PICTURES, 300)) + first
    kinds[0, :2] = first, classes - 1 + first
    return {
        "labels": kinds.astype(np.float32),
        "boxes": m.corners()[:, :300],
        "scores": m.scores(1, 300)[..., 0] * 0.5 + 0.1,
    }


def softmaxed(logits: Array) -> Array:
    powers: Array = np.exp(logits)
    return powers / powers.sum(2, keepdims=True)


def with_background(m: Maker, classes: int) -> Array:
    logits = m.logits(classes + 1, 100)
    logits[..., -1] = 3
    logits[:, ::9, 0] = 6
    return logits


KNOWN: Mapping[str, Callable[[Maker, int], tuple[Outputs, str, Any]]] = {
    "YOLOX": lambda m, c: (
        {"o": yolox(m, c)}, "yolox",
        Yolo(output="o", layout="yolox", classes=c, strides=(8, 16, 32)),
    ),
    "yolov5-face": lambda m, c: (
        {"o": yolov5_face(m, c)}, "yolov5-face",
        Yolo(output="o", layout="v5-face", classes=c, points=5),
    ),
    "NanoDet": lambda m, c: (
        {"o": nanodet(m, c)}, "nanodet",
        Gfl(output="o", classes=c, bins=8, strides=(8, 16, 32), offset=0.5),
    ),
    "RT-DETR in one table": lambda m, c: (
        {"o": joined(m.fractions(300), m.scores(c, 300))}, "detr",
        Detr(boxes="o", scores="o", classes=c, values="probabilities", multi_label=False),
    ),
    "RT-DETR": lambda m, c: (
        {"logits": m.logits(c, 300), "pred_boxes": m.fractions(300)}, "detr",
        Detr(boxes="pred_boxes", scores="logits", classes=c),
    ),
    "RT-DETR among other tensors": lambda m, c: (
        {"aux.0.pred_logits.x": m.logits(c, 300), "logits": m.logits(c, 300),
         "pred_boxes": m.fractions(300), "last_hidden_state": m.normal(256, rows=300)}, "detr",
        Detr(boxes="pred_boxes", scores="logits", classes=c),
    ),
    "DETR": lambda m, c: (
        {"pred_logits": with_background(m, c), "pred_boxes": m.fractions(100)}, "detr",
        Detr(boxes="pred_boxes", scores="pred_logits", classes=c, background=True),
    ),
    "DETR with its softmax": lambda m, c: (
        {"pred_boxes": m.fractions(100), "pred_logits": softmaxed(with_background(m, c))}, "detr",
        Detr(boxes="pred_boxes", scores="pred_logits", classes=c, background=True,
             values="probabilities"),
    ),
    "RT-DETR after its postprocessing": lambda m, c: (
        rows_after_selection(m, c), "ranked",
        Ranked(boxes="boxes", scores="scores", labels="labels", classes=c),
    ),
}  # fmt: skip


@pytest.mark.parametrize("classes", [1, 2, 3, 20, 80])
@pytest.mark.parametrize("layout", KNOWN)
def test_a_head_is_recognized_by_its_values(layout: str, classes: int) -> None:
    outputs, head, decode = KNOWN[layout](Maker(classes), classes)
    for options in ({"labels": names(classes)}, {"labels": names(classes), "head": head}):
        spec = plan(outputs, **options).spec
        assert spec.decode == decode
        assert len(spec.labels) == classes
    if head == "ranked":
        assert "--labels FILE" in problem(outputs)
    else:
        assert plan(outputs).spec.decode == decode
        assert f"{classes} classes" in problem(outputs, labels=names(classes + 7))


@pytest.mark.parametrize("layout", KNOWN)
def test_naming_another_head_does_not_help(layout: str) -> None:
    outputs, own, _ = KNOWN[layout](Maker(3), 5)
    for head in ("yolov5", "yolov8", "nms", "ssd", "yunet", "centerface"):
        assert f"--head {own}" in problem(outputs, head=head, labels=names(5))
    others = {"yolox", "yolov5-face", "nanodet", "detr", "ranked", "scrfd"} - {own}
    for head in others:
        problem(outputs, head=head, labels=names(5))


@pytest.mark.parametrize("points", [0, 5])
@pytest.mark.parametrize("anchors", [1, 2])
def test_scrfd_is_recognized_whatever_its_outputs_are_called(points: int, anchors: int) -> None:
    spec = plan(scrfd(Maker(1), points, anchors)).spec
    assert isinstance(spec.decode, AnchorFree)
    assert (spec.decode.variant, spec.decode.anchors, spec.decode.points) == (
        "scrfd", anchors, points
    )  # fmt: skip
    assert (spec.decode.outputs["bbox_16"], spec.labels) == ("516", ("face",))


def test_scrfd_before_its_sigmoid_is_told_to_end_with_it() -> None:
    m = Maker(1)
    outputs = scrfd(m)
    outputs = {k: v if k[0] != "4" else m.logits(1, v.shape[1]) for k, v in outputs.items()}
    for options in ({}, {"head": "scrfd"}, {"task": "detect"}):
        assert "end the model with it, and export it again" in refusal(outputs, **options)


def without_a_batch(outputs: Outputs) -> Outputs:
    """All pictures' rows behind one another."""
    return {name: values.reshape(-1, *values.shape[2:]) for name, values in outputs.items()}


def test_what_needs_another_end_of_its_model_is_told_so() -> None:
    m = Maker(1)
    small = Maker(1, 160, 96)
    selected = rows_after_selection(m, 3)
    centers = selected | {"boxes": m.boxes()[:, :300]}
    roles = {"4": "score", "5": "bbox", "6": "kps"}
    named = {
        f"{roles[name[0]]}_{int(name[1:])}": values[:, ::4] for name, values in scrfd(small).items()
    }
    for outputs, problem in (
        (without_a_batch(scrfd(m)), "axis for the batch is missing"),
        (named, "check --input"),
        (without_a_batch(selected), r"boxes\[N,K,4\] .* with an axis for the batch"),
        (centers, r"boxes\[N,K,4\] as corners"),
    ):
        message = refusal(outputs)
        assert re.search(problem, message), message
        assert "no head" not in message


def test_a_column_that_nothing_was_trained_on_is_no_background() -> None:
    m = Maker(2)
    outputs = {"dets": m.fractions(300), "labels": m.logits(6, 300)}
    decode = plan(outputs, labels=names(5)).spec.decode
    assert decode == Detr(boxes="dets", scores="labels", classes=5)
    decode = plan(outputs, labels=names(5), decode={"background": True}).spec.decode
    assert decode == Detr(boxes="dets", scores="labels", classes=5, background=True)


def test_rows_of_tensorflow() -> None:
    m = Maker(3)
    rows = rows_after_selection(m, 7, first=1)
    corners = (rows["boxes"] / np.float32([*m.size, *m.size])).clip(0, 1) * np.float32(0.99)
    outputs = {
        "detection_boxes": corners[..., [1, 0, 3, 2]], "detection_classes": rows["labels"],
        "detection_scores": rows["scores"], "num_detections": np.full((PICTURES, 1), 300.0),
    }  # fmt: skip
    decode = plan(outputs, labels=names(7)).spec.decode
    assert decode == Ranked(
        boxes="detection_boxes", scores="detection_scores", labels="detection_classes",
        count="num_detections", classes=7, first_class=1, order="yxyx", normalized=True,
    )  # fmt: skip
    assert "class number 7 occurs" in problem(outputs, labels=names(6))
    assert not plan(outputs, labels=names(7)).warnings
    nothing = {name: 0 * values for name, values in outputs.items()}
    result = plan(nothing, labels=names(7))
    assert result.spec.decode.normalized  # type: ignore[union-attr] # the case is that one
    assert "counted from 1" in result.warnings[0]
    result = plan(outputs, labels=names(8))
    assert "counted from 1" in result.warnings[0]
    assert not plan(outputs, labels=names(8), decode={"first_class": 1}).warnings


def test_end_to_end_yolo_in_fractions_is_no_detr_of_two_classes() -> None:
    m = Maker(4)
    rows = m.ranked(300, 2)
    rows[..., :4] /= np.float32([*m.size, *m.size]) * 1.5
    rows[..., :4] = rows[..., :4].clip(0.001, 1)
    good = (rows[..., 2:4] > rows[..., :2]).all(2)
    rows[~good] = 0
    decode = plan({"o": rows}, labels=names(2), decode={"normalized": True}).spec.decode
    assert decode == Yolo(output="o", layout="nms", classes=2, normalized=True)


def test_tables_of_nothing_but_nan_are_no_traceback() -> None:
    for make in KNOWN.values():
        outputs, _, _ = make(Maker(5), 5)
        with contextlib.suppress(EdgecnnError):
            plan({name: np.full_like(values, np.nan) for name, values in outputs.items()})


@pytest.mark.parametrize("classes", [1, 2, 3, 20, 80])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_without_a_head_is_refused_by_its_name(layout: str, classes: int) -> None:
    make, name = LAYOUTS[layout]
    outputs = make(Maker(classes), classes)
    for options in ({}, {"labels": names(classes)}, {"task": "detect"}):
        message = refusal(outputs, **options)
        assert re.search(name, message, re.DOTALL), message
        assert "--labels has" not in message


@pytest.mark.parametrize("head", ["yolov5", "yolov8", "nms", "ssd"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_naming_a_head_or_as_many_labels_as_columns_does_not_help(layout: str, head: str) -> None:
    make, _ = LAYOUTS[layout]
    if (layout, head) == ("centers after suppression", "yolov5"):
        pytest.skip("center, size, score and a number in 0..1 are a YOLOv5 table")
    outputs = make(Maker(7), 5)
    for labels in (None, names(5)):
        refusal(outputs, head=head, labels=labels)
    columns = next(iter(outputs.values())).shape[1:]
    for count in (min(columns) - 4, min(columns) - 5):
        if count > 0:
            refusal(outputs, head=head, labels=names(count))


@pytest.mark.parametrize("size", [(320, 192), (640, 640), (96, 64)])
@pytest.mark.parametrize("classes", [1, 2, 36, 80])
def test_yolo_tables_are_read(classes: int, size: tuple[int, int]) -> None:
    m = Maker(classes, *size)
    v8 = turned(joined(m.boxes(), m.scores(classes)))
    assert plan({"o": v8}, size=size).spec.decode == Yolo(output="o", layout="v8", classes=classes)
    v5 = joined(m.boxes(), m.scores(1 + classes))
    decode = plan({"o": v5}, size=size, labels=names(classes)).spec.decode
    assert decode == Yolo(output="o", layout="v5", classes=classes)
    best = m.ranked(min(60, m.count), classes)
    decode = plan({"o": best}, size=size, labels=names(classes), head="nms").spec.decode
    assert decode == Yolo(output="o", layout="nms", classes=classes)


def with_maps(table: Array, m: Maker) -> Outputs:
    """A table beside the maps that its last 32 columns weigh."""
    return {"table": table, "maps": m.normal(48 * 80, rows=32).reshape(PICTURES, 32, 48, 80)}


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("classes", [1, 3, 80])
def test_tables_with_maps_are_instances(classes: int, named: bool) -> None:
    m = Maker(classes)
    labels = names(classes) if named else None
    columns = {
        "v8": turned(joined(m.boxes(), m.scores(classes), m.normal(32))),
        "v5": joined(m.boxes(), m.scores(1 + classes), m.normal(32)),
        "nms": joined(m.ranked(100, classes), m.normal(32, rows=100)),
    }
    for layout, table in columns.items():
        options = {} if named or layout != "nms" else {"decode": {"classes": classes}}
        spec = plan(with_maps(table, m), labels=labels, **options).spec
        expected = Segment(output="table", maps="maps", layout=layout, classes=classes)  # type: ignore[arg-type] # checked by what is called
        assert (spec.task, spec.decode, len(spec.labels)) == ("segment", expected, classes)
        message = refusal(with_maps(table, m), labels=labels, task="detect")
        assert "add --task segment" in message
    raw = turned(joined(m.boxes(), m.logits(classes), m.normal(32)))
    decode = plan(with_maps(raw, m), labels=labels, task="segment").spec.decode
    assert getattr(decode, "values", "") == "logits"


def test_tables_with_maps_are_believed_on_their_values() -> None:
    m = Maker(2)
    v8 = joined(m.boxes(), m.scores(2), m.normal(32))
    v5 = joined(m.boxes(), m.scores(3), m.normal(32))
    best = joined(m.ranked(100, 2), m.normal(32, rows=100))
    for table, turn in ((v8, turned), (v5, np.asarray), (best, np.asarray)):
        small = table.copy()
        small[..., :4] /= 1000
        wrong = table.copy()
        wrong[..., 4] *= 7
        for values, problem in ((small, "are no pixels"), (wrong, "leave 0..1")):
            message = refusal(with_maps(turn(values), m), task="segment", labels=names(2))
            assert problem in message
    best[..., 5] = 2
    message = refusal(with_maps(best, m), task="segment", labels=names(2))
    assert "class number 2 occurs" in message


def test_a_grid_of_one_class_with_masks_is_no_head_after_suppression() -> None:
    m = Maker(2, 160, 96)
    outputs = with_maps(joined(m.boxes(), m.scores(2), m.normal(32)), m)
    decode = plan(outputs, size=(160, 96)).spec.decode
    assert decode == Segment(output="table", maps="maps", layout="v5", classes=1)


def test_the_file_says_that_it_has_masks() -> None:
    m = Maker(0)
    outputs = with_maps(joined(m.ranked(100, 2), m.normal(32, rows=100)), m)
    entries = {"task": "segment", "names": "{0: 'cat', 1: 'dog'}", "end2end": "True"}
    spec = plan(outputs, entries, labels=("cat", "dog"), task="segment").spec
    assert (spec.task, spec.labels, spec.head_origin) == ("segment", ("cat", "dog"), "given")


def test_instances_of_another_shape_are_refused() -> None:
    m = Maker(0)
    table = turned(joined(m.boxes(), m.scores(2), m.normal(32)))
    with pytest.raises(UsageError, match="3 names, but the model has 2 classes"):
        plan(with_maps(table, m), labels=names(3))
    assert "maps[N,M,h,w]" in refusal({"table": table}, task="segment", head="yolov8-seg")
    rows = joined(m.ranked(100, 2), m.normal(30, rows=100))
    assert "have 38 columns, not 36" in refusal(
        with_maps(rows, m), task="segment", head="nms-seg", labels=names(2)
    )


def class_scores(
    channels: int, rows: int = 24, columns: int = 40, *, softmax: bool = False
) -> Outputs:
    """Scores of so many classes in cells of 8 pixels."""
    values = np.random.default_rng(0).normal(0, 2, (PICTURES, channels, rows, columns))
    if softmax:
        values = np.exp(values) / np.exp(values).sum(1, keepdims=True)
    return {"y": values.astype(np.float32)}


@pytest.mark.parametrize(
    ("outputs", "options"),
    [
        (class_scores(5), {"labels": names(5)}),
        (class_scores(5, softmax=True), {}),
        (class_scores(5), {"task": "segment"}),
        (class_scores(5, 23, 39), {"head": "semantic"}),
        (class_scores(1), {"task": "segment"}),
        ({"out": class_scores(5)["y"], "aux": class_scores(5)["y"]}, {"task": "segment"}),
    ],
)
def test_maps_of_classes_are_read(outputs: Outputs, options: dict[str, Any]) -> None:
    spec = plan(outputs, **options).spec
    name, values = next(iter(outputs.items()))
    sure = values.min() >= 0
    expected = Semantic(output=name, values="probabilities" if sure else "logits")
    assert (spec.task, spec.decode) == ("segment", expected)
    assert len(spec.labels) == max(2, values.shape[1])


def test_one_channel_takes_one_name_or_two() -> None:
    for labels, expected in (
        (None, ("background", "foreground")),
        (("crack",), ("background", "crack")),
        (("road", "crack"), ("road", "crack")),
    ):
        result = plan(class_scores(1), task="segment", labels=labels)
        assert (result.spec.labels, result.warnings) == (expected, ())
    assert plan(
        {"y": class_scores(2, softmax=True)["y"][:, :1]}, task="segment"
    ).spec.decode == Semantic(output="y", values="probabilities")


@pytest.mark.parametrize(
    ("outputs", "options", "problem"),
    [
        (class_scores(5), {}, "add --task segment"),
        (class_scores(1), {}, "depth or a heat map.*add --task segment"),
        (class_scores(1), {"task": "segment", "labels": names(3)}, "takes one name"),
        (class_scores(5), {"task": "segment", "labels": names(4)}, "4 names, but the model has 5"),
        (class_scores(5, 40, 24), {"task": "segment"}, "no map of the whole 320x192 input"),
        (
            {"y": np.round(4 * np.abs(class_scores(1)["y"]))},
            {"task": "segment"},
            "before its ArgMax",
        ),
    ],
)
def test_maps_that_are_not_read_say_why(
    outputs: Outputs, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(EdgecnnError, match=problem):
        plan(outputs, **options)


@pytest.mark.parametrize("cell", [1, 8])
@pytest.mark.parametrize("options", [{}, {"task": "segment"}, {"head": "semantic"}])
def test_classes_that_the_graph_has_chosen_are_no_scores(
    options: dict[str, str], cell: int
) -> None:
    chosen = class_scores(5, HEIGHT // cell, WIDTH // cell)["y"].argmax(1).astype(np.float32)
    for classes in (chosen, 0 * chosen):
        assert "before its ArgMax, at scores[N,C,h,w]" in refusal({"y": classes}, **options)


@pytest.mark.parametrize("task", [None, "classify", "embed", "segment"])
def test_one_cell_is_no_map(task: str | None) -> None:
    scores = {"y": vectors(1000)["y"][:, :, None, None]}
    assert "return output.flatten(1)" in refusal(scores, task=task)
    assert "return output.flatten(1)" in refusal(scores, task=task, labels=names(1000))


def vectors(size: int) -> Outputs:
    return {"y": np.random.default_rng(0).normal(0, 2, (PICTURES, size)).astype(np.float32)}


def test_feature_vectors_are_no_scores() -> None:
    unit = vectors(10)["y"]
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    for outputs in (vectors(512), vectors(192), {"y": unit}):
        assert "--task embed, or --task classify" in refusal(outputs)
        assert plan(outputs, task="embed").spec.task == "embed"
        assert plan(outputs, task="classify").spec.task == "classify"
    assert plan(vectors(512), labels=names(512)).spec.task == "classify"
    softmax = np.exp(vectors(512)["y"])
    softmax /= softmax.sum(1, keepdims=True)
    for outputs in ({"y": softmax}, vectors(10), vectors(1000), vectors(1)):
        assert plan(outputs).spec.task == "classify"


def one_object(rows: int, *values: float) -> Array:
    """float32[PICTURES,rows,K] of almost zeros, with one row that shows something."""
    noise = np.random.default_rng(0).normal(0, 3e-4, (PICTURES, rows, len(values)))
    noise[:, 90] += values
    return noise.astype(np.float32)


LANDMARKS = (50, 50, 70, 50, 60, 60, 52, 75, 68, 75)
BINS = (0, 0, 5, -1, 0, 0, 0, 0) * 4
SPARSE: Mapping[str, tuple[Array, int, str]] = {
    "obb": (turned(one_object(336, 64, 64, 60, 20, 0, 0.9, 0, 1.2)), 3, "oriented boxes"),
    "pose of YOLOv7": (
        one_object(1008, 64, 64, 40, 40, 0.9, 0.9, *[60, 60, 1] * 17), 1, '"points": 17'
    ),
    "RT-DETR of two classes, exchanged": (
        turned(one_object(300, 0.5, 0.5, 0.4, 0.3, 0.05, 0.9)), 2, "DETR"
    ),
    "YOLOv8, exchanged": (one_object(336, 64, 64, 40, 40, 0, 0.9, 0), 3, "YOLOv8 .*exchanged"),
    "YOLOv5, exchanged": (
        turned(one_object(336, 64, 64, 40, 40, 0.95, 0, 0.9, 0)), 3, "YOLOv5 .*exchanged"
    ),
    "score and class exchanged": (one_object(300, 44, 44, 84, 84, 1, 0.9), 3, "no class number"),
    "class, score, corners": (one_object(300, 1, 0.9, 44, 44, 84, 84), 3, "no score"),
}  # fmt: skip


SPARSE_KNOWN: Mapping[str, tuple[Array, int, str]] = {
    "YOLOX": (one_object(336, 0.5, 0.5, 1.6, 1.1, 0.95, 0, 0.9, 0), 3, "yolox"),
    "NanoDet": (one_object(336, 0, 0.9, 0, *BINS), 3, "nanodet"),
    "NanoDet, one class": (one_object(336, 0.9, *BINS), 1, "nanodet"),
    "face": (one_object(1008, 64, 64, 40, 40, 0.9, *LANDMARKS, 0.9), 1, "yolov5-face"),
    "RT-DETR of two classes": (one_object(300, 0.5, 0.5, 0.4, 0.3, 0.05, 0.9), 2, "detr"),
}  # fmt: skip


@pytest.mark.parametrize("layout", SPARSE_KNOWN)
def test_one_object_is_enough_to_be_recognized(layout: str) -> None:
    table, classes, head = SPARSE_KNOWN[layout]
    for options in ({}, {"labels": names(classes)}):
        spec = plan({"o": table}, size=(128, 128), **options).spec
        assert spec.decode == plan({"o": table}, size=(128, 128), head=head).spec.decode
        assert spec.decode.classes == classes  # type: ignore[union-attr] # the case is that one
    assert f"--head {head}" in problem({"o": table}, size=(128, 128), head="ssd")


@pytest.mark.parametrize("layout", SPARSE)
def test_one_object_is_enough(layout: str) -> None:
    table, classes, name = SPARSE[layout]
    for options in ({}, {"labels": names(classes)}, {"head": "ssd"}, {"head": "yunet"}):
        message = refusal({"o": table}, size=(128, 128), **options)
        assert re.search(name, message), message


def test_one_object_of_a_known_head_is_read() -> None:
    size = (128, 128)
    v8 = turned(one_object(336, 64, 64, 40, 40, 0, 0.9, 0))
    assert plan({"o": v8}, size=size).spec.decode == Yolo(output="o", layout="v8", classes=3)
    v5 = one_object(336, 64, 64, 40, 40, 0.95, 0, 0.9, 0)
    assert plan({"o": v5}, size=size).spec.decode == Yolo(output="o", layout="v5", classes=3)
    rows = one_object(300, 44, 44, 84, 84, 0.9, 1)
    decode = plan({"o": rows}, size=size, labels=names(3)).spec.decode
    assert decode == Yolo(output="o", layout="nms", classes=3)
    assert "class number 1 occurs" in refusal({"o": rows}, size=size, labels=names(1))


@pytest.mark.parametrize("logarithms", [False, True])
def test_the_steps_of_a_text_reader_are_no_boxes(logarithms: bool) -> None:
    logits = Maker(1).normal(37, rows=24)
    softmax = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    assert "--task ocr" in refusal({"y": np.log(softmax) if logarithms else softmax})
    assert "--task ocr" in refusal({"y": logits})


def test_an_untrained_network_is_read_by_its_shape() -> None:
    m = Maker(1)
    even = m.normal(6, 0.5, 0.02)
    v8 = turned(joined(m.boxes(), even))
    assert plan({"o": v8}).spec.decode == Yolo(output="o", layout="v8", classes=6)
    v5 = joined(m.boxes(), even)
    assert plan({"o": v5}).spec.decode == Yolo(output="o", layout="v5", classes=5)


def test_key_points_that_are_declared_are_taken() -> None:
    m = Maker(1)
    table = turned(joined(m.boxes(), m.scores(1), m.key_points(17, 3)))
    fields = {"points": 17, "point_dims": 3}
    for metadata in (None, {"task": "pose", "names": "{0: 'person'}", "kpt_shape": "[17, 3]"}):
        decode = plan({"o": table}, metadata, decode=fields, task="detect").spec.decode
        assert decode == Yolo(output="o", layout="v8", classes=1, points=17, point_dims=3)


def test_the_advice_for_keypoints_behind_objectness_works() -> None:
    m = Maker(1)
    table = {"o": joined(m.boxes(), m.scores(2), m.key_points(17, 3))}
    for labels in (None, ("person",)):
        message = refusal(table, labels=labels)
        assert """--task detect --decode '{"points": 17, "point_dims": 3}'""" in message
        fields = {"points": 17, "point_dims": 3}
        decode = plan(table, task="detect", labels=labels, decode=fields).spec.decode
        assert decode == Yolo(output="o", layout="v5", classes=1, points=17, point_dims=3)
    assert "a table with objectness (YOLOv7-pose) is no such head" in refusal(table, task="pose")


def test_scores_before_their_sigmoid_are_taken_when_said() -> None:
    m = Maker(2)
    table = {"o": turned(joined(m.boxes(), m.logits(3)))}
    assert '{"values": "logits"}' in refusal(table)
    decode = plan(table, decode={"values": "logits"}).spec.decode
    assert isinstance(decode, Yolo)
    assert (decode.values, decode.classes) == ("logits", 3)


def test_fractions_of_the_input_are_taken_when_said() -> None:
    m = Maker(3)
    boxes = (m.boxes() / np.float32([*m.size, *m.size])).clip(0, 1)
    table = {"o": turned(joined(boxes, m.scores(3)))}
    assert '{"normalized": true}' in refusal(table)
    assert plan(table, decode={"normalized": True}).spec.decode.normalized  # type: ignore[union-attr] # the case is that one
    pixels = {"o": turned(joined(m.boxes(), m.scores(3)))}
    assert "leave it out" in refusal(pixels, decode={"normalized": True})


@pytest.mark.parametrize("classes", [1, 3, 20])
@pytest.mark.parametrize("normalized", [False, True])
def test_corners_and_scores_are_a_decoded_ssd(classes: int, normalized: bool) -> None:
    m = Maker(4)
    boxes = m.corners() / (np.float32([*m.size, *m.size]) * 1.5 if normalized else 1)
    boxes = boxes.clip(0, 1) if normalized else boxes
    logits = m.logits(1 + classes)
    softmax = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    decode = plan({"boxes": boxes, "scores": softmax}).spec.decode
    assert isinstance(decode, Ssd)
    assert (decode.decoded, decode.normalized, decode.background) == (True, normalized, True)
    assert decode.values == "probabilities"
    spec = plan({"boxes": boxes, "scores": m.scores(classes + 1)}, head="ssd").spec
    assert isinstance(spec.decode, Ssd)
    assert (spec.decode.background, len(spec.labels)) == (False, classes + 1)


def test_boxes_far_beyond_the_picture_are_still_fractions() -> None:
    m = Maker(11)
    margin = np.float32([-0.6, -0.6, 0.6, 0.6])  # those of UltraFace's largest priors, at an edge
    boxes = m.corners() / np.float32([*m.size, *m.size]) + margin
    decode = plan({"boxes": boxes, "scores": m.scores(2)}, labels=names(2)).spec.decode
    assert (type(decode), decode.normalized) == (Ssd, True)  # type: ignore[union-attr] # an Ssd
    rows = rows_after_selection(m, 7)
    rows["boxes"] = rows["boxes"] / np.float32([*m.size, *m.size]) + margin
    decode = plan(rows, labels=names(7)).spec.decode
    assert (type(decode), decode.normalized) == (Ranked, True)  # type: ignore[union-attr] # a Ranked


@pytest.mark.parametrize("boxes", ["detection_boxes", "loc", "bbox_regression"])
def test_boxes_are_told_from_the_scores_of_four_classes_by_name(boxes: str) -> None:
    m = Maker(6)
    decode = plan({"detection_scores": m.scores(4), boxes: m.corners()}).spec.decode
    assert isinstance(decode, Ssd)
    assert (decode.boxes, decode.scores) == (boxes, "detection_scores")


def test_corners_are_not_decoded_twice() -> None:
    m = Maker(5)
    outputs = {"boxes": m.corners(), "scores": m.scores(4)}
    priors = {"strides": [8, 16, 32], "min_sizes": [[16], [32], [64]]}
    assert '{"decoded": true}' in refusal(outputs, head="ssd", decode=priors)
    assert '{"decoded": true}' in refusal(outputs, head="yolov8")
    offsets = {"boxes": m.normal(4), "scores": m.scores(4)}
    assert "no corners" in refusal(offsets, head="ssd", decode={"decoded": True})
    assert isinstance(plan(offsets, head="ssd", decode=priors).spec.decode, Ssd)


def test_an_output_without_a_batch_is_refused_with_its_true_shape() -> None:
    m = Maker(6)
    message = refusal({"table": joined(m.boxes(), m.scores(3)).reshape(-1, 7)})
    assert f"table[{m.count}, 7]" in message
    assert "without an axis for the batch" in message


@pytest.mark.parametrize(("head", "other"), [("yolov8", "yolov5"), ("yolov5", "yolov8")])
def test_boxes_on_the_other_axis_are_not_left_to_a_guess(head: str, other: str) -> None:
    """Without --head the guess would count objectness as a class, or a class as objectness."""
    m = Maker(8)
    table = joined(m.boxes(), m.scores(2))
    with pytest.raises(UsageError) as raised:
        plan({"o": table if head == "yolov8" else turned(table)}, head=head)
    message = str(raised.value)
    assert "return output.permute(0, 2, 1), or use" in message
    assert f"--head {other} if" in message
    assert "leave --head out" not in message


def test_scores_that_leave_0_to_1_are_no_key_points_where_coordinates_would_reach_further() -> None:
    m = Maker(8)
    scores = m.scores(8)
    scores[..., 2:] = 12 * scores[..., 2:] + 3  # neither probabilities nor negative logits
    with pytest.raises(EdgecnnError, match=r"leave 0\.\.1, so they are no classes") as raised:
        plan({"o": turned(joined(m.boxes(), scores))})
    assert "pose" not in str(raised.value)
    assert """--decode '{"values": "logits"}'""" in str(raised.value)


ULTRALYTICS = {
    "task": "detect", "stride": "32", "batch": "1", "imgsz": "[192, 320]",
    "names": "{0: 'plate', 1: 'car'}", "args": "{'nms': False}",
}  # fmt: skip


def test_what_the_exporter_wrote_is_used() -> None:
    m = Maker(8)
    metadata = read_metadata(ULTRALYTICS)
    assert metadata.spec == {"input": "320x192", "task": "detect", "labels": ("plate", "car")}
    spec = plan({"o": turned(joined(m.boxes(), m.scores(2)))}, ULTRALYTICS, **metadata.spec).spec
    assert (spec.labels, spec.head_origin) == (("plate", "car"), "given")
    guess = plan({"o": turned(joined(m.boxes(), m.scores(2)))}).spec
    assert guess.head_origin == "guessed"
    assert plan({"o": turned(joined(m.boxes(), m.scores(2)))}, head="yolov8").spec.head_origin == (
        "given"
    )


@pytest.mark.parametrize(
    ("task", "name"),
    [("segment", "segmentation"), ("obb", "oriented boxes"), ("pose", r'\{"points": 5')],
)
def test_a_task_in_the_file_is_believed(task: str, name: str) -> None:
    m = Maker(9)
    table = {"o": turned(joined(m.boxes(), m.scores(4)))}
    metadata = {"task": task, "names": "['a']", "kpt_shape": "[5, 2]"}
    with pytest.raises(EdgecnnError, match=name):
        plan(table, metadata, head="yolov8")


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({}, ExporterMetadata()),
        ({"names": "['a', 'b']"}, ExporterMetadata(labels=("a", "b"))),
        ({"names": "{1: 'a'}"}, ExporterMetadata()),
        ({"names": "__import__('os')"}, ExporterMetadata()),
        ({"names": "[" * 5000}, ExporterMetadata()),
        ({"names": "{'a': 1, 2: 'b'}", "imgsz": "x"}, ExporterMetadata()),
        ({"imgsz": "640", "stride": "32"}, ExporterMetadata(size=(640, 640), stride=32)),
        ({"imgsz": "[-1, 640]", "stride": "-2"}, ExporterMetadata()),
        ({"kpt_shape": "[17, 3]"}, ExporterMetadata(keypoint_shape=(17, 3))),
        ({"kpt_shape": "[17, 9]"}, ExporterMetadata()),
        ({"end2end": "True"}, ExporterMetadata(end_to_end=True)),
        ({"character": "A\nB\nÖ"}, ExporterMetadata(characters=("A", "B", "Ö"))),
    ],
)
def test_metadata_in_any_state(entries: dict[str, str], expected: ExporterMetadata) -> None:
    assert read_metadata(entries) == expected


def test_metadata_in_torchscript() -> None:
    text = b'{"task": "segment", "names": {"0": "a", "1": "b"}, "imgsz": [96, 64], "stride": 32}'
    expected = ExporterMetadata(task="segment", labels=("a", "b"), size=(96, 64), stride=32)
    assert read_json_metadata(text) == expected
    for damaged in (b"", b"[1]", b"{", b"\xff", b"[" * 100_000):
        assert read_json_metadata(damaged) == ExporterMetadata()


def test_characters_in_the_file_are_the_readers() -> None:
    entries = {"character": "A\nB\nC"}
    steps = np.zeros((PICTURES, 12, 5), np.float32)
    spec = plan({"y": steps}, entries, **read_metadata(entries).spec).spec
    assert (spec.task, spec.decode.charset) == ("ocr", ("A", "B", "C", " "))  # type: ignore[union-attr] # the case is that one
