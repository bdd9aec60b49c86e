"""Images with a YOLO text file each: ``class cx cy w h`` per box, as fractions of the sides.

The texts lie beside the images, or in ``labels/`` where the images are in ``images/``; images
without one are left out.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.evaluation.box_labels import check_class
from edgecnn_runtime.evaluation.dataset import (
    MAX_NAMES,
    NO_IMAGE,
    LabeledImage,
    LabeledObject,
    SourceLocation,
    count_images,
    read_labeled_image,
)
from edgecnn_runtime.image_file import SUFFIXES
from edgecnn_runtime.types import Box

OUTSIDE = 0.01
"""How far rounding may push a fraction out of 0..1."""


def read_yolo_labels(source: SourceLocation, model: ModelSpec) -> list[LabeledImage]:
    """Read every image that has a text, with its boxes.

    A line that is there twice counts once, as it does in training.

    Raises:
        UsageError: A line is not a box of the model's classes, or a text has no image.
    """
    path = source.path
    folder = path / "images" if (path / "images").is_dir() else path
    samples: list[LabeledImage] = []
    texts: set[Path] = set()
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() not in SUFFIXES:
            continue
        beside = file.with_suffix(".txt")
        paths = (beside, path / "labels" / beside.relative_to(folder), _in_labels(beside))
        text = next((candidate for candidate in paths if candidate.is_file()), None)
        if text is not None:
            objects = dict.fromkeys(_objects(source.of(text), file, model))
            samples.append(LabeledImage(file, objects=tuple(objects)))
            texts.add(text)
    _check_texts(source, texts)
    if not samples:
        count = sum(file.suffix.lower() in SUFFIXES for file in folder.rglob("*"))
        raise source.error(
            f"{count_images(count)} and no label; each needs a YOLO text file, beside it or in "
            "labels/"
            if count
            else NO_IMAGE
        )
    return samples


def _in_labels(text: Path) -> Path:
    """a/images/b/1.txt → a/labels/b/1.txt."""
    parts = list(text.absolute().parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts)


def _check_texts(source: SourceLocation, texts: set[Path]) -> None:
    """Raise UsageError where label files have no image; other text may lie among them."""
    others = sorted(
        text
        for folder in {text.parent for text in texts}
        for text in folder.glob("*.txt")
        if text not in texts and _looks_like_boxes(text)
    )
    if others:
        names = ", ".join(map(str, others[:MAX_NAMES]))
        raise source.error(
            f"{len(others)} of {len(others) + len(texts)} label files have no image: {names}"
        )


def _looks_like_boxes(text: Path) -> bool:
    words = text.read_text("utf-8", "replace").split("\n", 1)[0].split()
    try:
        return len([float(word) for word in words]) == 5
    except ValueError:
        return False


def _objects(place: SourceLocation, file: Path, model: ModelSpec) -> Iterator[LabeledObject]:
    try:
        text = place.path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise place.error("is not text; save it as UTF-8") from None
    lines = [(place.at(n), line.split()) for n, line in enumerate(text.split("\n"), 1)]
    lines = [(where, words) for where, words in lines if words]
    if not lines:
        return
    height, width = read_labeled_image(file, place.of(file)).shape[:2]
    for where, words in lines:
        index, (cx, cy, w, h) = _line(where, words)
        check_class(where, index, model)
        left, top, right, bottom = cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2
        box = Box(left * width, top * height, right * width, bottom * height)
        yield LabeledObject(index, box)


def _line(place: SourceLocation, words: Sequence[str]) -> tuple[int, tuple[float, ...]]:
    """The class, and cx, cy, w, h in fractions."""
    try:
        index, values = int(words[0]), tuple(map(float, words[1:]))
    except ValueError:
        values = ()
    if len(values) != 4:
        raise place.error("not `class cx cy w h`, a whole number and four fractions")
    for name, word, value in zip(("cx", "cy", "w", "h"), words[1:], values, strict=True):
        if not -OUTSIDE <= value <= 1 + OUTSIDE:
            raise place.error(f"{name} is {word}; cx, cy, w, h are fractions of the image, 0 to 1")
        if name in {"w", "h"} and value <= 0:
            raise place.error(f"{name} is {word}; a box has a width and a height above 0")
    return index, values
