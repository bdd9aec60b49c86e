"""Ultralytics' networks, whole way: the file it exports, our bundle of it, and both on photographs.

Each network is the package's own (its YAML), with random weights that find something in every
picture (ultralytics/worker.py). It is exported by the package and from that file by ``edgecnn
export FILE``, without a flag more. Both then run on the same photographs, theirs by its ONNX path,
with masks of the picture's size (``retina_masks=True``). YOLO26 is taken as it is exported by
default, which needs suppression, and with its head that does not (``nms=False``); one YOLO11 has
the suppression in its graph (``nms=True``).

Reached: an IoU of 0.95, masks of 0.9, keypoints within 2 pixels, angles within 1 degree, scores
within 0.01, and nobody without a partner (lib/same_objects.py).
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

EXPERIMENTS = Path(__file__).parent
sys.path.append(str(EXPERIMENTS.parent / "baselines"))  # environments, and processes in them

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from lib import same_objects  # noqa: E402
from lib.experiment import Experiment, Options, Row, main  # noqa: E402
from runner.environments import ensure, requirements  # noqa: E402
from runner.process import Worker  # noqa: E402

from edgecnn_export.config import ExportConfig  # noqa: E402
from edgecnn_export.pipeline import export  # noqa: E402
from edgecnn_runtime import load  # noqa: E402

TASKS = {"": "detect", "-pose": "pose", "-obb": "obb", "-seg": "segment"}
RAW = {
    f"{family}n{suffix}": (f"{family}n{suffix}", task, None)
    for family in ("yolov8", "yolo11", "yolo26")
    for suffix, task in TASKS.items()
}
END_TO_END = {
    f"yolo26n{suffix} end to end": (f"yolo26n{suffix}", task, False)
    for suffix, task in TASKS.items()
}
NETWORKS = RAW | END_TO_END | {"yolo11n with nms": ("yolo11n", "detect", True)}
"""By the name of the row: its YAML, its task, and ``nms`` of the package's export."""
WIDTH, HEIGHT, IOU, THRESHOLD = 640, 384, 0.7, 0.25
SHARES = {"detect": 0.012, "pose": 0.06, "obb": 0.04, "segment": 0.012, "yolo26n-pose": 0.012}
"""Of the cells, at least so many pass the threshold in every picture. Of one class (pose) and of
turned boxes few stay; masks as large as random weights make them fill a result's memory."""
PICTURES, QUICK_PICTURES = 10, 8
BACKENDS = ("onnxruntime",)


def measure(options: Options) -> Iterator[Row]:
    """One row per network."""
    count = QUICK_PICTURES if options.quick else PICTURES
    with tempfile.TemporaryDirectory() as folder:
        pictures = same_objects.photographs(Path(folder), count)
        for name in options.names:
            yield compare(name, pictures, Path(folder))


def compare(name: str, pictures: Sequence[str], folder: Path) -> Row:
    """The same file by both, on these pictures."""
    network, task, nms = NETWORKS[name]
    size = {"height": HEIGHT, "width": WIDTH}
    with Worker(EXPERIMENTS / "ultralytics" / "worker.py", ensure("ultralytics")) as worker:
        file = worker.call(
            "build", out=str(folder), network=network, nms=nms, pictures=pictures,
            share=SHARES.get(network, SHARES[task]), iou=IOU, **size,
        )  # fmt: skip
        theirs = worker.call("results", model=file, task=task, pictures=pictures, iou=IOU, **size)
    bundle = export(
        ExportConfig(
            model=file, out=str(Path(file).with_suffix(".edge")), iou=IOU, backends=BACKENDS
        )
    ).bundle
    with load(bundle.path, backend="onnxruntime", artifact="fp32", cache_dir=folder) as model:
        images = [np.asarray(cv2.imread(path), np.uint8) for path in pictures]
        ours = [same_objects.plain(model(image), task, image.shape[1::-1]) for image in images]
    row = same_objects.judge(name, task, theirs, ours, THRESHOLD)
    return row | {"version": requirements("ultralytics")["ultralytics"]}


if __name__ == "__main__":
    experiment = Experiment(
        name="ultralytics_heads",
        title="Ultralytics' networks by its own postprocessing and by ours, on photographs",
        measure=measure,
        reached=same_objects.reached,
        names=tuple(NETWORKS),
        columns=same_objects.COLUMNS,
    )
    sys.exit(main(__doc__, experiment))
