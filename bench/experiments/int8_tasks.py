"""INT8 of poses, rotated boxes and masks: does the gate pass, and what stays in float?

Two kinds of networks. The demo's own are trained, and the gate is the task's metric (OKS-mAP,
rotated mAP, mask mAP, mIoU) on rendered workshops that took no part in training or calibration:
at most half a point is lost. Ultralytics' networks have random weights that find something in the
frames of a video (ultralytics/worker.py), nothing that makes a trained network forgiving, and the
gate asks that results equal those of float. In photographs of many kinds such weights find nothing
here and thousands of objects of one score there, of which rounding chooses those that stay.

Reached: the form that each engine takes passes its gate.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

EXPERIMENTS = Path(__file__).parent
sys.path.append(str(EXPERIMENTS.parent / "baselines"))  # environments, and processes in them

import cv2  # noqa: E402
import msgspec  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from lib.experiment import Experiment, Options, Row, main  # noqa: E402
from lib.material import video_frames, write_pictures  # noqa: E402
from lib.quantized import ENGINES, FORMS, Int8Export, export_int8, forms_in_float  # noqa: E402
from runner.environments import ensure  # noqa: E402
from runner.process import Worker  # noqa: E402

from edgecnn.demo.exports import FOLDER, NETWORKS  # noqa: E402
from edgecnn.train.renders.workshop import (  # noqa: E402
    CELL,
    HEIGHT,
    KINDS,
    SCALE,
    WIDTH,
    Thing,
    draw_workshop,
)
from edgecnn_export.config import ExportConfig  # noqa: E402
from edgecnn_runtime.geometry import corners_of  # noqa: E402
from edgecnn_runtime.masks import run_lengths  # noqa: E402
from edgecnn_runtime.types import RotatedBox  # noqa: E402

WORKSHOPS = ("workshop-pose", "workshop-obb", "workshop-segment", "workshop-surfaces")
ULTRALYTICS = {
    "yolo11n-pose": None, "yolo11n-obb": None, "yolo11n-seg": None,
    "yolo26n-pose": False, "yolo26n-seg": False,
}  # fmt: skip
"""What each is exported with as ``nms``: False is the head without suppression."""
CALIBRATION_SEEDS, LABELED_SEEDS = range(40_000, 40_160), range(50_000, 50_128)
CAMERA = {"height": 384, "width": 640}
IOU, SHARE = 0.7, 0.006
"""Of the suppression; and of the cells of a random network, at least so many pass in a picture."""
BUILDING = 12
"""Frames that set the statistics of a random network."""
QUICK = 4
"""How many times fewer pictures a short try takes."""
VISIBLE, HALF = 2, 0.5
"""Of a joint's label; and the share of a cell from which an object covers it."""


def measure(options: Options) -> Iterator[Row]:
    """One row per network."""
    torch.set_num_threads(2)
    share = QUICK if options.quick else 1
    for name in options.names:
        config = workshop if name in WORKSHOPS else photographed
        with tempfile.TemporaryDirectory() as folder:
            yield describe(name, export_int8(config(name, Path(folder), share)))


def workshop(name: str, folder: Path, share: int) -> ExportConfig:
    """A trained network of the demo, with labeled workshops; ``share`` times fewer of each."""
    calibration = [draw_workshop(seed).picture for seed in CALIBRATION_SEEDS[::share]]
    return ExportConfig(
        model=str(FOLDER / f"{name}.pt"),
        arch=f"{NETWORKS}.workshop_net:WorkshopNet",
        eval_data=str(write_labels(name.removeprefix("workshop-"), folder, LABELED_SEEDS[::share])),
        **common(folder, calibration),
    )


