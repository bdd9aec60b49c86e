"""Ultralytics' ONNX path, end to end on a 1080p video, against a bundle of the same network.

Theirs is `YOLO("yolov8n.onnx").predict(video)` at 640x640, its default; ours is the same weights,
exported by them too, at 640x384, the shape of the video. Both read and decode the video themselves,
on all cores, and give boxes in frame pixels. YOLOv8n's weights are trained on the video's faces
once, which takes some minutes, and stay with what the experiments download. YOLO26n-pose and -seg
have random weights that find something in it (../experiments/ultralytics/worker.py), so that they
run in float; they also race theirs at 640x384. Our masks are those of the frame, theirs those of
its input, which is its default.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lib.fetch import CACHE, build_once
from lib.material import ASSETS, video_frames, write_pictures
from runner.boxes import matched_boxes
from runner.environments import requirements
from runner.exports import EXPERIMENTS, export, select
from runner.process import Worker
from runner.race import faster, race
from runner.rows import BaselineRow
from runner.setting import Setting

from edgecnn_export.config import ExportConfig

VIDEO = ASSETS / "faces" / "video.mp4"
TEACHER = ASSETS / "yunet" / "yunet_n_640_640.onnx"
STEPS = 150
SHARE = 0.004
"""Of the 5040 cells of a random network, at least so many pass the threshold in every frame."""
TASKS = {"yolo26n-pose": "pose", "yolo26n-seg": "segment"}
IOU = 0.7
FRAMES = 105
"""In the video: a block is all of it."""
THEIRS, SAME_SIZE = "Ultralytics, 640x640", "Ultralytics, 640x384"
GOALS = {THEIRS: 2.5, SAME_SIZE: 1.3}
BUILDING = 9
"""Every so manieth frame sets the statistics of a random network."""


def compare(setting: Setting) -> Iterator[BaselineRow]:
    """Boxes, and of random weights poses and masks."""
    yield from compare_boxes(setting)
    for network, task in TASKS.items():
        yield from compare_task(setting, network, task)


def compare_boxes(setting: Setting) -> Iterator[BaselineRow]:
    """The choice measured here, and float alone."""
    networks = train(setting)
    bundle, cache = our_bundle(setting, networks / "yolov8n-640x384.onnx")
    chosen: dict[str, Any] = {"bundle": str(bundle), "cache_dir": str(cache)}
    plain = chosen | {"backend": "onnxruntime", "artifact": "fp32", "precision": "f32"}
    with setting.theirs() as theirs, setting.ours() as ours, setting.ours() as floats:
        names = [ours.call("choice", **chosen), floats.call("choice", **plain)]
        theirs.start(model=str(networks / "yolov8n-640x640.onnx"), video=str(VIDEO))
        ours.start(source=str(VIDEO), **chosen)
        floats.start(source=str(VIDEO), **plain)
        outcome = run(setting, {THEIRS: theirs, names[0]: ours} | {names[1]: floats})
    for name in dict.fromkeys(names):
        goal = GOALS[THEIRS] if name == names[0] else None
        yield outcome.row("YOLOv8n, 1080p video", name, THEIRS, goal)


def compare_task(setting: Setting, network: str, task: str) -> Iterator[BaselineRow]:
    """The choice measured here, against each at its own default size and at the same size."""
    networks = build(setting, network)
    own_size = networks / f"{network}-None-640x384.onnx"
    bundle, cache = task_bundle(setting, own_size)
    chosen: dict[str, Any] = {"bundle": str(bundle), "cache_dir": str(cache)}
    with setting.theirs() as theirs, setting.theirs() as same, setting.ours() as ours:
        name = ours.call("choice", **chosen)
        large = str(networks / f"{network}-None-640x640.onnx")
        theirs.start(model=large, video=str(VIDEO), task=task)
        same.start(model=str(own_size), video=str(VIDEO), task=task, size=[384, 640])
        ours.start(source=str(VIDEO), **chosen)
        outcome = run(setting, {THEIRS: theirs, SAME_SIZE: same, name: ours})
    for baseline, goal in GOALS.items():
        yield outcome.row(f"{network}, 1080p video", name, baseline, goal)


@dataclass(frozen=True)
class Outcome:
    """What a race gave, by worker.

    Attributes:
        rates: Results per second of every round.
        boxes: The boxes of each frame.
        outside: Milliseconds per frame before and after the engine, median.
    """

    rates: Mapping[str, Sequence[float]]
    boxes: Mapping[str, Sequence[Any]]
    outside: Mapping[str, float]

    def row(self, work: str, ours: str, theirs: str, goal: float | None) -> BaselineRow:
        """One of ours against one of theirs."""
        pair = (ours, theirs)
        return BaselineRow(
            work=work,
            ours=ours,
            theirs=theirs,
            fps={name: self.rates[name] for name in pair},
            speed=faster(list(self.rates[ours]), list(self.rates[theirs])),
            answers=f"{matched_boxes(self.boxes[theirs], self.boxes[ours])}; before and after the "
            f"engine {self.outside[ours]:.1f} ms per frame, theirs {self.outside[theirs]:.1f} ms",
            goal=goal,
            details={
                "outside_engine_ms": {name: self.outside[name] for name in pair},
                "boxes_per_frame": {
                    name: sum(map(len, self.boxes[name])) / len(self.boxes[name]) for name in pair
                },
            },
        )


def run(setting: Setting, workers: Mapping[str, Worker]) -> Outcome:
    """What each finds, and how fast."""
    pace = setting.pace(12, FRAMES)
    answers = {name: worker.look(pace.count) for name, worker in workers.items()}
    return Outcome(
        race(workers, pace),
        {name: [each["result"] for each in results] for name, results in answers.items()},
        {
            name: float(np.median([each["outside_ms"] for each in results]))
            for name, results in answers.items()
        },
    )


def build(setting: Setting, network: str) -> Path:
    """A folder with the two ONNX files of a random network, built once."""

    def write(folder: Path) -> None:
        frames = write_pictures(setting.folder / f"{network}-frames", video_frames()[::BUILDING])
        with Worker(EXPERIMENTS / "ultralytics" / "worker.py", setting.python) as worker:
            worker.call(
                "build", out=str(folder), network=network, nms=None, height=384, width=640,
                pictures=[str(file) for file in sorted(frames.iterdir())], share=SHARE,
                iou=IOU, also=[[640, 640]],
            )  # fmt: skip

    version = requirements(setting.name)["ultralytics"]
    return build_once(CACHE / f"{network}-ultralytics-{version}-random-{SHARE}", write)


def task_bundle(setting: Setting, network: Path) -> tuple[Path, Path]:
    """The bundle in float, and the folder with the choice."""
    frames = video_frames()[:: 14 if setting.quick else 4]
    pictures = str(write_pictures(setting.folder / f"{network.stem}-pictures", frames))
    out = setting.folder / f"{network.stem}.edge"
    bundle = export(ExportConfig(model=str(network), out=str(out), iou=IOU, images=pictures))
    return bundle, select(bundle, seconds=1 if setting.quick else 4)


def train(setting: Setting) -> Path:
    """A folder with the network's two ONNX files, trained once."""

    def write(folder: Path) -> None:
        with setting.theirs() as theirs:
            theirs.call(
                "train", out=str(folder), video=str(VIDEO), detector=str(TEACHER),
                sizes=[[640, 640], [384, 640]], steps=STEPS,
            )  # fmt: skip

    version = requirements(setting.name)["ultralytics"]
    return build_once(CACHE / f"yolov8n-ultralytics-{version}-{STEPS}-steps", write)


def our_bundle(setting: Setting, network: Path) -> tuple[Path, Path]:
    """The bundle with every form that passes the gate, and the folder with the choice."""
    frames = video_frames()[:: 7 if setting.quick else 2]
    pictures = str(write_pictures(setting.folder / "pictures", frames))
    config = ExportConfig(
        model=str(network), out=str(setting.folder / "yolov8n.edge"), input="640x384",
        task="detect", head="yolov8", preset="unit", color="rgb", score=0.25, iou=0.7,
        labels=tuple(map(str, range(80))), images=pictures, calib=pictures, int8=True,
        targets=("cpu", "openvino"), method="minmax" if setting.quick else None,
    )  # fmt: skip
    bundle = export(config)
    return bundle, select(bundle, seconds=1 if setting.quick else 4)
