"""Our own time per frame: resizing and decoding, all that is not the engine or the video decoder.

Real 1080p frames, linear interpolation. An engine runs between the two steps, so that both find
the caches and the cores as they are in use. A bare ``cv2.resize`` of the same frame to the same
size, before or after ours in turns, is the yardstick. The YOLOv8n head carries a busy street: 30
objects of 80 classes, 8 anchors over the threshold for each; those of poses, rotated boxes and
masks 20 objects, as many anchors each. Reached: ≤ 1.7 (boxes), 1.9 (poses), 2.2 (rotated boxes) and
1.5 (YuNet) times the bare resize, medians; the goal of masks is 5.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from lib.experiment import Experiment, Options, Row, main
from lib.material import export_yunet, video_frames

from edgecnn_bench.reference_workload import ReferenceWorkload
from edgecnn_runtime import Model, load
from edgecnn_runtime.backends.candidate import Candidate
from edgecnn_runtime.backends.fake import Fake
from edgecnn_runtime.bundle.manifest import Obb, Output, Pose, Segment, Yolo
from edgecnn_runtime.preprocess import compute_geometry
from edgecnn_runtime.selection.candidates import Choice
from edgecnn_runtime.types import Floats, Pixels, Tensors

ROUNDS, QUICK, BURST = 12, 2, 30
GOALS = {
    "YOLOv8n head 640x384": 1.7,
    "YOLOv8n-pose head 640x384": 1.9,
    "YOLOv8n-obb head 640x384": 2.2,
    "YOLOv8n-seg head 640x384": 5.0,
    "YuNet 640x352": 1.5,
}
OBJECTS, FEWER, ANCHORS = 30, 20, 8
DOTA = 15
"""Classes of the usual data of rotated boxes."""
MAPS, ROWS, COLUMNS = 32, 96, 160
"""Of a head with masks: its second output."""
STEPS = ("resize", "prepare", "decode")


def measure(options: Options) -> Iterator[Row]:
    """Every head."""
    frames = video_frames(60)
    with tempfile.TemporaryDirectory() as folder:
        yunet = load(export_yunet(Path(folder), frames), precision="f32", cache_dir=folder)
        heads = (
            yolo_after(yunet, "detect", Yolo(output="output0", layout="v8", classes=80), street()),
            yolo_after(yunet, "pose", poses(), people()),
            yolo_after(yunet, "obb", Obb(output="output0", layout="v8", classes=DOTA), harbor()),
            yolo_after(yunet, "segment", segments(), *silhouettes()),
        )
        models = dict(zip(GOALS, (*heads, yunet), strict=True))
        rounds = QUICK if options.quick else ROUNDS
        steps, reference_ms = time_steps(models, frames, rounds)
    for name, times in steps.items():
        total = times[:, 1:].sum(1)
        yield {
            "what": name,
            "value": np.median(total) / np.median(times[:, 0]),
            "goal": GOALS[name],
            "own_ms": {f"p{q}": np.percentile(total, q) for q in (10, 50, 90, 99)},
            "median_ms": dict(zip(STEPS, np.median(times, axis=0), strict=True)),
            "resize_ms": times[:, 0],
            "prepare_ms": times[:, 1],
            "decode_ms": times[:, 2],
            "reference_ms": reference_ms,
        }


def time_steps(
    models: Mapping[str, Model], frames: Sequence[Pixels], rounds: int
) -> tuple[dict[str, Any], float]:
    """Milliseconds of STEPS, float[frames,3] by model, in alternating bursts.

    Also the median of the reference workload between the bursts, in milliseconds.
    """
    times: dict[str, list[tuple[float, float, float]]] = {name: [] for name in models}
    reference, work = ReferenceWorkload(), []
    height, width = frames[0].shape[:2]
    buffers = {}
    for name, model in models.items():
        left, top, right, bottom = compute_geometry(model.spec.input, width, height).target
        buffers[name] = np.empty((bottom - top, right - left, 3), np.uint8)
    clock = time.perf_counter
    for number in range(rounds):
        for name, model in models.items():
            work.extend(reference.burst(0.03))
            for i in range(BURST):
                frame = frames[(number * BURST + i) % len(frames)]
                before = bare_resize(frame, buffers[name]) if i % 2 else 0.0
                start = clock()
                geometry = model.prepare(frame)
                prepared = clock()
                resized = before or bare_resize(frame, buffers[name])
                outputs = model.infer()
                inferred = clock()
                model.decode(outputs, 0, geometry)
                end = clock()
                times[name].append((resized, prepared - start, end - inferred))
    steps = {name: np.array(pairs) * 1e3 for name, pairs in times.items()}
    return steps, float(np.median(work)) / 1e6


def bare_resize(frame: Pixels, buffer: Pixels) -> float:
    """Seconds of ``cv2.resize`` into a buffer."""
    start = time.perf_counter()
    cv2.resize(frame, buffer.shape[1::-1], dst=buffer)
    return time.perf_counter() - start


def yolo_after(
    engine: Model, task: str, decode: Yolo | Pose | Obb | Segment, *tensors: Floats
) -> Model:
    """A model with a YOLO head at 640x384; where its engine would run, ``engine`` does."""
    manifest = engine.manifest
    outputs = {f"output{i}": (values, np.empty_like(values)) for i, values in enumerate(tensors)}
    spec = msgspec.structs.replace(
        manifest.model,
        task=task,
        input=msgspec.structs.replace(
            manifest.model.input, width=640, height=384, resize="letterbox"
        ),
        outputs=tuple(
            Output(name=name, dtype="float32", shape=(None, *values.shape[1:]))
            for name, (values, _) in outputs.items()
        ),
        decode=decode,
        labels=tuple(f"class {i}" for i in range(decode.classes)),
    )

    def answer(_: Pixels) -> Tensors:
        engine.infer()
        for values, output in outputs.values():
            np.copyto(
                output, values
            )  # an engine writes its outputs last: decoding finds them in the cache
        return {name: output for name, (_, output) in outputs.items()}

    candidate = Candidate(manifest.artifacts[0], "fake", "f32", 1, "its head is constant")
    yolo = msgspec.structs.replace(manifest, model=spec)
    return Model(yolo, Fake((1, 384, 640, 3), answer), Choice(candidate))


def street() -> Floats:
    """float32[1,84,5040]: noise under the threshold, and every object over it for some anchors."""
    return crowd(OBJECTS, 80)[0]


def people() -> Floats:
    """float32[1,56,5040]: the same with 17 keypoints."""
    head, centers = crowd(FEWER, 1, 17 * 3)
    rng = np.random.default_rng(9)
    for anchor, center in centers.items():
        points = np.hstack([center + rng.normal(0, 20, (17, 2)), rng.uniform(0, 1, (17, 1))])
        head[0, 5:, anchor] = points.ravel()
    return head


def poses() -> Pose:
    """One class, 17 keypoints, and lines between them."""
    skeleton = tuple((i, i + 1) for i in range(16))
    return Pose(output="output0", layout="v8", classes=1, points=17, skeleton=skeleton)


def harbor() -> Floats:
    """float32[1,20,5040]: the same with angles."""
    head, centers = crowd(FEWER, DOTA, 1)
    rng = np.random.default_rng(10)
    angles = {center: rng.uniform(-0.78, 2.35) for center in map(tuple, centers.values())}
    for anchor, center in centers.items():
        head[0, -1, anchor] = angles[tuple(center)] + rng.normal(0, 0.02)
    return head


def segments() -> Segment:
    """80 classes; suppression as for boxes, so that one box of each object stays."""
    return Segment(output="output0", maps="output1", layout="v8", classes=80, iou=0.45)


def silhouettes() -> tuple[Floats, Floats]:
    """float32[1,116,5040] with weights, and smooth maps, positive in about half of each box."""
    head, _ = crowd(FEWER, 80, MAPS)
    rng = np.random.default_rng(11)
    head[0, -MAPS:] = rng.normal(0, 1, (MAPS, 5040))
    noise = rng.normal(0, 1, (MAPS, ROWS, COLUMNS)).astype(np.float32)
    return head, np.stack([cv2.GaussianBlur(plane, (0, 0), 4) for plane in noise])[None]


def crowd(objects: int, classes: int, extra: int = 0) -> tuple[Floats, dict[int, Any]]:
    """float32[1,4+C+extra,5040], and for anchors over the threshold the center of their object."""
    rng = np.random.default_rng(8)
    head = np.zeros((1, 4 + classes + extra, 5040), np.float32)
    head[0, :4] = rng.uniform(10, 300, (4, 5040))
    head[0, 4 : 4 + classes] = rng.uniform(0, 0.1, (classes, 5040)) ** 2
    places = rng.permutation(5040)[: objects * ANCHORS].reshape(objects, ANCHORS)
    centers = {}
    for anchors in places:
        center = rng.uniform((40, 40), (600, 340))
        size = rng.uniform(20, 90, 2)
        kind = 4 + rng.integers(classes)
        for anchor in anchors.tolist():
            head[0, :4, anchor] = np.concatenate((center, size)) + rng.normal(0, 1.5, 4)
            head[0, kind, anchor] = rng.uniform(0.3, 0.95)
            centers[anchor] = center
    return head, centers


if __name__ == "__main__":
    experiment = Experiment(
        name="own_time",
        title="time per frame outside the engine over a bare cv2.resize, from 1080p",
        measure=measure,
        columns={
            "": "{what}",
            "resize": "{median_ms[resize]:.2f} ms",
            "prepare": "{median_ms[prepare]:.2f} ms",
            "decode": "{median_ms[decode]:.2f} ms",
            "ours": "{value:.2f} x",
            "goal": "≤ {goal} x",
        },
        notes=lambda rows: [f"reference workload meanwhile: {rows[0]['reference_ms']:.2f} ms"],
    )
    sys.exit(main(__doc__, experiment))
