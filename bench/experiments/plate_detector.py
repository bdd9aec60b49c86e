"""How many plates does the detector find in photographs, and how fast is it?

105 photographs of cars (EU, US, BR), none of which it was trained on. A plate is found where a box
overlaps its label by half or more. Detections elsewhere are counted too: some of them are plates of
other cars, which have no label, so they are cut out into a folder for an eye to judge
(``--cache``). INT8 is calibrated on rendered scenes. YOLOv8n with random weights, which cost the
same time as trained ones, runs on ONNX Runtime in float beside it, one thread, in turns.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from lib import yolov8n
from lib.experiment import Experiment, Options, Row, main
from lib.material import ASSETS, write_pictures
from lib.timm_models import reference_preprocess, save_weights

from edgecnn.train.plates.fonts import find_fonts
from edgecnn.train.plates.grammar import choose_grammars
from edgecnn.train.plates.scenes import SceneMaker
from edgecnn.train.plates.scenes_backgrounds import read_backgrounds
from edgecnn.train.plates.scenes_faces import rendered_faces
from edgecnn.train.plates.scenes_photographs import (
    Photograph,
    PhotographResult,
    read_photographs,
    summarize,
)
from edgecnn.train.plates.scenes_photographs import (
    measure as measure_photographs,
)
from edgecnn_export.config import ExportConfig
from edgecnn_export.pipeline import export
from edgecnn_runtime import load
from edgecnn_runtime.image_file import read_picture
from edgecnn_runtime.model import Model
from edgecnn_runtime.types import Detection, Pixels

CHECKPOINT = Path(__file__).parents[2] / "edgecnn" / "plates" / "plate_detector.pt"
GOAL, FASTER, LOST = 0.95, 3.0, 1
CALIBRATION, FEW, ROUNDS, QUICK, BURST = 200, 32, 30, 3, 10
CALIBRATION_SEED = 1 << 59
UNIT = ((0.0,) * 3, (1.0,) * 3)
"""Mean and deviation of pixels in 0..1."""


def measure(options: Options) -> Iterator[Row]:
    """A row per region and form, one of what INT8 loses, and one of the time."""
    photographs = read_photographs(ASSETS / "plates" / "scenes")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = export_detector(folder, FEW if options.quick else CALIBRATION)
        models = {"float": load(bundle, artifact="fp32", threads=1, cache_dir=name)}
        if (bundle / "model.int8-cpu.onnx").exists():
            models["INT8"] = load(bundle, artifact="int8-cpu", threads=1, cache_dir=name)
        results = {kind: find_all(model, photographs) for kind, model in models.items()}
        for kind, found in results.items():
            write_others(options.cache / "plate_detector" / kind, found)
            yield from score(kind, found)
        if "INT8" in results:
            lost = sum(r.found for r in results["float"]) - sum(r.found for r in results["INT8"])
            yield {"what": "lost to INT8", "value": lost, "goal": LOST, "unit": "of 105"}
        yolo = load(export_yolo(folder), backend="onnxruntime", threads=1, cache_dir=name)
        frame = read_picture(photographs[-1].file)
        assert frame is not None
        yield race({**models, "YOLOv8n": yolo}, frame, QUICK if options.quick else ROUNDS)
        for model in (*models.values(), yolo):
            model.close()


def export_detector(folder: Path, count: int) -> Path:
    """The detector's bundle, calibrated on rendered scenes."""
    faces = rendered_faces(choose_grammars(()), find_fonts())
    maker = SceneMaker(faces, read_backgrounds(()))
    size = (yolov8n.WIDTH, yolov8n.HEIGHT)
    scenes = (maker.scene(CALIBRATION_SEED + number, size).pixels for number in range(count))
    calibration = write_pictures(folder / "scenes", scenes)
    config = ExportConfig(
        model=str(CHECKPOINT), int8=True, calib=str(calibration), out=str(folder / "plates.edge")
    )
    return export(config).bundle.path


