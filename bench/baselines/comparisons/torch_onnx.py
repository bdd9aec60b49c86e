"""A tutorial's deployment against bundles of the very file it exports, 1080p frames from memory.

Theirs: torch.onnx.export, then resize, float, normalize and transpose in NumPy and run on ONNX
Runtime. Ours: that ONNX file, with INT8 beside it, on the choice measured here, and float alone.
Random weights with the statistics of photographs, 224x224, one thread each.
"""

from collections.abc import Iterator

import cv2
import numpy as np
from lib.material import ASSETS, video_frames, write_pictures
from runner.exports import export, select
from runner.race import faster, race
from runner.rows import BaselineRow
from runner.setting import Setting

from edgecnn_export.config import ExportConfig
from edgecnn_runtime.types import Pixels

VIDEO = ASSETS / "faces" / "video.mp4"
NETWORKS = ("resnet18", "mobilenetv2_100")
THEIRS = "torch.onnx.export + ONNX Runtime"
FRAMES = 50


def compare(setting: Setting) -> Iterator[BaselineRow]:
    """Both networks."""
    frames = video_frames()
    folder = setting.folder
    pictures = str(write_pictures(folder / "pictures", [*photographs(), *frames[::7]]))
    for network in NETWORKS:
        onnx = str(folder / f"{network}.onnx")
        with setting.theirs() as theirs:
            theirs.call("export", name=network, pictures=pictures, out=onnx)
        config = ExportConfig(
            model=onnx, out=str(folder / f"{network}.edge"), input="224x224", task="classify",
            preset="imagenet", color="rgb", resize="stretch", images=pictures, calib=pictures,
            int8=True, targets=("cpu", "openvino"), method="minmax" if setting.quick else None,
        )  # fmt: skip
        yield from race_with(setting, config)


def race_with(setting: Setting, config: ExportConfig) -> list[BaselineRow]:
    """One network: theirs, the choice, and float alone."""
    bundle = export(config)
    cache = select(bundle, seconds=1 if setting.quick else 4, threads=1)
    chosen = {"bundle": str(bundle), "cache_dir": str(cache), "threads": 1}
    plain = chosen | {"backend": "onnxruntime", "artifact": "fp32", "precision": "f32"}
    with setting.theirs() as theirs, setting.ours() as ours, setting.ours() as floats:
        names = [ours.call("choice", **chosen), floats.call("choice", **plain)]
        theirs.start(model=config.model, video=str(VIDEO), frames=FRAMES, threads=1)
        ours.start(source=str(VIDEO), memory=FRAMES, **chosen)
        floats.start(source=str(VIDEO), memory=FRAMES, **plain)
        workers = {THEIRS: theirs, names[0]: ours} | {names[1]: floats}
        pace = setting.pace(16, FRAMES)
        answers = {name: worker.look(FRAMES) for name, worker in workers.items()}
        rates = race(workers, pace)
    return [
        BaselineRow(
            work=f"{bundle.stem}, 1080p frames",
            ours=name,
            theirs=THEIRS,
            fps={name: rates[name], THEIRS: rates[THEIRS]},
            speed=faster(rates[name], rates[THEIRS]),
            answers=f"{equal(answers[name], answers[THEIRS])} of {FRAMES} best classes equal",
        )
        for name in dict.fromkeys(names)
    ]


def equal(ours: list[dict[str, int]], theirs: list[int]) -> int:
    """Frames with the same best class."""
    return sum(answer["result"] == index for answer, index in zip(ours, theirs, strict=True))


def photographs() -> list[Pixels]:
    """Streets and cars."""
    files = sorted((ASSETS / "plates" / "scenes").glob("*/*.jpg"))[::3]
    return [np.asarray(cv2.imread(str(file)), np.uint8) for file in files]
