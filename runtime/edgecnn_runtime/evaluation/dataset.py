"""Labeled pictures, read from what people have: folders of classes, tables, YOLO text files.

``--eval-data`` takes

- a folder with one subfolder a class (``classify``) or a person (``embed``);
- a folder of pictures with a YOLO text file each (``detect``), see ``yolo_labels``;
- a ``.tsv`` or ``.csv`` with a header, or ``.jsonl``: ``file`` and ``label`` (classify, embed), or
  ``x``, ``y``, ``w``, ``h`` in pixels with an optional ``label`` (detect, one row a box; a file
  without boxes has empty ones), or ``text`` (ocr). Files are relative to the table.

A set on which the task's metric says nothing is refused too: no box at all, a single person.
"""

import hashlib
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.evaluation.table_labels import (
    LabelRow,
    SourceLocation,
    read_table,
    truncate_text,
)
from edgecnn_runtime.evaluation.yolo_labels import bad_index, read_labeled_image, read_yolo_labels
from edgecnn_runtime.image_file import SUFFIXES
from edgecnn_runtime.types import Box, Pixels

LISTED = 3
OVERHANG = 0.05
"""Of the picture's side: how far a box may reach out of it, because annotators let it."""
OVERHANG_PIXELS = 2.0
NEEDED: Mapping[str, tuple[str, ...]] = {
    "classify": ("file", "label"),
    "embed": ("file", "label"),
    "detect": ("file", "x", "y", "w", "h"),
    "ocr": ("file", "text"),
}
SIDES = {"w": "width", "h": "height"}


@dataclass(frozen=True)
class LabeledImage:
    """One labeled picture. label: of a class or a person. boxes: (class index, box) in pixels of
    the file. text: what it reads. What the task has no use for is empty. places: the rows of a
    table it comes from, one for each box if it has any; empty where it comes from a folder."""

    file: Path
    label: str = ""
    boxes: tuple[tuple[int, Box], ...] = ()
    text: str = ""
    places: tuple[SourceLocation, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True)
class LabeledSet:
    """name: of the folder or table."""

    name: str
    samples: tuple[LabeledImage, ...]

    def frames(self) -> Iterator[tuple[LabeledImage, Pixels]]:
        """Every sample with its picture, uint8[H,W,3] BGR, read as it is needed.

        Raises UsageError for a file that is no picture, and for a table's box that lies outside it.
        """
        for sample in self.samples:
            frame = read_labeled_image(sample.file, *sample.places[:1])
            _check_inside(sample, frame)
            yield sample, frame

    def sha256(self) -> str:
        """Of every label and every picture's file, in order: other pictures under the same names
        are another set."""
        digest = hashlib.sha256()
        for sample in self.samples:
            digest.update(repr(sample).encode())
            digest.update(hashlib.sha256(sample.file.read_bytes()).digest())
        return digest.hexdigest()


def read_evaluation(path: Path, spec: ModelSpec) -> LabeledSet:
    """Read labeled pictures for the model's task.

    Raises UsageError where the labels and the files, or the labels and the model, do not match, and
    where the task's metric says nothing about them.
    """
    if path.is_file():
        rows = read_table(path, NEEDED[spec.task])
        samples = _boxes(rows, spec) if spec.task == "detect" else _labeled(rows, spec)
    elif path.is_dir():
        samples = _folder(path, spec)
    else:
        raise SourceLocation(path).wrong("no such file or folder")
    _check_files(path, samples)
    if spec.task == "classify":
        _check_classes(path, samples, spec)
    elif spec.task == "embed":
        _check_people(path, samples)
    elif spec.task == "detect" and not any(sample.boxes for sample in samples):
        raise SourceLocation(path).wrong(
            f"{_pictures(len(samples))} and not one box, and mAP50 of nothing proves nothing; "
            "add pictures with something to find"
        )
    return LabeledSet(path.name, tuple(samples))