def export_yolo(folder: Path) -> Path:
    """YOLOv8n's bundle, in float; it is verified on the calibration's scenes."""
    scenes = [read_picture(file) for file in sorted((folder / "scenes").iterdir())[:FEW]]
    planes = reference_preprocess(np.stack([s for s in scenes if s is not None]), *UNIT)
    save_weights(yolov8n.random_yolov8n(planes), folder / "yolo.pt")
    config = ExportConfig(
        model=str(folder / "yolo.pt"), arch="lib.yolov8n:yolov8n", preset="unit", color="rgb",
        input=f"{yolov8n.WIDTH}x{yolov8n.HEIGHT}", task="detect", head="yolov8",
        labels=tuple(f"class {n}" for n in range(yolov8n.CLASSES)),
        images=str(folder / "scenes"), out=str(folder / "yolo.edge"),
    )  # fmt: skip
    return export(config).bundle.path


def find_all(model: Model, photographs: Sequence[Photograph]) -> list[PhotographResult]:
    """What a model finds in each photograph."""

    def find(picture: Pixels) -> list[Detection]:
        detections = model(picture)
        assert isinstance(detections, list)
        return [each for each in detections if isinstance(each, Detection)]

    return measure_photographs(find, photographs)


def write_others(folder: Path, results: Sequence[PhotographResult]) -> None:
    """Cut out what is not the labeled plate, with as much around it again."""
    folder.mkdir(parents=True, exist_ok=True)
    for result in results:
        picture = read_picture(result.photograph.file) if result.others else None
        if picture is None:
            continue
        for number, other in enumerate(result.others):
            x1, y1, x2, y2 = other.box
            wide, tall = x2 - x1, y2 - y1
            top, low = max(0, round(y1 - tall)), round(y2 + tall)
            left, right = max(0, round(x1 - wide)), round(x2 + wide)
            file = folder / f"{result.photograph.file.stem}-{number}-{other.score:.2f}.png"
            cv2.imwrite(str(file), picture[top:low, left:right])


def score(kind: str, results: Sequence[PhotographResult]) -> Iterator[Row]:
    """The share of plates that are found in each region, and what else is."""
    for region in summarize(results):
        yield {
            "what": f"{region.region}, {kind}",
            "value": region.found / region.count,
            "goal": GOAL,
            "unit": "found",
            "count": region.count,
            "interval": [region.low, region.high],
            "others": region.others / region.count,
        }


def race(models: Mapping[str, Model], frame: Pixels, rounds: int) -> Row:
    """Milliseconds of the engine for one frame, medians of alternating bursts."""
    times: dict[str, list[float]] = {kind: [] for kind in models}
    for model in models.values():
        model.prepare(frame)
    for _ in range(rounds):
        for kind, model in models.items():
            for _ in range(BURST):
                start = time.perf_counter()
                model.infer()
                times[kind].append(1000 * (time.perf_counter() - start))
    ms = {kind: float(np.median(values)) for kind, values in times.items()}
    best = min((kind for kind in ms if kind != "YOLOv8n"), key=ms.__getitem__)
    return {
        "what": f"time of YOLOv8n's, over that of {best}",
        "value": ms["YOLOv8n"] / ms[best],
        "goal": FASTER,
        "unit": "times",
        "ms": ms,
    }


def reached(row: Row) -> bool:
    """Whether a row is at least its goal; what INT8 loses, at most."""
    if row["goal"] == LOST:
        return bool(row["value"] <= LOST)
    return bool(row["value"] >= row["goal"])


COLUMNS = {
    "": "{what}",
    "measured": "{value:.3g} {unit}",
    "goal": lambda row: f"{'≤' if row['goal'] == LOST else '≥'} {row['goal']:g}",
    "others a photograph": lambda row: f"{row['others']:.2f}" if "others" in row else "",
    "ms": lambda row: ", ".join(f"{k} {v:.2f}" for k, v in row.get("ms", {}).items()),
}

if __name__ == "__main__":
    cv2.setNumThreads(1)
    experiment = Experiment(
        name="plate_detector",
        title="Plates in photographs",
        measure=measure,
        reached=reached,
        columns=COLUMNS,
        needs_assets=True,
    )
    sys.exit(main(__doc__, experiment))
