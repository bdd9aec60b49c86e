"""Labeled images as values, and where in a user's files each label is written."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.evaluation.index_png import Numbers, read_index_png
from edgecnn_runtime.idx import idx_files
from edgecnn_runtime.image_file import SUFFIXES, image_bytes, is_image_file, read_picture
from edgecnn_runtime.run_length import RunLengths
from edgecnn_runtime.types import Box, Pixels, Point

MAX_NAMES = 3
"""Names that a message lists."""
IGNORED = 255
"""In a class map: pixels that do not count."""
MAX_NUMBERS = 8
"""Numbers that a message lists."""
MAX_LENGTH = 40
"""Characters of a name that a message shows."""
NO_IMAGE = f"holds no image ({', '.join(sorted(SUFFIXES))})"
OVERHANG = 0.05
"""How far a box may reach out of its image, as a share of the side, because annotators let it."""
OVERHANG_PIXELS = 2.0


@dataclass(frozen=True)
class SourceLocation:
    """Where labels are written.

    Attributes:
        path: A file or a folder.
        line: In the file, from 1; 0 for all of it.
        entry: In a JSON file, such as ``annotations[3]``; "" for all of it.
        argument: The flag or argument that names the labels, for messages; "" for none.
    """

    path: Path
    line: int = 0
    argument: str = ""
    entry: str = ""

    def at(self, line: int) -> "SourceLocation":
        """A line of the file."""
        return replace(self, line=line)

    def of(self, path: Path) -> "SourceLocation":
        """Another file that belongs to the same labels."""
        return replace(self, path=path, line=0, entry="")

    def within(self, entry: str) -> "SourceLocation":
        """An entry of the file."""
        return replace(self, entry=entry)

    def error(self, problem: str) -> UsageError:
        """The error that says what is wrong here."""
        line = f":{self.line}" if self.line else ""
        entry = f" {self.entry}:" if self.entry else ""
        return UsageError(f"{self.argument} {self.path}{line}:{entry} {problem}".lstrip())


@dataclass(frozen=True)
class LabeledObject:
    """One labeled object. Coordinates are pixels of the image's file.

    Attributes:
        index: The number of its class.
        box: Around it.
        points: Its key points, each x, y and visibility: 0 not labeled, 1 hidden, 2 visible.
        corners: The four corners of its rotated box, in turn.
        mask: Its pixels.
        area: Of its outline, in square pixels: what distances between key points are measured by.
        crowd: Whether it is a region of many such objects, in which a detection is neither right
            nor wrong.
    """

    index: int
    box: Box
    points: tuple[tuple[float, float, int], ...] = ()
    corners: tuple[Point, ...] = ()
    mask: RunLengths | None = None
    area: float = 0.0
    crowd: bool = False

    @property
    def ignored(self) -> bool:
        """Whether it need not be found, and what finds it is neither right nor wrong.

        Crowds are, and objects with key points none of which is labeled.
        """
        unlabeled = self.points and not any(visible for _, _, visible in self.points)
        return self.crowd or bool(unlabeled)


@dataclass(frozen=True)
class ClassMapFile:
    """A PNG that holds a class number for each pixel of an image.

    Attributes:
        path: The file.
        classes: How many classes there are.
    """

    path: Path
    classes: int

    def read(self, place: SourceLocation) -> Numbers:
        """The class number of every pixel, [H,W]; IGNORED where it does not count.

        Args:
            place: The labels that it belongs to.

        Raises:
            UsageError: The file is not such a map, or has numbers that are no class.
        """
        here = place.of(self.path)
        try:
            numbers = read_index_png(self.path)
        except (OSError, ValueError) as error:
            raise here.error(str(error)) from None
        unknown = sorted(set(np.unique(numbers).tolist()) - {*range(self.classes), IGNORED})
        if unknown:
            more = " …" if len(unknown) > MAX_NUMBERS else ""
            raise here.error(
                f"holds {', '.join(map(str, unknown[:MAX_NUMBERS]))}{more}, and the model's "
                f"classes are 0 to {self.classes - 1}; {IGNORED} stands for pixels that do not "
                "count"
            )
        return numbers


@dataclass(frozen=True)
class LabeledImage:
    """One labeled image.

    Attributes:
        file: The image.
        label: Its class, its person or its text; empty where objects are labeled.
        objects: The labeled objects.
        places: The rows of a table it comes from, one per object if it has any; empty for others.
        size: Width and height that the labels were made for; None where they do not say.
        class_map: The class of each pixel; None where objects or the whole image are labeled.
    """

    file: Path
    label: str = ""
    objects: tuple[LabeledObject, ...] = ()
    places: tuple[SourceLocation, ...] = field(default=(), repr=False, compare=False)
    size: tuple[int, int] | None = None
    class_map: ClassMapFile | None = None


@dataclass(frozen=True)
class LabeledSet:
    """Labeled images from one folder or table.

    Attributes:
        source: The folder or table.
        samples: The images, at least one, all of them files that exist.
    """

    source: SourceLocation
    samples: tuple[LabeledImage, ...]

    @property
    def name(self) -> str:
        """The name of the folder or table."""
        return self.source.path.name

    def some(self, count: int) -> "LabeledSet":
        """``count`` of the images, evenly spaced; all of them where there are no more."""
        total = len(self.samples)
        places = range(total) if total <= count else (at * total // count for at in range(count))
        return replace(self, samples=tuple(self.samples[at] for at in places))

    def frames(self) -> Iterator[tuple[LabeledImage, Pixels]]:
        """Read the images one by one.

        Yields:
            A sample and its image, uint8[H,W,3] BGR.

        Raises:
            UsageError: A file is not an image, has another size than its labels were made for, or
                a table's box lies outside it.
        """
        for sample in self.samples:
            place = next(iter(sample.places), self.source)
            frame = read_labeled_image(sample.file, place)
            _check_size(sample, frame, place)
            _check_boxes(sample, frame)
            yield sample, frame

    def sha256(self) -> str:
        """Digest of all labels and image files, in order."""
        digest = hashlib.sha256()
        for sample in self.samples:
            digest.update(repr(sample).encode())
            if sample.class_map:
                digest.update(hashlib.sha256(image_bytes(sample.class_map.path)).digest())
            digest.update(hashlib.sha256(image_bytes(sample.file)).digest())
        return digest.hexdigest()


def make_labeled_set(source: SourceLocation, samples: Sequence[LabeledImage]) -> LabeledSet:
    """A set of samples whose files exist.

    Raises:
        UsageError: Some do not.
    """
    absent = [sample for sample in samples if not is_image_file(sample.file)]
    if absent:
        names = ", ".join(str(sample.file) for sample in absent[:MAX_NAMES])
        raise first_place(source, absent).error(
            f"{len(absent)} of {len(samples)} labeled files do not exist: {names}; "
            "those of a table are looked for relative to it"
        )
    return LabeledSet(source, tuple(samples))


def read_labeled_image(file: Path, place: SourceLocation) -> Pixels:
    """Read an image, uint8[H,W,3] BGR.

    Args:
        file: The image.
        place: The table's row that names it, or the folder it lies in.

    Raises:
        UsageError: It is not an image.
    """
    frame = read_picture(file)
    if frame is None:
        problem = "is not an image that can be read; replace it, or take it out"
        raise place.error(f"{file} {problem}") if place.line else place.of(file).error(problem)
    return frame


def is_table(source: SourceLocation) -> bool:
    """Whether labels are in a table, and not in a folder or an IDX file.

    Raises:
        UsageError: There is neither.
    """
    if not source.path.exists():
        raise source.error("no such file or folder")
    return source.path.is_file() and not idx_files(source.path, training=False)


def class_index(label: str, labels: Sequence[str]) -> int | None:
    """A class by its name, or by its number where the names are not known; None for neither."""
    if label in labels:
        return labels.index(label)
    return int(label) if label.isdecimal() and len(label) < 10 and not labels else None


def first_place(source: SourceLocation, samples: Sequence[LabeledImage]) -> SourceLocation:
    """Where the first of some samples is written; the whole source where that is a folder."""
    return next(iter(samples[0].places), source)


def truncate_text(text: str) -> str:
    """Text as a message can show it: on one line, not too long."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_LENGTH else f"{line[:MAX_LENGTH]}…"


