"""NNCF's ONNX post-training quantization against `edgecnn export --int8`, on trained networks.

Both start from the bundle's float graph and see the same calibration pictures, prepared by the
runtime, so that both take the camera's bytes. Accuracy is measured on other pictures: against
labels where there are any, else as the share of decoded results equal to float's. Speed is the
engine alone, one thread. Of NNCF's two presets the more accurate one on these pictures races.
Where no INT8 of ours passed its gate, float is what the bundle runs, and what races. NNCF has no
gate: where ours returned layers to float and labels tell which answers are right, the same races
once more with the gate set aside.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
from lib.fetch import CACHE
from lib.trained import TRAINED, TrainedNetwork
from runner.exports import export
from runner.process import BASELINES, Worker
from runner.race import faster, race
from runner.rows import BaselineRow
from runner.setting import Setting

from edgecnn_bench.stats import FLOOR
from edgecnn_runtime import Model
from edgecnn_runtime.backends import Options, get_engine, installed
from edgecnn_runtime.backends.candidate import Candidate
from edgecnn_runtime.bundle.bundle import Bundle, open_bundle
from edgecnn_runtime.preprocess import Preprocessor
from edgecnn_runtime.selection.candidates import Choice
from edgecnn_runtime.types import Classification, Reading, Result
from edgecnn_runtime.verification.result_matching import results_match

PRESETS = ("performance", "mixed")
QUICK, QUICK_PICTURES = ("yunet", "digits"), 50
RACE_PICTURES = 64
"""Pictures in memory that the engines run on."""
GOAL = 1 / (1 + FLOOR)
"""Not slower, in the sense of `edgecnn bench`."""
SIGNIFICANCE = 1.96
"""McNemar's test (Psychometrika 12(2), 1947) at 5 %: a larger difference is not chance."""


@dataclass(frozen=True)
class Entry:
    """A quantized file. correct: picture by picture, whether its decoded result is."""

    name: str
    file: Path
    correct: Sequence[bool]

    @property
    def accuracy(self) -> float:
        """The share of pictures with a correct result."""
        return sum(self.correct) / len(self.correct)


def compare(setting: Setting) -> Iterator[BaselineRow]:
    """Every trained network of the experiments, on every engine here."""
    for name in QUICK if setting.quick else TRAINED:
        yield from compare_network(setting, TRAINED[name](CACHE))


def compare_network(setting: Setting, network: TrainedNetwork) -> Iterator[BaselineRow]:
    """One row per engine and bundle."""
    config = network.config(
        out=str(setting.folder / f"{network.name}.edge"), int8=True, targets=("cpu", "openvino"),
        calib=str(network.calibration), method="minmax" if setting.quick else None,
    )  # fmt: skip
    bundle = open_bundle(export(config))
    bundles = {"": bundle}
    if network.labels and has_float_layers(bundle):
        changes = {"eval_data": str(network.labels), "max_drop": 100.0,
                   "out": str(setting.folder / f"{network.name}-ungated.edge")}  # fmt: skip
        ungated = export(msgspec.structs.replace(config, **changes))
        bundles[", gate set aside"] = open_bundle(ungated)
    files = quantize(setting, bundle, network)
    pixels = prepare(bundle, network.pictures, RACE_PICTURES)
    for engine in installed():
        evaluator = Evaluator(bundle, engine, network, QUICK_PICTURES if setting.quick else None)
        theirs = [evaluator.entry(name, file) for name, file in files.items()]
        best = max(theirs, key=lambda entry: entry.accuracy)
        for how, variant in bundles.items():
            form, file = our_file(variant, engine)
            ours = evaluator.entry(f"edgecnn {form}{how}", file)
            rates = race_files(setting, engine, pixels, ours, best)
            yield BaselineRow(
                work=f"{network.name}, {engine} alone",
                ours=ours.name,
                theirs=best.name,
                fps=rates,
                speed=faster(rates[ours.name], rates[best.name]),
                answers=f"{evaluator.measure}: {ours.accuracy:.2%}, theirs {best.accuracy:.2%}, "
                f"of {len(ours.correct)} pictures",
                goal=GOAL,
                worse=worse(ours.correct, best.correct),
            )


def has_float_layers(bundle: Bundle) -> bool:
    """Whether the gate returned layers to float, in any form."""
    report = json.loads((bundle.path / "report.json").read_text("utf-8"))
    return any(layer["in_float"] for form in report["int8"]["targets"] for layer in form["layers"])


