"""Ultralytics' ONNX path, end to end on a 1080p video, against a bundle of the same network.

Theirs is `YOLO("yolov8n.onnx").predict(video)` at 640x640, its default; ours is the same weights,
exported by them too, at 640x384, the shape of the video. Both read and decode the video themselves,
on all cores, and give boxes in frame pixels. The weights are trained on the video's faces once,
which takes some minutes, and stay with what the experiments download.
"""

from pathlib import Path
from typing import Any

import numpy as np
from lib.fetch import CACHE, build_once
from lib.material import ASSETS, video_frames, write_pictures
from runner.boxes import matched_boxes
from runner.environments import requirements
from runner.exports import export, select
from runner.race import faster, race
from runner.rows import BaselineRow
from runner.setting import Setting

from edgecnn_export.config import ExportConfig

VIDEO = ASSETS / "faces" / "video.mp4"
TEACHER = ASSETS / "yunet" / "yunet_n_640_640.onnx"
STEPS = 150
FRAMES = 105
"""In the video: a block is all of it."""
THEIRS = "Ultralytics, 640x640"
GOAL = 2.5


def compare(setting: Setting) -> list[BaselineRow]:
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
        workers = {THEIRS: theirs, names[0]: ours} | {names[1]: floats}
        pace = setting.pace(12, FRAMES)
        answers = {name: worker.look(pace.count) for name, worker in workers.items()}
        rates = race(workers, pace)
    boxes = {name: [each["result"] for each in results] for name, results in answers.items()}
    outside = {
        name: float(np.median([each["outside_ms"] for each in results]))
        for name, results in answers.items()
    }
    return [
        BaselineRow(
            work="YOLOv8n, 1080p video",
            ours=name,
            theirs=THEIRS,
            fps={name: rates[name], THEIRS: rates[THEIRS]},
            speed=faster(rates[name], rates[THEIRS]),
            answers=f"{matched_boxes(boxes[THEIRS], boxes[name])}; before and after the engine "
            f"{outside[name]:.1f} ms per frame, theirs {outside[THEIRS]:.1f} ms",
            goal=GOAL if name == names[0] else None,
            details={
                "outside_engine_ms": {key: outside[key] for key in (name, THEIRS)},
                "boxes_per_frame": {
                    key: sum(map(len, boxes[key])) / len(boxes[key]) for key in (name, THEIRS)
                },
            },
        )
        for name in dict.fromkeys(names)
    ]


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
