"""NNCF's ONNX post-training quantization against `edgecnn export --int8`, on trained networks.

Both start from the bundle's float graph and see the same calibration pictures, prepared by the
runtime, so both take the camera's bytes. Accuracy is measured on other pictures: against labels
where there are any, else as the share of decoded results equal to float's. Speed is the engine
alone, one thread. Of NNCF's two presets the one that is more accurate on these pictures races.
Where no INT8 of ours passed its gate, float is what the bundle runs, and what races. NNCF has no
gate: where ours returned layers to float and labels tell which answers are right, the same races
once more with the gate set aside.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
from lib.fetch import CACHE
from lib.trained import TRAINED, Trained
from runner.exports import export
from runner.process import BASELINES, Worker
from runner.race import faster, race
from runner.rows import BaselineComparison, BaselineRow
from runner.setting import Setting

from edgecnn_bench.stats import FLOOR
from edgecnn_runtime import Model
from edgecnn_runtime.backends import Options, get_engine, installed
from edgecnn_runtime.bundle.bundle import Bundle, open_bundle
from edgecnn_runtime.preprocess import Preprocessor
from edgecnn_runtime.selection.candidates import Candidate, Choice
from edgecnn_runtime.types import Classification, Reading, Result
from edgecnn_runtime.verification.result_matching import results_match

PRESETS = ("performance", "mixed")
QUICK, QUICK_PICTURES = ("yunet", "digits"), 50
RACED = 64
"""Pictures in memory that the engines run on."""
WANTED = 1 / (1 + FLOOR)
"""No slower, as `edgecnn bench` means it."""
CHANCE = 1.96
"""McNemar's test (Psychometrika 12(2), 1947) at 5 %: what lies beyond is no accident."""


@dataclass(frozen=True)
class Entry:
    """A quantized file. right: picture by picture, whether its decoded result is."""

    name: str
    file: Path
    right: Sequence[bool]

    @property
    def share(self) -> float:
        """Of the pictures."""
        return sum(self.right) / len(self.right)


def compare(setting: Setting) -> BaselineComparison:
    """Every trained network that the figures know, on every engine here."""
    rows: list[BaselineRow] = []
    for name in QUICK if setting.quick else TRAINED:
        rows += compare_network(setting, TRAINED[name](CACHE))
    return BaselineComparison(rows=rows)


def compare_network(setting: Setting, network: Trained) -> list[BaselineRow]:
    """One row an engine and bundle."""
    config = network.config(
        out=str(setting.folder / f"{network.name}.edge"), int8=True, targets=("cpu", "openvino"),
        calib=str(network.calibration), method="minmax" if setting.quick else None,
    )  # fmt: skip
    bundle = open_bundle(export(config))
    bundles = {"": bundle}
    if network.labels and returned(bundle):
        changes = {"eval_data": str(network.labels), "max_drop": 100.0,
                   "out": str(setting.folder / f"{network.name}-ungated.edge")}  # fmt: skip
        ungated = export(msgspec.structs.replace(config, **changes))
        bundles[", gate set aside"] = open_bundle(ungated)
    files = quantize(setting, bundle, network)
    raced = prepared(bundle, network.pictures, RACED)
    rows = []
    for engine in installed():
        judge = Judge(bundle, engine, network, QUICK_PICTURES if setting.quick else None)
        theirs = [judge.entry(name, file) for name, file in files.items()]
        best = max(theirs, key=lambda entry: entry.share)
        for how, made in bundles.items():
            form, file = our_file(made, engine)
            ours = judge.entry(f"edgecnn {form}{how}", file)
            rates = race_files(setting, engine, raced, ours, best)
            rows.append(
                BaselineRow(
                    work=f"{network.name}, {engine} alone",
                    ours=ours.name,
                    theirs=best.name,
                    fps=rates,
                    speed=faster(rates[ours.name], rates[best.name]),
                    answers=f"{judge.measure}: {ours.share:.2%}, theirs {best.share:.2%}, of "
                    f"{len(ours.right)} pictures",
                    wanted=WANTED,
                    worse=worse(ours.right, best.right),
                )
            )
    return rows


def returned(bundle: Bundle) -> bool:
    """Whether the gate had layers returned to float, in any form."""
    report = json.loads((bundle.path / "report.json").read_text("utf-8"))
    return any(layer["in_float"] for form in report["int8"]["targets"] for layer in form["layers"])


