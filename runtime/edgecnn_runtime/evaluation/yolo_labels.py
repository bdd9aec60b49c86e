"""Pictures with a YOLO text file each: ``class cx cy w h`` a line, in fractions of the picture.

The texts lie beside the pictures, or in ``labels/`` where the pictures are in ``images/``; pictures
without one are left out.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.evaluation.table_labels import SourceLocation
from edgecnn_runtime.image_file import SUFFIXES, read_picture
from edgecnn_runtime.types import Box, Pixels

LISTED = 3
OUTSIDE = 0.01
"""Of the picture: how far rounding may push a fraction out of 0..1."""

Boxes = tuple[tuple[int, Box], ...]


def read_yolo_labels(path: Path, spec: ModelSpec) -> list[tuple[Path, Boxes]]:
    """Every picture that has a text, and its boxes: (class index, box in pixels of the file).

    A line that is there twice counts once, as it does in training.
    Raises UsageError for a line that is no box of the model's classes, and for a text whose picture
    is not there.
    """
    pictures = path / "images" if (path / "images").is_dir() else path
    found: list[tuple[Path, Boxes]] = []
    read: set[Path] = set()
    for file in sorted(pictures.rglob("*")):
        if file.suffix.lower() not in SUFFIXES:
            continue
        beside = file.with_suffix(".txt")
        places = (beside, path / "labels" / beside.relative_to(pictures), _apart(beside))
        text = next((where for where in places if where.is_file()), None)
        if text is not None:
            found.append((file, tuple(dict.fromkeys(_boxes(text, file, spec)))))
            read.add(text)
    _check_none_left(path, len(found), read)
    return found


def read_labeled_image(file: Path, place: SourceLocation | None = None) -> Pixels:
    """A picture, uint8[H,W,3] BGR. place: where it is named, for the UsageError if it is none."""
    frame = read_picture(file)
    if frame is None:
        what = "is no picture that can be read; replace it, or take it out"
        raise place.wrong(f"{file} {what}") if place else SourceLocation(file).wrong(what)
    return frame


def bad_index(index: int, spec: ModelSpec) -> str:
    """What is wrong with a class number; "" for nothing."""
    if index < 0:
        return f"class {index}, but classes count from 0"
    if spec.labels and index >= len(spec.labels):
        return f"class {index}, but the model has {len(spec.labels)}, counted from 0"
    return ""


def _apart(text: Path) -> Path:
    """a/images/b/1.txt → a/labels/b/1.txt."""
    parts = list(text.absolute().parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts)


def _check_none_left(path: Path, count: int, read: set[Path]) -> None:
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
        raise SourceLocation(path).wrong(
            f"{len(left)} of {len(left) + count} label files have no picture: {names}"
        )


def _looks_like_boxes(text: Path) -> bool:
    words = text.read_text("utf-8", "replace").split("\n", 1)[0].split()
    try:
        return len([float(word) for word in words]) == 5
    except ValueError:
        return False


def _boxes(text: Path, file: Path, spec: ModelSpec) -> Iterator[tuple[int, Box]]:
    try:
        lines = text.read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise SourceLocation(text).wrong("is no text; save it as UTF-8") from None
    given = [
        (SourceLocation(text, at), line.split()) for at, line in enumerate(lines, 1) if line.strip()
    ]
    if not given:
        return
    height, width = read_labeled_image(file).shape[:2]
    for place, words in given:
        index, (cx, cy, w, h) = _line(place, words)
        if wrong := bad_index(index, spec):
            raise place.wrong(wrong)
        box = Box(
            (cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height
        )
        yield index, box


def _line(place: SourceLocation, words: Sequence[str]) -> tuple[int, tuple[float, ...]]:
    """The class, and cx, cy, w, h in fractions."""
    try:
        index, values = int(words[0]), tuple(map(float, words[1:]))
    except ValueError:
        values = ()
    if len(values) != 4:
        raise place.wrong("not `class cx cy w h`, a whole number and four fractions")
    for name, word, value in zip(("cx", "cy", "w", "h"), words[1:], values, strict=True):
        if not -OUTSIDE <= value <= 1 + OUTSIDE:
            raise place.wrong(
                f"{name} is {word}; cx, cy, w, h are fractions of the picture, 0 to 1"
            )
        if name in {"w", "h"} and value <= 0:
            raise place.wrong(f"{name} is {word}; a box has a width and a height above 0")
    return index, values
