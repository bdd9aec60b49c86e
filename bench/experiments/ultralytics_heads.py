"""Ultralytics' networks, whole way: the file it exports, our bundle of it, and both on photographs.

Each network is the package's own (its YAML), with random weights that find something in every
picture (ultralytics/worker.py). It is exported by the package and from that file by ``edgecnn
export FILE``, without a flag more. Both then run on the same photographs, theirs by its ONNX path.
Paired are objects of one class, the best overlap first. A picture in which it finds fewer than 20
objects does not count, nor does an object within 0.01 of the threshold, nor one without an area,
which random weights of YOLO26 give (x2 < x1) and which we drop.

Reached: an IoU of 0.95, keypoints within 2 pixels, angles within 1 degree, scores within 0.01.
"""

import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

EXPERIMENTS = Path(__file__).parent
sys.path.append(str(EXPERIMENTS.parent / "baselines"))  # environments, and processes in them

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from lib.experiment import Experiment, Options, Row, main  # noqa: E402
from lib.material import ASSETS, video_frames, write_pictures  # noqa: E402
from runner.environments import ensure, requirements  # noqa: E402
from runner.process import Worker  # noqa: E402

from edgecnn_export.config import ExportConfig  # noqa: E402
from edgecnn_export.pipeline import export  # noqa: E402
from edgecnn_runtime import load  # noqa: E402
from edgecnn_runtime.geometry import iou, is_box  # noqa: E402
from edgecnn_runtime.tasks.obb import rotated_iou  # noqa: E402
from edgecnn_runtime.types import Box, RotatedBox  # noqa: E402

NETWORKS = {
    f"{family}n{suffix}": task
    for family in ("yolov8", "yolo11", "yolo26")
    for suffix, task in (("", "detect"), ("-pose", "pose"), ("-obb", "obb"))
}
WIDTH, HEIGHT, IOU, THRESHOLD = 640, 384, 0.7, 0.25
SHARE = 0.02
"""Of the cells, at least so many pass the threshold in every picture."""
PICTURES, QUICK_PICTURES = 24, 4
LEAST = 20
"""Objects in a picture that counts."""
PARTNER = 0.5
GOAL_IOU, GOAL_PIXELS, GOAL_DEGREES, GOAL_SCORE = 0.95, 2.0, 1.0, 0.01


def measure(options: Options) -> Iterator[Row]:
    """One row per network."""
    count = QUICK_PICTURES if options.quick else PICTURES
    with tempfile.TemporaryDirectory() as folder:
        pictures = photographs(Path(folder), count)
        for network in options.names:
            yield compare(network, pictures, Path(folder))


def photographs(folder: Path, count: int) -> list[str]:
    """Files of photographs of streets and of frames of the video, half each."""
    scenes = sorted((ASSETS / "plates" / "scenes").glob("*/*.jpg"))
    frames = write_pictures(folder / "frames", video_frames()[:: 105 * 2 // count])
    files = [*scenes[:: len(scenes) * 2 // count], *sorted(frames.iterdir())]
    return [str(file) for file in files]


def compare(network: str, pictures: Sequence[str], folder: Path) -> Row:
    """The same file by both, on these pictures."""
    task, size = NETWORKS[network], {"height": HEIGHT, "width": WIDTH}
    with Worker(EXPERIMENTS / "ultralytics" / "worker.py", ensure("ultralytics")) as worker:
        file = worker.call(
            "build", out=str(folder), network=network, pictures=pictures, share=SHARE, **size
        )
        theirs = worker.call("results", model=file, task=task, pictures=pictures, iou=IOU, **size)
    bundle = export(
        ExportConfig(model=file, out=str(folder / f"{network}.edge"), iou=IOU, backends=BACKENDS)
    ).bundle
    with load(bundle.path, backend="onnxruntime", artifact="fp32", cache_dir=folder) as model:
        images = [np.asarray(cv2.imread(path), np.uint8) for path in pictures]
        ours = [plain(model(image), task, image.shape[1::-1]) for image in images]
    return judge(network, task, theirs, ours)


BACKENDS = ("onnxruntime",)


def plain(result: Any, task: str, size: Sequence[int]) -> dict[str, Any]:
    """A result as the worker writes its own, whose keypoints are clipped at the picture's edge."""
    poses = [np.array(each.keypoints) for each in result] if task == "pose" else []
    for pose in poses:
        pose[:, :2] = pose[:, :2].clip(0, size)
    return {
        "scores": [each.score for each in result],
        "classes": [each.index for each in result],
        "boxes": [list(each.rotated_box if task == "obb" else each.box) for each in result],
        "keypoints": [pose.tolist() for pose in poses],
    }


def judge(network: str, task: str, theirs: Sequence[Any], ours: Sequence[Any]) -> Row:
    """The worst of each figure over all pairs, and how many objects have no partner."""
    overlaps, scores, pixels, degrees = [1.0], [0.0], [0.0], [0.0]
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
                if score > THRESHOLD + GOAL_SCORE and (task == "obb" or is_box(Box._make(box)))
            ]
            alone += len(set(sure) - taken)
        for i, j, overlap in pairs:
            overlaps.append(overlap)
            scores.append(abs(their["scores"][i] - our["scores"][j]))
            if task == "pose":
                one, other = np.array(their["keypoints"][i]), np.array(our["keypoints"][j])
                pixels.append(float(np.hypot(*(one - other)[:, :2].T).max()))
                scores.append(float(np.abs(one - other)[:, 2].max()))
            if task == "obb":
                degrees.append(angle_between(their["boxes"][i], our["boxes"][j]))
    return {
        "what": network,
        "pictures": counted,
        "objects": objects,
        "alone": alone,
        "iou": min(overlaps),
        "score": max(scores),
        "pixels": max(pixels),
        "degrees": max(degrees),
        "version": requirements("ultralytics")["ultralytics"],
    }


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
        row["pictures"]
        and not row["alone"]
        and row["iou"] >= GOAL_IOU
        and row["score"] <= GOAL_SCORE
        and row["pixels"] <= GOAL_PIXELS
        and row["degrees"] <= GOAL_DEGREES
    )


if __name__ == "__main__":
    experiment = Experiment(
        name="ultralytics_heads",
        title="Ultralytics' networks by its own postprocessing and by ours, on photographs",
        measure=measure,
        reached=reached,
        names=tuple(NETWORKS),
        columns={
            "": "{what}",
            "pictures": "{pictures}",
            "objects": "{objects}",
            "without partner": "{alone}",
            "least IoU": "{iou:.4f}",
            "score": "{score:.4f}",
            "keypoints": "{pixels:.2f} px",
            "angle": "{degrees:.2f}°",
        },
    )
    sys.exit(main(__doc__, experiment))
