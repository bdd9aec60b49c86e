"""Plates in whole photographs, by the pipeline that ships and by RapidOCR in the same run.

105 photographs of cars (EU, US, BR), on which nothing was trained. Each goes whole into the
pipeline ``plates``; of what is read, the largest plate counts. RapidOCR (its detector and
recognizer, all lines) is right where any of its lines is the text, alone or two lines in a row.
O and 0, I and 1 count as equal; ``strict`` does not. A plate is found where a box overlaps its
label by half or more; other boxes may be plates of other cars, and are for an eye to judge. The 200
Chinese crops are read as crops. INT8 may lose one plate of 105. Of readings with a confidence over
0.9, 97 % are to be right, and 60 % of all are to be over it; ``bins`` is the reliability plot.
"""

import itertools
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EXPERIMENTS = Path(__file__).parent
sys.path.append(str(EXPERIMENTS.parent / "baselines"))  # environments, and processes in them

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from lib.experiment import Experiment, Options, Row, main  # noqa: E402
from lib.material import ASSETS  # noqa: E402
from lib.plate_rows import COLUMNS, reached  # noqa: E402
from runner.environments import BASELINES, ensure, requirements  # noqa: E402
from runner.process import Worker  # noqa: E402

from edgecnn.pipelines import PARTS, SHIPPED  # noqa: E402
from edgecnn.plates.__main__ import make_bundles  # noqa: E402
from edgecnn.train.plates.readings import ALIKE  # noqa: E402
from edgecnn_runtime import load  # noqa: E402
from edgecnn_runtime.assembly import make_pipeline  # noqa: E402
from edgecnn_runtime.evaluation.metrics import wilson  # noqa: E402
from edgecnn_runtime.geometry import iou  # noqa: E402
from edgecnn_runtime.image_file import read_picture  # noqa: E402
from edgecnn_runtime.inference import ModelInference  # noqa: E402
from edgecnn_runtime.model import Model  # noqa: E402
from edgecnn_runtime.recipe import read_recipe  # noqa: E402
from edgecnn_runtime.stages.model_reader import ModelReader  # noqa: E402
from edgecnn_runtime.types import Box, Frame  # noqa: E402

PLATES = ASSETS / "plates"
GOALS = {"eu": 22, "us": 40, "br": 24}
"""How many of 26, 53 and 26 are to be right, as a first step."""
CROPS_GOAL, FOUND, FALSE, FASTER, LOST = 170, 0.95, 0.1, 15.0, 1
SURE, SURE_RIGHT, SURE_SHARE = 0.9, 0.97, 0.6
QUICK, FEW, CALIBRATION = 4, 32, 300
FORMS = {"float": "fp32", "INT8": "int8-cpu"}


@dataclass(frozen=True)
class Photograph:
    """A photograph of a car.

    Attributes:
        file: The picture.
        region: Name of its folder.
        box: Of the plate, in pixels.
        text: Of the plate.
    """

    file: Path
    region: str
    box: Box
    text: str


@dataclass(frozen=True)
class Answer:
    """What a pipeline says of one photograph.

    Attributes:
        texts: With their confidences, of the largest plate first.
        found: Whether a detection overlaps the label.
        others: How many detections do not.
        ms: How long all of it took.
    """

    texts: Sequence[tuple[str, float]]
    found: bool
    others: int
    ms: float

    @property
    def best(self) -> str:
        """The text of the largest plate."""
        return self.texts[0][0] if self.texts else ""


