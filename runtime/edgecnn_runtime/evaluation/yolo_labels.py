"""Images with a YOLO text file each, one line per object, in fractions of the image's sides.

A line is ``class cx cy w h`` for a box, that and ``x y`` or ``x y v`` for each key point,
``class x1 y1 … x4 y4`` for a rotated box, or ``class x1 y1 x2 y2 …`` for the outline of a mask. The
texts lie beside the images, or in ``labels/`` where the images are in ``images/``; images
without one are left out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.evaluation.dataset import (
    MAX_NAMES,
    NO_IMAGE,
    LabeledImage,
    LabeledObject,
    SourceLocation,
    count_images,
    read_labeled_image,
)
from edgecnn_runtime.evaluation.label_shapes import (
    LabelShape,
    mask_object,
    pose_object,
    rotated_object,
)
from edgecnn_runtime.evaluation.object_tables import check_class
from edgecnn_runtime.image_file import SUFFIXES
from edgecnn_runtime.types import Box

BOX = ("cx", "cy", "w", "h")
OUTSIDE = 0.01
"""How far rounding may push a fraction out of 0..1."""
OUTSIDE_TURNED = 0.5
"""The same of the corners of a rotated box around an object at the image's border."""


def read_yolo_labels(
    source: SourceLocation, model: ModelSpec, shape: LabelShape
) -> list[LabeledImage]:
    """Read every image that has a text, with its objects.

    A line that is there twice counts once, as it does in training.

    Raises:
        UsageError: A line is not an object of the model's classes, or a text has no image.
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
            objects = dict.fromkeys(_objects(source.of(text), file, model, shape))
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
        if text not in texts and _looks_like_objects(text)
    )
    if others:
        names = ", ".join(map(str, others[:MAX_NAMES]))
        raise source.error(
            f"{len(others)} of {len(others) + len(texts)} label files have no image: {names}"
        )


def _looks_like_objects(text: Path) -> bool:
    words = text.read_text("utf-8", "replace").split("\n", 1)[0].split()
    try:
        return len([float(word) for word in words]) > len(BOX)
    except ValueError:
        return False


def _objects(
    place: SourceLocation, file: Path, model: ModelSpec, shape: LabelShape
) -> Iterator[LabeledObject]:
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
        yield _OBJECTS[shape.name](_Line(where, words, model, shape, (width, height)))


@dataclass(frozen=True)
class _Line:
    """One line of a text: a class and numbers.

    Attributes:
        place: Where it is written.
        words: What is written.
        model: Whose labels it is read for.
        shape: What follows the class.
        size: Width and height of the image.
    """

    place: SourceLocation
    words: Sequence[str]
    model: ModelSpec
    shape: LabelShape
    size: tuple[int, int]

    @property
    def index(self) -> int:
        """The class; checked."""
        index = int(self.words[0])
        check_class(self.place, index, self.model)
        return index

    def numbers(
        self, names: Sequence[str], what: str, *, more: int = 0, outside: float = OUTSIDE
    ) -> list[float]:
        """The numbers after the class, of which as many as ``names`` are fractions of the image.

        Args:
            names: Of the fractions.
            what: How the line should look, for a message.
            more: How many further numbers there are.
            outside: How far fractions may lie out of 0..1.
        """
        try:
            int(self.words[0])
            values = [float(word) for word in self.words[1:]]
        except ValueError:
            raise self.place.error(f"not {what}") from None
        if len(values) != len(names) + more:
            raise self.place.error(f"not {what}; here are {len(values)} numbers after the class")
        for name, word, value in zip(names, self.words[1:], values, strict=False):
            if not -outside <= value <= 1 + outside:
                listed = ", ".join(names) if len(names) <= len(BOX) else "coordinates"
                raise self.place.error(
                    f"{name} is {word}; {listed} are fractions of the image, 0 to 1"
                )
        return values

    def pixels(self, fractions: Sequence[float]) -> NDArray[np.float64]:
        """float64[N,2], x and y of points."""
        return np.array(fractions).reshape(-1, 2) * self.size

    def box(self, values: Sequence[float]) -> Box:
        """The box that cx, cy, w, h say."""
        cx, cy, w, h = values
        for name, word, value in zip("wh", self.words[3:], (w, h), strict=False):
            if value <= 0:
                raise self.place.error(f"{name} is {word}; a box has a width and a height above 0")
        low, high = self.pixels([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]).tolist()
        return Box(*low, *high)


def _box_object(line: _Line) -> LabeledObject:
    values = line.numbers(BOX, "`class cx cy w h`, a whole number and four fractions")
    return LabeledObject(line.index, line.box(values))


def _pose_object(line: _Line) -> LabeledObject:
    count, given = line.shape.points, len(line.words) - 1 - len(BOX)
    flat, flagged = 2 * count, 3 * count
    what = (
        f"`class cx cy w h` and the model's {count} key points as `x y` or `x y v`, "
        f"{len(BOX) + flat} or {len(BOX) + flagged} numbers after the class"
    )
    values = line.numbers(BOX, what, more=flagged if given == flagged else flat)
    rows = np.array(values[len(BOX) :]).reshape(count, -1)
    if given == flagged:
        visible = rows[:, 2]
        if not np.isin(visible, (0, 1, 2)).all():
            raise line.place.error(
                "v is 0 (not labeled), 1 (hidden) or 2 (visible) for each key point"
            )
    else:
        visible = np.where((rows < 0).any(1) | (rows == 0).all(1), 0, 2)
    labeled = rows[visible > 0, :2]
    if not ((labeled >= -OUTSIDE) & (labeled <= 1 + OUTSIDE)).all():
        raise line.place.error("x and y of key points are fractions of the image, 0 to 1")
    places = np.where(visible[:, None] > 0, rows[:, :2] * line.size, 0.0)
    return pose_object(line.index, line.box(values[: len(BOX)]), np.c_[places, visible].tolist())


def _rotated_object(line: _Line) -> LabeledObject:
    names = [f"{axis}{corner}" for corner in range(1, 5) for axis in "xy"]
    what = f"`class {' '.join(names)}`, a whole number and four corners in fractions"
    corners = line.pixels(line.numbers(names, what, outside=OUTSIDE_TURNED))
    return rotated_object(line.place, line.index, corners)


def _mask_object(line: _Line) -> LabeledObject:
    count = (len(line.words) - 1) // 2
    names = [f"{axis}{point}" for point in range(1, count + 1) for axis in "xy"]
    what = "`class x1 y1 x2 y2 x3 y3 …`, a whole number and a polygon in fractions"
    polygon = line.pixels(line.numbers(names, what))
    return mask_object(line.place, line.index, [polygon], line.size)


_OBJECTS: Mapping[str, Callable[[_Line], LabeledObject]] = {
    "boxes": _box_object,
    "key points": _pose_object,
    "rotated boxes": _rotated_object,
    "masks": _mask_object,
}