def class_index(label: str, labels: Sequence[str]) -> int | None:
    """A class by its name, or by its number where the names are not known; None for neither."""
    if label in labels:
        return labels.index(label)
    return int(label) if label.isdecimal() and len(label) < 10 and not labels else None


def _folder(path: Path, spec: ModelSpec) -> list[LabeledImage]:
    if spec.task == "ocr":
        raise SourceLocation(path).wrong(
            "a folder does not say what its pictures read; give a table"
        )
    if spec.task == "detect":
        samples = [LabeledImage(file, boxes=boxes) for file, boxes in read_yolo_labels(path, spec)]
    else:
        samples = [
            LabeledImage(file, label=folder.name)
            for folder in sorted(path.iterdir())
            if folder.is_dir()
            for file in sorted(folder.rglob("*"))
            if file.suffix.lower() in SUFFIXES
        ]
        loose = [file.name for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES]
        if samples and loose:
            raise SourceLocation(path).wrong(
                f"{_pictures(len(loose))} beside its subfolders and so without a label: "
                f"{_some(loose)}; move each into the folder of its class, or out"
            )
    if not samples:
        raise SourceLocation(path).wrong(_without_labels(path, spec.task))
    return samples


def _without_labels(path: Path, task: str) -> str:
    """What a folder lacks from which no labeled picture was read."""
    count = sum(file.suffix.lower() in SUFFIXES for file in path.rglob("*"))
    if not count:
        return f"holds no picture ({', '.join(sorted(SUFFIXES))})"
    if task == "detect":
        return (
            f"{_pictures(count)} and no label; each needs a YOLO text file, beside it or in labels/"
        )
    kind = "person" if task == "embed" else "class"
    return f"{_pictures(count)} and no label, none lies in a subfolder; make one for each {kind}"


def _labeled(rows: Sequence[LabelRow], spec: ModelSpec) -> list[LabeledImage]:
    """One picture a row."""
    key = "text" if spec.task == "ocr" else "label"
    first: dict[Path, LabelRow] = {}
    for row in rows:
        file, value = _file(row), row.cells[key]
        if not value:
            raise row.wrong(
                f"no `{key}` for {truncate_text(file.name)}; write it, or remove the row"
            )
        other = first.setdefault(file, row)
        if other is not row:
            same = other.cells[key] == value
            labels = (
                ""
                if same
                else f" as {truncate_text(other.cells[key])}, and here as {truncate_text(value)}"
            )
            raise row.wrong(
                f"{truncate_text(file.name)} is in line {other.place.line} already{labels}; "
                "keep one row"
            )
    if key == "text":
        return [
            LabeledImage(f, text=row.cells[key], places=(row.place,)) for f, row in first.items()
        ]
    return [LabeledImage(f, label=row.cells[key], places=(row.place,)) for f, row in first.items()]


def _boxes(rows: Sequence[LabelRow], spec: ModelSpec) -> list[LabeledImage]:
    """One box a row, or a picture without any."""
    listed: dict[Path, SourceLocation] = {}
    found: dict[Path, dict[tuple[int, Box], SourceLocation]] = {}
    for row in rows:
        file = _file(row)
        listed.setdefault(file, row.place)
        boxes = found.setdefault(file, {})
        if not any(row.cells[key] for key in "xywh"):
            continue
        one = _class(row, spec), _box(row)
        if one in boxes:
            raise row.wrong(
                f"the same box of {truncate_text(file.name)} is in line {boxes[one].line} already; "
                "keep one row"
            )
        boxes[one] = row.place
    return [
        LabeledImage(file, boxes=tuple(boxes), places=tuple(boxes.values()) or (listed[file],))
        for file, boxes in found.items()
    ]


def _file(row: LabelRow) -> Path:
    return Path(os.path.normpath(row.place.path.parent / row.cells["file"]))