def measure(options: Options) -> Iterator[Row]:
    """Rows of the issue's table."""
    photographs = [photograph for region in GOALS for photograph in labeled(region)]
    crops = sorted((PLATES / "crops").iterdir())
    if options.quick:
        photographs = [p for i, p in enumerate(photographs) if i % (105 // QUICK) == 0]
        crops = crops[:QUICK]
    with tempfile.TemporaryDirectory() as name:
        folder = bundles(Path(name), FEW if options.quick else CALIBRATION)
        answers = {form: look(folder, artifact, photographs) for form, artifact in FORMS.items()}
        theirs = rapidocr([photograph.file for photograph in photographs])
        for form, said in answers.items():
            yield from by_region(form, photographs, said)
            yield from finding(form, said)
            yield from reliability(form, photographs, said)
        yield from by_region_of_lines(photographs, theirs)
        yield lost(photographs, answers)
        yield speed(answers, theirs)
        for form, artifact in FORMS.items():
            yield chinese(form, folder, artifact, crops)


def labeled(region: str) -> Iterator[Photograph]:
    """The photographs of a region."""
    table = PLATES / "scenes" / region / "labels.tsv"
    for line in table.read_text().splitlines()[1:]:
        file, *box, text = line.split("\t")
        x, y, w, h = map(float, box)
        yield Photograph(table.parent / file, region, Box(x, y, x + w, y + h), text)


def bundles(folder: Path, count: int) -> Path:
    """The pipeline's file and bundles: those that are there, else made now."""
    source = SHIPPED["plates"].parent
    for part in (file for pattern in PARTS for file in source.glob(pattern)):
        (folder / part.name).symlink_to(part)
    if not any(folder.glob("*.edge")):
        make_bundles(folder, count)
    return folder


def look(folder: Path, artifact: str, photographs: Sequence[Photograph]) -> list[Answer]:
    """Every photograph by the pipeline, on one form of its models and one thread."""
    recipe = read_recipe(folder / "plates.yaml")
    assert recipe.second is not None
    with (
        open_form(recipe.first.model, artifact, folder, recipe.least_score) as first,
        open_form(recipe.second.model, artifact, folder) as second,
    ):
        infer = ModelInference(first)
        pipeline = make_pipeline(recipe, first, second, ModelReader(second), camera="photographs")
        return [answer(infer, pipeline, photograph) for photograph in photographs]


def open_form(bundle: str, artifact: str, folder: Path, score: float | None = None) -> Model:
    """A bundle on one thread, in float where it does not have the form."""
    has_it = (Path(bundle) / f"model.{artifact}.onnx").exists()
    form = artifact if has_it else "fp32"
    return load(bundle, artifact=form, threads=1, score=score, cache_dir=folder)


def answer(infer: ModelInference, pipeline: Any, photograph: Photograph) -> Answer:
    """One photograph."""
    pixels = read_picture(photograph.file)
    assert pixels is not None
    start = time.perf_counter()
    frame = Frame(pixels, 0, time.monotonic(), None, "photographs", file=str(photograph.file))
    (result,) = infer([frame])
    events = pipeline.follow(result)
    ms = 1000 * (time.perf_counter() - start)
    read = sorted(((area(e.box), e.text, e.score) for e in events if e.box), reverse=True)
    hits = [iou(detection.box, photograph.box) >= 0.5 for detection in result.result]
    return Answer([(text, score) for _, text, score in read], any(hits), hits.count(False), ms)


def rapidocr(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Lines and milliseconds of RapidOCR on whole photographs, in an environment of its own."""
    with Worker(BASELINES / "rapidocr" / "worker.py", ensure("rapidocr")) as worker:
        answers: list[dict[str, Any]] = worker.call("lines", files=[str(file) for file in files])
        return answers


def by_region(
    form: str, photographs: Sequence[Photograph], said: Sequence[Answer]
) -> Iterator[Row]:
    """How many photographs of a region are read right."""
    for region, goal in GOALS.items():
        pairs = [(p.text, a) for p, a in zip(photographs, said, strict=True) if p.region == region]
        right = sum(same(text, a.best) for text, a in pairs)
        yield {
            "what": f"{region}, {form}", "value": right, "goal": goal, "unit": f"of {len(pairs)}",
            "strict": sum(text == a.best for text, a in pairs),
            "any": sum(any(same(text, read) for read, _ in a.texts) for text, a in pairs),
            "interval": [*wilson(right, max(1, len(pairs)))],
            "readings": [[text, *(read for read, _ in a.texts)] for text, a in pairs],
        }  # fmt: skip


def by_region_of_lines(
    photographs: Sequence[Photograph], theirs: Sequence[Mapping[str, Any]]
) -> Iterator[Row]:
    """The same of RapidOCR."""
    for region in GOALS:
        pairs = [
            (p.text, texts_of(a["lines"]))
            for p, a in zip(photographs, theirs, strict=True)
            if p.region == region
        ]
        yield {
            "what": f"{region}, RapidOCR {requirements('rapidocr')['rapidocr']}",
            "value": sum(any(same(text, line) for line in lines) for text, lines in pairs),
            "goal": 0, "unit": f"of {len(pairs)}",
            "strict": sum(text in lines for text, lines in pairs),
        }  # fmt: skip


def texts_of(lines: Sequence[str]) -> list[str]:
    """What a plate may say by these lines: each, and each with the next one."""
    bare = ["".join(char for char in line.upper() if char.isalnum()) for line in lines]
    return [*bare, *(one + other for one, other in itertools.pairwise(bare))]


def finding(form: str, said: Sequence[Answer]) -> Iterator[Row]:
    """How many plates are found, and what else is."""
    found = sum(answer.found for answer in said) / len(said)
    others = sum(answer.others for answer in said) / len(said)
    yield {"what": f"found, {form}", "value": found, "goal": FOUND, "unit": "of all"}
    yield {
        "what": f"boxes elsewhere, {form}: to be looked at", "value": others, "goal": FALSE,
        "unit": "a photograph", "most": True,
    }  # fmt: skip


def reliability(
    form: str, photographs: Sequence[Photograph], said: Sequence[Answer]
) -> Iterator[Row]:
    """How often sure readings are right, and how many there are."""
    pairs = [
        (a.texts[0][1], same(p.text, a.best))
        for p, a in zip(photographs, said, strict=True)
        if a.texts
    ]
    sure = [right for score, right in pairs if score > SURE]
    edges = np.linspace(0, 1, 11)
    bins = [
        [float(low), *np.mean([(s, r) for s, r in pairs if low < s <= high], axis=0).tolist()]
        for low, high in itertools.pairwise(edges)
        if any(low < s <= high for s, _ in pairs)
    ]
    share = sum(sure) / max(1, len(sure))
    yield {
        "what": f"right of those over {SURE:g}, {form}", "value": share, "goal": SURE_RIGHT,
        "unit": f"of {len(sure)}", "bins": bins,
    }  # fmt: skip
    share = len(sure) / max(1, len(pairs))
    yield {
        "what": f"readings over {SURE:g}, {form}", "value": share, "goal": SURE_SHARE,
        "unit": f"of {len(pairs)}",
    }  # fmt: skip


def lost(photographs: Sequence[Photograph], answers: Mapping[str, Sequence[Answer]]) -> Row:
    """Plates that INT8 loses, those that it gains subtracted."""
    right = {
        form: sum(same(p.text, a.best) for p, a in zip(photographs, said, strict=True))
        for form, said in answers.items()
    }
    value = right["float"] - right["INT8"]
    return {"what": "lost to INT8", "value": value, "goal": LOST, "unit": "plates", "most": True}


def speed(answers: Mapping[str, Sequence[Answer]], theirs: Sequence[Mapping[str, Any]]) -> Row:
    """RapidOCR's median time over that of the faster form; it uses as many threads as it likes."""
    ms = {form: float(np.median([a.ms for a in said])) for form, said in answers.items()}
    ms["RapidOCR"] = float(np.median([answer["ms"] for answer in theirs]))
    ours = min(ms["float"], ms["INT8"])
    return {
        "what": "time of RapidOCR over ours, whole photographs", "value": ms["RapidOCR"] / ours,
        "goal": FASTER, "unit": "times", "ms": ms,
    }  # fmt: skip


def chinese(form: str, folder: Path, artifact: str, crops: Sequence[Path]) -> Row:
    """Crops whose names are their texts."""
    recipe = read_recipe(folder / "plates.yaml", cropped=True)
    right = 0
    with open_form(recipe.first.model, artifact, folder) as reader:
        for crop in crops:
            picture = read_picture(crop)
            assert picture is not None
            right += same(crop.stem.partition("_")[0], reader(picture).text)
    return {
        "what": f"Chinese crops, {form}", "value": right, "goal": CROPS_GOAL,
        "unit": f"of {len(crops)}",
    }  # fmt: skip


def area(box: Box | None) -> float:
    """Of a box, in pixels."""
    return 0.0 if box is None else (box.x2 - box.x1) * (box.y2 - box.y1)


def same(truth: str, text: str) -> bool:
    """Whether a text is right but for O and 0, I and 1."""
    return truth.translate(ALIKE) == text.translate(ALIKE)


if __name__ == "__main__":
    cv2.setNumThreads(1)
    experiment = Experiment(
        name="plates",
        title="License plates in whole photographs",
        measure=measure,
        reached=reached,
        columns=COLUMNS,
        needs_assets=True,
    )
    sys.exit(main(__doc__, experiment))