def list_names(names: Sequence[str]) -> str:
    """The first few names, for a message."""
    more = " …" if len(names) > MAX_NAMES else ""
    return ", ".join(map(truncate_text, names[:MAX_NAMES])) + more


def count_images(count: int) -> str:
    """``1 image``, ``5 images``."""
    return f"{count} image{'s' if count != 1 else ''}"


def is_outside(box: Box, width: int, height: int) -> bool:
    """Whether a box reaches further out of its image than annotators let it."""
    overhangs = max(-box.x1, box.x2 - width), max(-box.y1, box.y2 - height)
    return any(
        overhang > max(OVERHANG_PIXELS, OVERHANG * side)
        for overhang, side in zip(overhangs, (width, height), strict=True)
    )


def _check_size(sample: LabeledImage, frame: Pixels, place: SourceLocation) -> None:
    """Raise UsageError where labels were made for an image of another size."""
    height, width = frame.shape[:2]
    size = sample.class_map.read(place).shape[::-1] if sample.class_map else sample.size
    if size and size != (width, height):
        labeled_width, labeled_height = size
        turned = " turned by its EXIF tag," if size == (height, width) else ""
        raise place.error(
            f"{sample.file} is{turned} {width} × {height} pixels, and its labels were made for "
            f"{labeled_width} × {labeled_height}; give the image they were made for"
        )


def _check_boxes(sample: LabeledImage, frame: Pixels) -> None:
    """Raise UsageError where the boxes of a table do not lie in their image, roughly."""
    height, width = frame.shape[:2]
    for labeled, place in zip(sample.objects, sample.places, strict=False):  # not of folders
        box = labeled.box
        center = (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
        if is_outside(Box(*center, *center) if labeled.corners else box, width, height):
            size = f"w={box.x2 - box.x1:g}, h={box.y2 - box.y1:g}"
            raise place.error(
                f"the box x={box.x1:g}, y={box.y1:g}, {size} lies outside {sample.file.name}, "
                f"which is {width} × {height} pixels; x, y are its upper left corner, and w, h its "
                "width and height, not another corner"
            )