def _class(row: LabelRow, spec: ModelSpec) -> int:
    label = row.cells.get("label", "")
    index = class_index(label, spec.labels) if label else 0
    if index is None:
        raise row.wrong(
            f"{truncate_text(label)!r} is none of the model's labels, {_some(spec.labels)}"
        )
    if wrong := bad_index(index, spec):
        raise row.wrong(wrong)
    return index


def _box(row: LabelRow) -> Box:
    x, y, w, h = (_number(row, key) for key in "xywh")
    for key, value in (("w", w), ("h", h)):
        if value <= 0:
            raise row.wrong(f"`{key}` is {row.cells[key]}; a box has a {SIDES[key]} above 0")
    return Box(x, y, x + w, y + h)


def _number(row: LabelRow, key: str) -> float:
    cell = row.cells[key]
    if not cell:
        raise row.wrong(
            f"`{key}` is empty; a box has x, y, w and h, a picture without one has none"
        )
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise row.wrong(f"`{key}` is {truncate_text(cell)!r}, which is no number of pixels")
    return value


def _check_inside(sample: LabeledImage, frame: Pixels) -> None:
    """That the boxes of a table lie in their picture, about."""
    height, width = frame.shape[:2]
    for (_, box), place in zip(sample.boxes, sample.places, strict=False):  # folders have no places
        out = max(-box.x1, box.x2 - width), max(-box.y1, box.y2 - height)
        if any(
            far > max(OVERHANG_PIXELS, OVERHANG * side)
            for far, side in zip(out, (width, height), strict=True)
        ):
            size = f"w={box.x2 - box.x1:g}, h={box.y2 - box.y1:g}"
            raise place.wrong(
                f"the box x={box.x1:g}, y={box.y1:g}, {size} lies outside {sample.file.name}, "
                f"which is {width} × {height} pixels; x, y are its upper left corner, and w, h its "
                "width and height, not another corner"
            )


def _check_files(path: Path, samples: Sequence[LabeledImage]) -> None:
    absent = [sample for sample in samples if not os.path.isfile(sample.file)]  # noqa: PTH113  (of any name)
    if absent:
        names = ", ".join(str(sample.file) for sample in absent[:LISTED])
        raise _first(path, absent).wrong(
            f"{len(absent)} of {len(samples)} labeled files do not exist: {names}; "
            "those of a table are looked for relative to it"
        )


def _check_classes(path: Path, samples: Sequence[LabeledImage], spec: ModelSpec) -> None:
    unknown = [s for s in samples if class_index(s.label, spec.labels) is None]
    if unknown:
        names = sorted({sample.label for sample in unknown})
        raise _first(path, unknown).wrong(
            f"{len(names)} of its classes {'is' if len(names) == 1 else 'are'} not among the "
            f"model's labels: {_some(names)}; "
            f"the model says {_some(spec.labels) or 'only numbers'}: "
            "name the classes with --labels FILE"
        )


def _check_people(path: Path, samples: Sequence[LabeledImage]) -> None:
    """That there is a pair of pictures of one person, and one of two."""
    people = Counter(sample.label for sample in samples)
    needed = (
        "TAR@FAR compares pictures of one person with each other and with those of others: "
        "two persons are needed, and two pictures of one of them"
    )
    if len(people) == 1:
        (person,) = people
        raise SourceLocation(path).wrong(
            f"all pictures are of one person, {truncate_text(person)}; {needed}"
        )
    if max(people.values()) == 1:
        raise SourceLocation(path).wrong(f"no person in it has two pictures; {needed}")


def _first(path: Path, samples: Sequence[LabeledImage]) -> SourceLocation:
    return next(iter(samples[0].places), SourceLocation(path))


def _pictures(count: int) -> str:
    return f"{count} picture{'s' if count != 1 else ''}"


def _some(names: Sequence[str]) -> str:
    more = " …" if len(names) > LISTED else ""
    return ", ".join(truncate_text(name) for name in names[:LISTED]) + more