def our_file(bundle: Bundle, engine: str) -> tuple[str, Path]:
    """The form that the engine prefers: INT8, or float where no INT8 passed."""
    forms = {artifact.target: artifact for artifact in bundle.manifest.artifacts}
    quantized = (name for name in get_engine(engine).targets if name in forms.keys() - {"any"})
    form = forms[next(quantized, "any")]
    return form.file.removeprefix("model.").removesuffix(".onnx"), bundle.path / form.file


def quantize(setting: Setting, bundle: Bundle, network: TrainedNetwork) -> dict[str, Path]:
    """NNCF's files, one per preset."""
    pixels = prepare(bundle, network.calibration)
    files = {preset: bundle.path.with_suffix(f".nncf-{preset}.onnx") for preset in PRESETS}
    with setting.theirs() as worker:
        for preset, file in files.items():
            worker.call(
                "quantize", model=str(bundle.path / "model.fp32.onnx"), pixels=str(pixels),
                out=str(file), preset=preset,
            )  # fmt: skip
    return {f"NNCF, {preset}": file for preset, file in files.items()}


def prepare(bundle: Bundle, folder: Path, limit: int | None = None) -> Path:
    """Pictures as the graph takes them, uint8[N,H,W,3] in a .npy beside the bundle."""
    spec = bundle.manifest.model.input
    files = sorted(folder.glob("*.*g"))[:limit]
    pixels = np.empty((len(files), spec.height, spec.width, 3), np.uint8)
    preprocessor = Preprocessor(spec, pixels)
    for slot, file in enumerate(files):
        preprocessor.load_frame(np.asarray(cv2.imread(str(file)), np.uint8), slot)
    out = bundle.path.with_suffix(f".{folder.name}.npy")
    np.save(out, pixels)
    return out


def race_files(
    setting: Setting, engine: str, pixels: Path, ours: Entry, theirs: Entry
) -> dict[str, list[float]]:
    """The two files on one engine, each in a process of its own."""
    file = BASELINES / "engine.py"
    with Worker(file) as our_worker, Worker(file) as their_worker:
        workers = {ours.name: our_worker, theirs.name: their_worker}
        for entry in (ours, theirs):
            workers[entry.name].start(
                graph=str(entry.file), backend=engine, pixels=str(pixels), threads=1
            )
        return race(workers, setting.pace(20, RACE_PICTURES))


class Evaluator:
    """Compares a file's results with the truth, on one engine. measure: what is counted."""

    def __init__(
        self, bundle: Bundle, engine: str, network: TrainedNetwork, limit: int | None
    ) -> None:
        self._bundle, self._engine = bundle, engine
        self._frames = list(network.frames())[:limit]
        self._labels = labels(network)[:limit]
        self._float = self._results(bundle.path / "model.fp32.onnx")
        self.measure = "right" if self._labels else "equal to float"

    def entry(self, name: str, file: Path) -> Entry:
        """The file with its correct and incorrect results."""
        results = self._results(file)
        if self._labels:
            pairs = zip(results, self._labels, strict=True)
            return Entry(name, file, [text_of(result) == label for result, label in pairs])
        model, pairs = self._bundle.manifest.model, zip(results, self._float, strict=True)
        return Entry(name, file, [results_match(model, *pair) for pair in pairs])

    def _results(self, file: Path) -> list[Result]:
        manifest = self._bundle.manifest
        backend = get_engine(self._engine).open(file, Options(precision="f32"))
        candidate = Candidate(manifest.artifacts[0], self._engine, "f32", 0, "it is compared")
        with Model(manifest, backend, Choice(candidate)) as model:
            return [model(frame) for frame in self._frames]


def labels(network: TrainedNetwork) -> list[str]:
    """The labels of the pictures, in their order; empty if there are none."""
    if network.labels is None:
        return []
    lines = network.labels.read_text("utf-8").splitlines()[1:]
    return [line.split("\t")[1] for line in lines]


def text_of(result: Result) -> str:
    """The letters and digits of a reading, the number of a class.

    Plates' labels leave out the dots and dashes that are printed on them, and readers read those.
    """
    if isinstance(result, Reading):
        return "".join(filter(str.isalnum, result.text))
    assert isinstance(result, Classification)
    return str(result.index)


def worse(ours: Sequence[bool], theirs: Sequence[bool]) -> bool:
    """Whether ours is correct less often, by more than chance: McNemar's test on the pairs."""
    lost = sum(their and not our for our, their in zip(ours, theirs, strict=True))
    gained = sum(our and not their for our, their in zip(ours, theirs, strict=True))
    return lost - gained > SIGNIFICANCE * math.sqrt(lost + gained)
