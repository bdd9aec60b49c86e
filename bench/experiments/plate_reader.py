"""How many plates in photographs does the reader read, given their boxes, and how fast is it?

The plates of 105 photographs of cars (EU, US, BR) and 200 Chinese crops, none of which it was
trained on; beside it RapidOCR's recognizer (PP-OCRv6 small) on the same crops. O and 0, I and 1
count as equal; separators, and the Chinese province that PP-OCR is not asked for, do not count for
it. Reached: as many right as the project promises, one plate lost to INT8 at most, and a fifteenth
of the recognizer's time, medians of alternating bursts on one thread.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from lib.experiment import Experiment, Options, Row, main
from lib.material import ASSETS, write_pictures
from lib.plate_rows import COLUMNS, reached
from lib.trained import TRAINED

from edgecnn.train.plates.crops import CropMaker
from edgecnn.train.plates.fonts import find_fonts
from edgecnn.train.plates.grammar import CHARSET, choose_grammars
from edgecnn.train.plates.photographs import PlateImage, read_plates
from edgecnn.train.plates.readings import ALIKE
from edgecnn_export.config import ExportConfig
from edgecnn_export.pipeline import export
from edgecnn_runtime import load
from edgecnn_runtime.evaluation.metrics import wilson
from edgecnn_runtime.model import Model
from edgecnn_runtime.types import Reading

CHECKPOINT = Path(__file__).parents[2] / "edgecnn" / "plates" / "plate_reader.pt"
PLATES = ASSETS / "plates"
GOALS = {"eu": 23, "us": 43, "br": 25, "crops": 170}
"""How many are to be right: of 26, 53, 26 and 200."""
FASTER, LOST = 15.0, 1
ROUNDS, QUICK, BURST = 20, 3, 10
CALIBRATION = 300


def measure(options: Options) -> Iterator[Row]:
    """A row per folder of photographs and model, and one of the time."""
    plates = [plate for source in sources() for plate in read_plates(source)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reader = export_reader(folder, 32 if options.quick else CALIBRATION)
        other = export(TRAINED["PP-OCRv6_rec_small"](options.cache).config(
            out=str(folder / "rapidocr.edge")
        )).bundle.path  # fmt: skip
        models = {"float": load(reader, artifact="fp32", threads=1, cache_dir=name)}
        if (reader / "model.int8-cpu.onnx").exists():
            models["INT8"] = load(reader, artifact="int8-cpu", threads=1, cache_dir=name)
        models["RapidOCR"] = load(other, backend="onnxruntime", threads=1, cache_dir=name)
        texts = {kind: [read(model, plate) for plate in plates] for kind, model in models.items()}
        for group in GOALS:
            yield from score(group, plates, texts)
        yield from lost(plates, texts)
        yield race(models, plates, QUICK if options.quick else ROUNDS)
        for model in models.values():
            model.close()


def read(model: Model, plate: PlateImage) -> str:
    """What a model reads on a plate."""
    reading = model(plate.picture)
    assert isinstance(reading, Reading)
    return reading.text


def sources() -> list[Path]:
    """The tables and the folder of the photographs."""
    scenes = [PLATES / "scenes" / region / "labels.tsv" for region in ("eu", "us", "br")]
    return [*scenes, PLATES / "crops"]


def export_reader(folder: Path, count: int) -> Path:
    """The reader's bundle, calibrated on rendered crops."""
    maker = CropMaker(choose_grammars(()), find_fonts())
    crops = [maker.crop((30, number)) for number in range(count)]
    images = write_pictures(folder / "crops", (crop.picture for crop in crops))
    config = ExportConfig(
        model=str(CHECKPOINT), int8=True, calib=str(images), out=str(folder / "reader.edge")
    )
    return export(config).bundle.path


def score(
    group: str, plates: Sequence[PlateImage], texts: Mapping[str, Sequence[str]]
) -> Iterator[Row]:
    """How many plates of a folder each model reads."""
    for kind, read in texts.items():
        pairs = [(p.text, t) for p, t in zip(plates, read, strict=True) if p.group == group]
        right = sum(same(truth, text, kind == "RapidOCR") for truth, text in pairs)
        low, high = wilson(right, len(pairs))
        yield {
            "what": f"{group}, {kind}",
            "value": right,
            "goal": GOALS[group] if kind != "RapidOCR" else 0,
            "unit": f"of {len(pairs)}",
            "strict": sum(truth == text for truth, text in pairs),
            "interval": [low, high],
            "readings": [list(pair) for pair in pairs],
        }


def lost(plates: Sequence[PlateImage], texts: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    """How many plates of the 105 INT8 loses, those that it gains subtracted."""
    if "INT8" not in texts:
        return
    right = {
        kind: sum(
            same(plate.text, text)
            for plate, text in zip(plates, texts[kind], strict=True)
            if plate.group != "crops"
        )
        for kind in ("float", "INT8")
    }
    value = right["float"] - right["INT8"]
    yield {"what": "lost to INT8", "value": value, "goal": LOST, "unit": "of 105", "most": True}


def same(truth: str, text: str, foreign: bool = False) -> bool:
    """Whether a text is right; a foreign reader's without separators and provinces."""
    if foreign:
        text = "".join(char for char in text.upper() if char in CHARSET)
        if not truth[0].isascii():
            truth, text = truth[1:], "".join(char for char in text if char.isascii())
    return truth.translate(ALIKE) == text.translate(ALIKE)


def race(models: Mapping[str, Model], plates: Sequence[PlateImage], rounds: int) -> Row:
    """Milliseconds for one crop, medians of alternating bursts."""
    times: dict[str, list[float]] = {kind: [] for kind in models}
    for number in range(rounds):
        for kind, model in models.items():
            for plate in plates[number * BURST : (number + 1) * BURST]:
                start = time.perf_counter()
                read(model, plate)
                times[kind].append(1000 * (time.perf_counter() - start))
    ms = {kind: float(np.median(values)) for kind, values in times.items()}
    best = min((kind for kind in ms if kind != "RapidOCR"), key=ms.__getitem__)
    return {
        "what": f"time of RapidOCR's, over that of {best}",
        "value": ms["RapidOCR"] / ms[best],
        "goal": FASTER,
        "unit": "times",
        "ms": ms,
    }


if __name__ == "__main__":
    cv2.setNumThreads(1)
    experiment = Experiment(
        name="plate_reader",
        title="Plates in photographs, given their boxes",
        measure=measure,
        reached=reached,
        columns=COLUMNS,
        needs_assets=True,
    )
    sys.exit(main(__doc__, experiment))