def our_file(bundle: Bundle, engine: str) -> tuple[str, Path]:
    """The form that the engine takes first: INT8, or float where no INT8 passed."""
    forms = {artifact.target: artifact for artifact in bundle.manifest.artifacts}
    quantized = (name for name in get_engine(engine).targets if name in forms.keys() - {"any"})
    form = forms[next(quantized, "any")]
    return form.file.removeprefix("model.").removesuffix(".onnx"), bundle.path / form.file


def quantize(setting: Setting, bundle: Bundle, network: Trained) -> dict[str, Path]:
    """NNCF's files, one a preset."""
    pixels = prepared(bundle, network.calibration)
    files = {preset: bundle.path.with_suffix(f".nncf-{preset}.onnx") for preset in PRESETS}
    with setting.theirs() as worker:
        for preset, file in files.items():
            worker.call(
                "quantize", model=str(bundle.path / "model.fp32.onnx"), pixels=str(pixels),
                out=str(file), preset=preset,
            )  # fmt: skip
    return {f"NNCF, {preset}": file for preset, file in files.items()}


def prepared(bundle: Bundle, folder: Path, limit: int | None = None) -> Path:
    """Pictures as the graph takes them, uint8[N,H,W,3] in a .npy beside the bundle."""
    seen = bundle.manifest.model.input
    files = sorted(folder.glob("*.*g"))[:limit]
    pixels = np.empty((len(files), seen.height, seen.width, 3), np.uint8)
    fitting = Preprocessor(seen, pixels)
    for slot, file in enumerate(files):
        fitting.load_frame(np.asarray(cv2.imread(str(file)), np.uint8), slot)
    out = bundle.path.with_suffix(f".{folder.name}.npy")
    np.save(out, pixels)
    return out


def race_files(
    setting: Setting, engine: str, pixels: Path, ours: Entry, theirs: Entry
) -> dict[str, list[float]]:
    """The two files on one engine, each in a process of its own."""
    file = BASELINES / "engine.py"
    with Worker(file) as one, Worker(file) as other:
        workers = {ours.name: one, theirs.name: other}
        for entry in (ours, theirs):
            workers[entry.name].start(
                graph=str(entry.file), backend=engine, pixels=str(pixels), threads=1
            )
        return race(workers, setting.pace(20, RACED))


class Judge:
    """Says of a file whether its results are right, on one engine. measure: by what."""

    def __init__(self, bundle: Bundle, engine: str, network: Trained, limit: int | None) -> None:
        self._bundle, self._engine = bundle, engine
        self._frames = list(network.frames())[:limit]
        self._labels = labels(network)[:limit]
        self._float = self._results(bundle.path / "model.fp32.onnx")
        self.measure = "right" if self._labels else "equal to float"

    def entry(self, name: str, file: Path) -> Entry:
        """The file, judged."""
        found = self._results(file)
        if self._labels:
            pairs = zip(found, self._labels, strict=True)
            return Entry(name, file, [says(result) == label for result, label in pairs])
        score = getattr(self._bundle.manifest.model.decode, "score", 0.0)
        equal = zip(found, self._float, strict=True)
        return Entry(name, file, [results_match(a, b, threshold=score) for a, b in equal])

    def _results(self, file: Path) -> list[Result]:
        manifest = self._bundle.manifest
        backend = get_engine(self._engine).open(file, Options(precision="f32"))
        candidate = Candidate(manifest.artifacts[0], self._engine, "f32", 0, "it is compared")
        with Model(manifest, backend, Choice(candidate)) as model:
            return [model(frame) for frame in self._frames]


def labels(network: Trained) -> list[str]:
    """The pictures' own, in their order; none where nobody labeled them."""
    if network.labels is None:
        return []
    lines = network.labels.read_text("utf-8").splitlines()[1:]
    return [line.split("\t")[1] for line in lines]


def says(result: Result) -> str:
    """The letters and digits of a reading, the number of a class.

    Plates' labels leave out the dots and dashes that are printed on them, and readers read those.
    """
    if isinstance(result, Reading):
        return "".join(filter(str.isalnum, result.text))
    assert isinstance(result, Classification)
    return str(result.index)


def worse(ours: Sequence[bool], theirs: Sequence[bool]) -> bool:
    """Whether ours is right less often, by more than chance: McNemar's test on the pairs."""
    lost = sum(their and not our for our, their in zip(ours, theirs, strict=True))
    gained = sum(our and not their for our, their in zip(ours, theirs, strict=True))
    return lost - gained > CHANCE * math.sqrt(lost + gained)