def photographed(name: str, folder: Path, share: int) -> ExportConfig:
    """A random network of Ultralytics, with frames of the video; ``share`` times fewer of them."""
    settings = common(folder, video_frames()[::share])
    files = [str(file) for file in sorted(Path(settings["calib"]).iterdir())]
    with Worker(EXPERIMENTS / "ultralytics" / "worker.py", ensure("ultralytics")) as worker:
        file = worker.call(
            "build", out=str(folder), network=name, nms=ULTRALYTICS[name], share=SHARE, iou=IOU,
            pictures=files[:: max(len(files) // BUILDING, 1)], **CAMERA,
        )  # fmt: skip
    return ExportConfig(model=file, iou=IOU, **settings)


def common(folder: Path, pictures: Sequence[Any]) -> dict[str, Any]:
    """What all exports are told."""
    files = str(write_pictures(folder / "pictures", pictures))
    return {
        "images": files, "calib": files, "int8": True, "targets": FORMS,
        "out": str(folder / "model.edge"), "work_dir": str(folder / "work"),
    }  # fmt: skip


def describe(name: str, int8: Int8Export) -> Row:
    """What became of each form, and the task's metric where there are labels."""
    return {
        "what": name,
        "task": int8.bundle.manifest.model.task,
        "forms": int8.forms(),
        "passed": {engine: bool(int8.form(engine)) for engine in ENGINES},
        "quality": {
            artifact.file: msgspec.to_builtins(artifact.quality)
            for artifact in int8.bundle.manifest.artifacts
            if artifact.quality is not None
        },
        "seconds": sum(int8.result.seconds.values()),
    }


def write_labels(head: str, folder: Path, seeds: Sequence[int]) -> Path:
    """Rendered workshops with their labels: COCO JSON, or for ``surfaces`` a map beside each."""
    (folder / "labeled" / "images").mkdir(parents=True)
    images, annotations = [], []
    for number, seed in enumerate(seeds):
        scene, file = draw_workshop(seed), f"{seed}.png"
        size = {"width": WIDTH * SCALE, "height": HEIGHT * SCALE}
        cv2.imwrite(str(folder / "labeled" / "images" / file), scene.picture)
        images.append({"id": number, "file_name": file, **size})
        for thing in scene.things:
            label = annotation(head, thing)
            annotations += [] if label is None else [{"image_id": number, **label}]
        if head == "surfaces":
            (folder / "labeled" / "masks").mkdir(exist_ok=True)
            large = cv2.resize(scene.surfaces, (*size.values(),), interpolation=cv2.INTER_NEAREST)
            cv2.imwrite(str(folder / "labeled" / "masks" / file), large)
    if head == "surfaces":
        return folder / "labeled"
    categories = [{"id": index, "name": name} for index, name in enumerate(KINDS)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "labeled" / "labels.json").write_bytes(msgspec.json.encode(content))
    return folder / "labeled" / "labels.json"


def annotation(head: str, thing: Thing) -> Mapping[str, Any] | None:
    """An object as COCO has it, in pixels of the picture; None where the task looks for no such."""
    if (head == "pose") != (thing.kind == 0) and head != "segment":
        return None
    x1, y1, x2, y2 = (SCALE * value for value in thing.box)
    label: dict[str, Any] = {
        "category_id": thing.kind,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
    }
    if head == "pose":
        label["keypoints"] = [
            float(value)
            for x, y, seen in thing.joints
            for value in (x * SCALE, y * SCALE, VISIBLE if seen else 0)
        ]
    if head == "obb":
        x, y, length, breadth, angle = thing.turned
        box = RotatedBox(x * SCALE, y * SCALE, length * SCALE, breadth * SCALE, angle)
        label["segmentation"] = [[float(value) for pair in corners_of(box) for value in pair]]
    if head == "segment":
        rows, columns = thing.mask.shape
        large = cv2.resize(thing.mask, (columns * CELL * SCALE, rows * CELL * SCALE))
        mask = np.greater(large, HALF)
        label["segmentation"] = {
            "size": mask.shape,
            "counts": run_lengths(mask, (0, 0), *mask.shape),
        }
    return label


def reached(row: Row) -> bool:
    """Whether every engine has a form that passed."""
    return all(row["passed"].values())


def verdicts(row: Row) -> str:
    """What the gate said of each form."""
    return ", ".join(f"{form['target']}: {form['verdict'].split(' (')[0]}" for form in row["forms"])


def lost(row: Row) -> str:
    """The most points of the metric that a form loses."""
    points = [100 * (each["reference"] - each["value"]) for each in row["quality"].values()]
    return f"{max(points):.2f}" if points else ""


if __name__ == "__main__":
    experiment = Experiment(
        name="int8_tasks",
        title="INT8 of poses, rotated boxes and masks",
        measure=measure,
        reached=reached,
        names=(*WORKSHOPS, *ULTRALYTICS),
        columns={
            "network": "{what}",
            "gate": verdicts,
            "points lost": lost,
            "in float": forms_in_float,
            "export": "{seconds:.0f} s",
        },
    )
    sys.exit(main(__doc__, experiment))
