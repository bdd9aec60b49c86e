"""What the whole way of a frame allocates: nothing of the size of a picture or a head, ever."""

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from edgecnn_runtime.assembly import make_pipeline
from edgecnn_runtime.backends import fake
from edgecnn_runtime.bundle import manifest as m
from edgecnn_runtime.inference import ModelInference
from edgecnn_runtime.model import Model, load
from edgecnn_runtime.recipe import Detect, Recipe
from edgecnn_runtime.scheduler import Scheduler
from edgecnn_runtime.selection.candidates import Candidate, Choice
from edgecnn_runtime.source.latest import LatestSlot
from edgecnn_runtime.stats import StreamStats
from edgecnn_runtime.types import Frame, FrameResult

BLOCK = 4096
SMALL = 4096
"""Bytes of objects that are far smaller than a block: the result and what leads to it."""
PER_DETECTION = 1024
"""Bytes, generously: a Detection with its points is about 700."""
OBJECTS = np.array([3, 400, 900])
"""Where heads show something."""
PIXELS = np.full((1080, 1920, 3), 90, np.uint8)

Outputs = dict[str, np.ndarray]


class Way:
    """One camera's way from its slot to its figures, frame by frame, in one thread."""

    def __init__(
        self, model: Model, follow: Callable[[FrameResult], object] = lambda _: None
    ) -> None:
        self.follow = follow
        self.scheduler = Scheduler(ModelInference(model))
        self.frames: LatestSlot[Frame] = LatestSlot()
        self.results: LatestSlot[FrameResult] = LatestSlot()
        self.stats = StreamStats()
        self.scheduler.add("camera", self.frames, self.results, stats=self.stats)

    def walk(self, index: int) -> FrameResult:
        frame = Frame(PIXELS, index, time.monotonic(), None, "camera", True)
        self.frames.put(frame, replace=True)
        assert self.scheduler.step()
        result = self.results.poll()
        assert result is not None
        self.stats.add(result)
        self.follow(result)
        return result

    def peak(self) -> int:
        """Bytes that every frame needs besides those in use before; noise is not in every one."""
        peaks = []
        for index in range(10):
            start, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            self.walk(index)
            peaks.append(tracemalloc.get_traced_memory()[1] - start)
        return min(peaks)

    def growth(self) -> int:
        """Bytes that a thousand frames leave behind."""
        start = in_use()
        for index in range(1000):
            self.walk(index)
        return in_use() - start


def in_use() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
def test_a_thousand_frames_leave_nothing_behind(make_bundle: Callable[..., Path]) -> None:
    """With a real engine. A frame that left one object would leave 16 bytes or more."""
    with load(make_bundle("allocation"), backend="onnxruntime") as model:
        way = Way(model)
        for index in range(50):
            way.walk(index)
        assert way.peak() < SMALL + BLOCK
        growth = [way.growth() for _ in range(3)]
    assert min(growth) < 16_000  # other threads of this process may allocate meanwhile, once


def yolo(layout: Any) -> tuple[Any, Outputs]:
    """80 classes at 640x640, as YOLOv8 and YOLOv5 have them, or suppressed in the graph."""
    columns = {"v5": 85, "v8": 84, "nms": 6, "yolox": 85}[layout]
    counts = {"v5": 25200, "v8": 8400, "nms": 1000, "yolox": 8400}
    rows = np.zeros((1, counts[layout], columns), np.float32)
    if layout != "yolox":
        rows[0, OBJECTS, :4] = OBJECTS[:, None] / 2 + (0, 0, 30, 30)
    rows[0, OBJECTS, 4:6] = 0.9
    head = np.ascontiguousarray(rows.swapaxes(1, 2)) if layout == "v8" else rows
    return m.Yolo(output="out", layout=layout, classes=80), {"out": head}


