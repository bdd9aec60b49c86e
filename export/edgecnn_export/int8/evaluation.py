"""Labelled pictures, read from what people have: folders of classes, tables, YOLO text files.

``--eval-data`` takes

- a folder with one subfolder a class (``classify``) or a person (``embed``);
- a folder of pictures with a YOLO text file each, beside them or in ``labels/`` where the pictures
  are in ``images/``: ``class centre_x centre_y width height`` in fractions of the picture
  (``detect``); pictures without one are left out;
- a ``.tsv`` or ``.csv`` with a header, or ``.jsonl``: ``file`` and ``label`` (classify, embed), or
  ``x``, ``y``, ``w``, ``h`` in pixels with an optional ``label`` (detect, one row a box; a file
  without boxes has empty ones), or ``text`` (ocr). Files are relative to the table.
"""

import csv
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgecnn_export.verifying.pictures import SUFFIXES
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.manifest import Manifest, Task
from edgecnn_runtime.types import Box, Pixels

FLAG = "--eval-data"
LISTED = 3
OUTSIDE = 0.01
"""Of the picture: how far rounding may push a fraction out of 0..1."""


@dataclass(frozen=True)
class Sample:
    """One labelled picture. label: of a class or a person. boxes: (class index, box) in pixels of
    the file. text: what it reads. What the task has no use for is empty."""

    file: Path
    label: str = ""
    boxes: tuple[tuple[int, Box], ...] = ()
    text: str = ""


@dataclass(frozen=True)
class EvaluationSet:
    """name: of the folder or table."""

    name: str
    samples: tuple[Sample, ...]

    def frames(self) -> Iterator[tuple[Sample, Pixels]]:
        """Every sample with its picture, uint8[H,W,3] BGR, read as it is needed."""
        for sample in self.samples:
            frame = cv2.imread(str(sample.file), cv2.IMREAD_COLOR)
            if frame is None:
                raise UsageError(f"{FLAG}: {sample.file} is no picture that can be read")
            yield sample, np.asarray(frame, np.uint8)

    def sha256(self) -> str:
        """Of every label and every picture's file, in order: other pictures under the same names
        are another set."""
        digest = hashlib.sha256()
        for sample in self.samples:
            digest.update(repr(sample).encode())
            digest.update(hashlib.sha256(sample.file.read_bytes()).digest())
        return digest.hexdigest()


def read_evaluation(path: Path, manifest: Manifest) -> EvaluationSet:
    """Read labelled pictures for the model's task.

    Raises UsageError where the labels and the files, or the labels and the model, do not match.
    """
    if path.is_file():
        samples = _table(path, manifest)
    elif path.is_dir():
        samples = _yolo(path, manifest) if manifest.task == "detect" else _folders(path)
    else:
        raise UsageError(f"{FLAG} {path}: no such file or folder")
    if not samples:
        raise UsageError(f"{FLAG} {path}: no labelled picture in it; {_expected(manifest.task)}")
    absent = [sample.file for sample in samples if not os.path.isfile(sample.file)]  # noqa: PTH113  (of any name)
    if absent:
        names = ", ".join(str(file) for file in absent[:LISTED])
        raise UsageError(
            f"{FLAG} {path}: {len(absent)} of {len(samples)} labelled files do not exist: {names}; "
            "they are looked for relative to the table"
        )
    if manifest.task == "classify":
        _check_classes(path, samples, manifest)
    return EvaluationSet(path.name, tuple(samples))


def class_index(label: str, labels: Sequence[str]) -> int | None:
    """A class by its name, or by its number where the names are not known; None for neither."""
    if label in labels:
        return labels.index(label)
    return int(label) if label.isdigit() and not labels else None


def _folders(path: Path) -> list[Sample]:
    return [
        Sample(file, label=folder.name)
        for folder in sorted(path.iterdir())
        if folder.is_dir()
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in SUFFIXES
    ]


def _yolo(path: Path, manifest: Manifest) -> list[Sample]:
    pictures = path / "images" if (path / "images").is_dir() else path
    samples = []
    read: set[Path] = set()
    for file in sorted(pictures.rglob("*")):
        if file.suffix.lower() not in SUFFIXES:
            continue
        beside = file.with_suffix(".txt")
        places = (beside, path / "labels" / beside.relative_to(pictures), _apart(beside))
        text = next((where for where in places if where.is_file()), None)
        if text is not None:
            samples.append(Sample(file, boxes=tuple(_yolo_boxes(text, file, manifest))))
            read.add(text)
    _check_none_left(path, samples, read)
    return samples


def _apart(text: Path) -> Path:
    """a/images/b/1.txt → a/labels/b/1.txt."""
    parts = list(text.absolute().parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts)


def _check_none_left(path: Path, samples: Sequence[Sample], read: set[Path]) -> None:
    """Label files whose picture is not there; other text may lie among them."""
    folders = {text.parent for text in read}
    left = sorted(
        text
        for folder in folders
        for text in folder.glob("*.txt")
        if text not in read and _looks_like_boxes(text)
    )
    if left:
        names = ", ".join(str(text) for text in left[:LISTED])
        count = f"{len(left)} of {len(left) + len(samples)}"
        raise UsageError(f"{FLAG} {path}: {count} label files have no picture: {names}")