def yunet() -> tuple[Any, Outputs]:
    widths = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    outputs: Outputs = {
        f"{role}_{stride}": np.zeros((1, (640 // stride) ** 2, width), np.float32)
        for stride in (8, 16, 32)
        for role, width in widths.items()
    }
    outputs["cls_8"][0, OBJECTS] = outputs["obj_8"][0, OBJECTS] = 0.9
    return m.AnchorFree(variant="yunet", outputs={name: name for name in outputs}), outputs


def centerface() -> tuple[Any, Outputs]:
    widths = {"heatmap": 1, "scale": 2, "offset": 2, "landmarks": 10}
    outputs = {role: np.zeros((1, n, 160, 160), np.float32) for role, n in widths.items()}
    outputs["heatmap"].reshape(-1)[OBJECTS * 20] = 0.9
    names = {role: role for role in widths}
    return m.AnchorFree(variant="centerface", strides=(4,), outputs=names), outputs


def ssd(values: Any) -> tuple[Any, Outputs]:
    outputs = {n: np.zeros((1, 16800, k), np.float32) for n, k in (("b", 4), ("s", 2), ("l", 10))}
    outputs["s"][0, :, 0] = 5.0 if values == "logits" else 1.0
    outputs["s"][0, OBJECTS, 1] = 9.0 if values == "logits" else 0.9
    spec = m.Ssd(
        boxes="b", scores="s", landmarks="l", points=5, values=values, strides=(8, 16, 32),
        min_sizes=((16.0, 32.0), (64.0, 128.0), (256.0, 512.0)),
    )  # fmt: skip
    return spec, outputs


def scrfd() -> tuple[Any, Outputs]:
    widths = {"score": 1, "bbox": 4, "kps": 10}
    outputs: Outputs = {
        f"{role}_{stride}": np.ones((1, 2 * (640 // stride) ** 2, width), np.float32)
        for stride in (8, 16, 32)
        for role, width in widths.items()
    }
    for stride in (8, 16, 32):
        outputs[f"score_{stride}"][:] = 0
    outputs["score_8"][0, OBJECTS + 200] = 0.9
    names = {name: name for name in outputs}
    return m.AnchorFree(variant="scrfd", anchors=2, outputs=names), outputs


def gfl() -> tuple[Any, Outputs]:
    rows = np.zeros((1, 8500, 80 + 32), np.float32)
    rows[0, OBJECTS + 100, 7] = 0.9
    return m.Gfl(output="out", classes=80), {"out": rows}


def detr(background: bool) -> tuple[Any, Outputs]:
    outputs = {"b": np.full((1, 1000, 4), 0.5, np.float32), "s": np.empty(0)}
    outputs["s"] = np.full((1, 1000, 92), -6, np.float32)
    outputs["s"][..., -1] = 2
    outputs["s"][0, OBJECTS, 5] = 9
    return m.Detr(boxes="b", scores="s", classes=91, background=background), outputs


def ranked() -> tuple[Any, Outputs]:
    outputs = {"b": np.zeros((1, 1000, 4), np.float32), "s": np.zeros((1, 1000), np.float32)}
    outputs["l"] = np.zeros((1, 1000), np.float32)
    outputs["b"][..., 2:] = 50
    outputs["s"][0, OBJECTS] = 0.9
    return m.Ranked(boxes="b", scores="s", labels="l", classes=80), outputs


def decoded_ssd() -> tuple[Any, Outputs]:
    outputs = {n: np.zeros((1, 16800, k), np.float32) for n, k in (("b", 4), ("s", 2))}
    outputs["b"][0, OBJECTS] = [(at, at, at + 80, at + 80) for at in (9, 209, 409)]
    outputs["s"][0, OBJECTS, 1] = 0.9
    return m.Ssd(boxes="b", scores="s", decoded=True, normalized=False), outputs


def ctc(layout: Any) -> tuple[Any, Outputs]:
    """6,624 characters in 40 steps, as PP-OCR's Chinese charset."""
    steps = np.zeros((1, 40, 6625), np.float32)
    steps[0, :, 0] = 5.0
    steps[0, 4:18:2, 7] = 9.0
    axes = ["NTC".index(axis) for axis in layout]
    charset = tuple(map(chr, range(0x4E00, 0x4E00 + 6624)))
    spec = m.Ctc(output="out", charset=charset, layout=layout)
    return spec, {"out": np.ascontiguousarray(steps.transpose(axes))}


def flat(spec: Any, size: int) -> tuple[Any, Outputs]:
    return spec, {"out": np.linspace(-3, 3, size, dtype=np.float32)[None]}


HEADS: Mapping[str, Callable[[], tuple[Any, Outputs]]] = {
    "yolo v5": lambda: yolo("v5"),
    "yolo v8": lambda: yolo("v8"),
    "yolo nms": lambda: yolo("nms"),
    "yolox": lambda: yolo("yolox"),
    "scrfd": scrfd,
    "gfl": gfl,
    "detr": lambda: detr(False),
    "detr softmax": lambda: detr(True),
    "ranked": ranked,
    "yunet": yunet,
    "centerface": centerface,
    "ssd": lambda: ssd("probabilities"),
    "ssd logits": lambda: ssd("logits"),
    "ssd decoded": decoded_ssd,
    "ctc NTC": lambda: ctc("NTC"),
    "ctc NCT": lambda: ctc("NCT"),
    "ctc TNC": lambda: ctc("TNC"),
    "classify": lambda: flat(m.Classify(output="out"), 1000),
    "classify, many labels": lambda: flat(m.Classify(output="out", multi_label=True), 1000),
    "embed": lambda: flat(m.Embed(output="out"), 512),
}
TASKS = {m.Ctc: "ocr", m.Classify: "classify", m.Embed: "embed"}


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("head", HEADS)
def test_no_head_is_copied(build: Any, head: str) -> None:
    """What is allocated depends on what a frame shows, not on what the engine puts out."""
    spec, outputs = HEADS[head]()
    batch = spec.layout.index("N") if isinstance(spec, m.Ctc) else 0
    shapes = {
        name: tuple(None if axis == batch else size for axis, size in enumerate(value.shape))
        for name, value in outputs.items()
    }
    made = build.manifest(
        spec, shapes, size=build.input(640, 640), task=TASKS.get(type(spec), "detect")
    )
    engine = fake.Fake((1, 640, 640, 3), lambda _: outputs)
    way = Way(Model(made, engine, Choice(Candidate(made.artifacts[0], "fake", "f32", 1, "given"))))
    for index in range(10):
        found = way.walk(index).result
    allowed = SMALL + BLOCK
    if isinstance(found, list):
        assert len(found) == len(OBJECTS)
        allowed += PER_DETECTION * len(found)
    assert way.peak() < allowed


PER_TRACK = 2048
"""Bytes, generously: a Track with its box, and the numbers that its filter works with."""


@pytest.mark.usefixtures("traced")
def test_following_objects_copies_no_picture(build: Any) -> None:
    """A pipeline behind the detector, while nothing happens: tracks stay, and no event is made."""
    spec, outputs = yunet()
    shapes = {name: (None, *value.shape[1:]) for name, value in outputs.items()}
    made = build.manifest(spec, shapes, size=build.input(640, 640), task="detect")
    engine = fake.Fake((1, 640, 640, 3), lambda _: outputs)
    choice = Choice(Candidate(made.artifacts[0], "fake", "f32", 1, "given"))
    with Model(made, engine, choice) as model:
        recipe = Recipe(track={"kind": "two-pass"}, detect=Detect(model="given.edge"))
        pipeline = make_pipeline(replace(recipe, events=("entered", "left")), model, camera="gate")
        way = Way(model, pipeline.follow)
        for index in range(20):
            way.walk(index)
        assert len(pipeline.tracks) == len(OBJECTS)
        assert way.peak() < SMALL + BLOCK + (PER_DETECTION + PER_TRACK) * len(OBJECTS)
        growth = [way.growth() for _ in range(2)]
    assert min(growth) < 16_000