def _looks_like_boxes(text: Path) -> bool:
    words = text.read_text("utf-8", "replace").split("\n", 1)[0].split()
    try:
        return len([float(word) for word in words]) == 5
    except ValueError:
        return False


def _yolo_boxes(text: Path, file: Path, manifest: Manifest) -> Iterator[tuple[int, Box]]:
    try:
        lines = [line.split() for line in text.read_text("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise UsageError(f"{FLAG}: {text} is no text") from None
    if not lines:
        return
    frame = cv2.imread(str(file))
    if frame is None:
        raise UsageError(f"{FLAG}: {file} is no picture that can be read")
    height, width = frame.shape[:2]
    for number, words in enumerate(lines, 1):
        try:
            first, *rest = words
            index, (cx, cy, w, h) = int(first), map(float, rest)
        except ValueError:
            raise UsageError(f"{FLAG}: {text}:{number}: not `class cx cy w h`") from None
        if not all(-OUTSIDE <= value <= 1 + OUTSIDE for value in (cx, cy, w, h)):
            raise UsageError(
                f"{FLAG}: {text}:{number}: cx, cy, w, h are fractions of the picture, 0 to 1"
            )
        _check_index(index, manifest, f"{text}:{number}")
        box = Box(
            (cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height
        )
        yield index, box


def _table(path: Path, manifest: Manifest) -> list[Sample]:
    rows = list(_rows(path))
    for number, row in rows:
        if not row.get("file"):
            columns = ", ".join(str(key) for key in row)
            raise UsageError(
                f"{FLAG} {path}:{number}: no `file` in {columns}; {_expected(manifest.task)}"
            )
    if manifest.task == "detect":
        return _boxes(path, rows, manifest)
    key = "text" if manifest.task == "ocr" else "label"
    for number, row in rows:
        if row.get(key) in {None, ""}:
            raise UsageError(f"{FLAG} {path}:{number}: no `{key}`; {_expected(manifest.task)}")
    files = [(path.parent / row["file"], str(row[key])) for _, row in rows]
    if manifest.task == "ocr":
        return [Sample(file, text=value) for file, value in files]
    return [Sample(file, label=value) for file, value in files]


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{FLAG} {path}: cannot be read as text: {error}") from None
    if path.suffix.lower() in {".jsonl", ".ndjson", ".json"}:
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    row = json.loads(line)
                except ValueError:
                    row = None
                if not isinstance(row, dict):
                    raise UsageError(f"{FLAG} {path}:{number}: not one JSON object a line")
                if odd := [key for key, value in row.items() if isinstance(value, list | dict)]:
                    raise UsageError(f"{FLAG} {path}:{number}: `{odd[0]}` is no text and no number")
                yield number, {k: "" if v is None else str(v) for k, v in row.items()}
        return
    delimiter = "," if path.suffix.lower() == ".csv" else "\t"
    try:
        for number, row in enumerate(csv.DictReader(text.splitlines(), delimiter=delimiter), 2):
            yield number, row
    except csv.Error as error:
        raise UsageError(f"{FLAG} {path}: {error}") from None


def _boxes(
    path: Path, rows: Sequence[tuple[int, Mapping[str, Any]]], manifest: Manifest
) -> list[Sample]:
    boxes: dict[str, list[tuple[int, Box]]] = {}
    for number, row in rows:
        found = boxes.setdefault(str(row["file"]), [])
        given = [row.get(key) for key in "xywh"]
        if all(value in {None, ""} for value in given):
            continue
        box = _box(given)
        if box is None:
            raise UsageError(
                f"{FLAG} {path}:{number}: x, y, w, h are not four numbers, w and h of at least 0"
            )
        label = str(row.get("label") or "")
        index = class_index(label, manifest.labels) if label else 0
        if index is None:
            raise UsageError(f"{FLAG} {path}:{number}: {label!r} is none of the model's labels")
        _check_index(index, manifest, f"{path}:{number}")
        found.append((index, box))
    return [Sample(path.parent / name, boxes=tuple(found)) for name, found in boxes.items()]


def _box(given: Sequence[Any]) -> Box | None:
    try:
        x, y, w, h = (float(value) for value in given)
    except (TypeError, ValueError):
        return None
    usable = all(map(math.isfinite, (x, y, w, h))) and w >= 0 and h >= 0
    return Box(x, y, x + w, y + h) if usable else None


def _check_index(index: int, manifest: Manifest, where: str) -> None:
    if manifest.labels and not 0 <= index < len(manifest.labels):
        raise UsageError(
            f"{FLAG}: {where}: class {index}, but the model has {len(manifest.labels)}"
        )


def _check_classes(path: Path, samples: Sequence[Sample], manifest: Manifest) -> None:
    unknown = sorted({s.label for s in samples if class_index(s.label, manifest.labels) is None})
    if unknown:
        names = ", ".join(unknown[:LISTED])
        raise UsageError(
            f"{FLAG} {path}: {len(unknown)} of its classes are not among the model's labels: "
            f"{names}; "
            f"the model says {', '.join(manifest.labels[:LISTED]) or 'only numbers'} …: "
            "name the classes with --labels FILE"
        )


def _expected(task: Task) -> str:
    return {
        "classify": "one subfolder a class, or a table with file and label",
        "embed": "one subfolder a person, or a table with file and label",
        "detect": "YOLO text files, or a table with file, x, y, w, h",
        "ocr": "a table with file and text",
    }[task]
