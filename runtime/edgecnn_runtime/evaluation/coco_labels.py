"""Objects in one COCO JSON file: boxes, key points, rotated boxes, or masks.

The format: cocodataset.org, "Data format". Categories are the model's classes by their names.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.evaluation.dataset import (
    LabeledImage,
    LabeledObject,
    SourceLocation,
    is_outside,
    list_names,
    truncate_text,
)
from edgecnn_runtime.evaluation.label_shapes import (
    LabelShape,
    mask_object,
    pose_object,
    rotated_object,
)
from edgecnn_runtime.run_length import RunLengths, from_lengths
from edgecnn_runtime.types import Box

ROBOFLOW = "_annotations.coco.json"
"""What Roboflow calls the file, beside its images."""
TOP_KEYS = re.compile(rb'\s*\{\s*"(info|licenses?|images|annotations|categories|type)"\s*:')
"""How such a file begins; a table of JSON lines begins with a row."""
MAX_BYTES = 1 << 29
"""COCO's own largest file, of 118,000 images, has 470 MB."""
MAX_PIXELS = 1 << 28
"""Of an image."""
NAMED = 5
"""Problems of a kind that a message lists."""


class _Image(msgspec.Struct):
    id: int | str
    file_name: str
    width: int | None = None
    height: int | None = None


class _Category(msgspec.Struct):
    id: int
    name: str


class _RunLengths(msgspec.Struct):
    size: tuple[int, int]
    counts: str | list[int]


class _Annotation(msgspec.Struct):
    image_id: int | str
    category_id: int
    id: int | str | None = None
    bbox: list[float] | None = None
    segmentation: list[list[float]] | _RunLengths | None = None
    area: float | None = None
    iscrowd: bool | int = 0
    keypoints: list[float] | None = None


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def find_coco_file(source: SourceLocation) -> SourceLocation | None:
    """The COCO JSON that a path names, or that lies in a folder by Roboflow's name; else None."""
    path = source.path / ROBOFLOW if source.path.is_dir() else source.path
    if path.suffix.lower() != ".json" or not path.is_file():
        return None
    with path.open("rb") as file:
        return source.of(path) if TOP_KEYS.match(file.read(1000)) else None


def read_coco_labels(
    source: SourceLocation, model: ModelSpec, shape: LabelShape
) -> list[LabeledImage]:
    """Read every image of a COCO JSON file, with its objects.

    Images are looked for beside the file, in ``images``, and where COCO has them: of
    ``annotations/instances_val2017.json`` in ``val2017``.

    Raises:
        UsageError: It is not such a file, has a category that is no class of the model, or does not
            hold what ``shape`` needs.
    """
    content = _decode(source)
    images = _images(source, content.images)
    objects: dict[int | str, list[LabeledObject]] = {key: [] for key in images}
    classes = _classes(source, content, model)
    for at, annotation in enumerate(content.annotations):
        number = "" if annotation.id is None else f" (id {_short(annotation.id)})"
        entry = source.within(f"annotations[{at}]{number}")
        image = images.get(annotation.image_id)
        if image is None:
            raise entry.error(f"no image has the id {_short(annotation.image_id)}")
        if annotation.category_id not in classes:
            raise entry.error(f"no category has the id {annotation.category_id}")
        index = classes[annotation.category_id]
        objects[image.id].append(_OBJECTS[shape.name](annotation, index, image, shape, entry))
    folder = _folder(source.path, [image.file_name for image in images.values()])
    return [
        LabeledImage(
            folder / image.file_name,
            objects=tuple(objects[key]),
            size=(image.width, image.height) if image.width and image.height else None,
        )
        for key, image in images.items()
    ]


def _decode(source: SourceLocation) -> _File:
    size = source.path.stat().st_size
    if size > MAX_BYTES:
        raise source.error(
            f"has {size / 1e6:,.0f} MB, and {MAX_BYTES / 1e6:,.0f} are read; take a part of the "
            "images"
        )
    text = source.path.read_bytes()
    try:
        return msgspec.json.decode(text, type=_File)
    except msgspec.ValidationError as error:
        raise source.error(f"is not COCO JSON: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        at = re.search(r"\(byte (\d+)\)", str(error))
        line = text.count(b"\n", 0, int(at[1])) + 1 if at else 0
        raise source.at(line).error(f"is not JSON: {error}") from None


def _images(source: SourceLocation, images: Sequence[_Image]) -> dict[int | str, _Image]:
    """The images by their ids; names are those of files below a folder."""
    known: dict[int | str, _Image] = {}
    names: set[str] = set()
    for at, image in enumerate(images):
        entry = source.within(f"images[{at}] (id {_short(image.id)})")
        image.file_name = image.file_name.replace("\\", "/")
        path = PurePosixPath(image.file_name)
        if not path.name or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
            raise entry.error(
                f"`file_name` {truncate_text(image.file_name)!r} leaves the folder of the images; "
                "write it relative to that folder"
            )
        if image.id in known or str(path) in names:
            raise entry.error(f"{truncate_text(image.file_name)} is there twice; keep one")
        for key in ("width", "height"):
            side = getattr(image, key)
            if side is not None and side < 1:
                raise entry.error(f"`{key}` is {side}")
        if (image.width or 1) * (image.height or 1) > MAX_PIXELS:
            raise entry.error(f"{image.width} × {image.height} pixels are more than any image has")
        known[image.id] = image
        names.add(str(path))
    if not known:
        raise source.error("lists no image")
    return known


def _classes(source: SourceLocation, content: _File, model: ModelSpec) -> dict[int, int]:
    """The class number for each category that annotations use.

    Without labels in the model, categories are its classes in the order of their ids.
    """
    names = {category.id: category.name for category in content.categories}
    if len(names) < len(content.categories):
        raise source.error("two of its `categories` have the same id")
    used = {annotation.category_id for annotation in content.annotations} & names.keys()
    if not model.labels:
        return {key: index for index, key in enumerate(sorted(names))}
    unknown = sorted(key for key in used if names[key] not in model.labels)
    if unknown:
        listed = list_names([f"{names[key]} (id {key})" for key in unknown])
        count = sum(annotation.category_id in unknown for annotation in content.annotations)
        raise source.error(
            f"{len(unknown)} of its categories, of {count:,} annotations, "
            f"{'is' if len(unknown) == 1 else 'are'} not among the model's labels: {listed}; the "
            f"model says {list_names(model.labels)}: rename them under `categories`, or leave "
            "their annotations out"
        )
    return {key: model.labels.index(names[key]) for key in used}


def _box_object(
    annotation: _Annotation, index: int, image: _Image, _shape: LabelShape, entry: SourceLocation
) -> LabeledObject:
    box = _box(annotation, image, entry)
    return LabeledObject(index, box, crowd=bool(annotation.iscrowd))


def _pose_object(
    annotation: _Annotation, index: int, image: _Image, shape: LabelShape, entry: SourceLocation
) -> LabeledObject:
    box, values = _box(annotation, image, entry), annotation.keypoints
    crowd = bool(annotation.iscrowd)
    if values is None and not crowd:
        raise entry.error(
            "no `keypoints`; COCO has them in another file, such as person_keypoints_val2017.json"
        )
    values = values or [0.0] * 3 * shape.points
    if len(values) != 3 * shape.points:
        raise entry.error(
            f"`keypoints` has {len(values)} numbers; the model's {shape.points} key points, as "
            f"x y v, are {3 * shape.points}"
        )
    points = [values[at : at + 3] for at in range(0, len(values), 3)]
    if not {v for _, _, v in points} <= {0, 1, 2}:
        raise entry.error("v of `keypoints` is 0 (not labeled), 1 (hidden) or 2 (visible)")
    outline = annotation.area or 0.0
    if outline < 0:
        raise entry.error(f"`area` is {outline:g}")
    return pose_object(index, box, points, outline=outline, crowd=crowd)


def _rotated_object(
    annotation: _Annotation, index: int, image: _Image, _shape: LabelShape, entry: SourceLocation
) -> LabeledObject:
    polygons = _polygons(annotation, entry)
    _box(annotation, image, entry)
    labeled = rotated_object(entry, index, np.concatenate(polygons))
    return replace(labeled, crowd=bool(annotation.iscrowd))


def _mask_object(
    annotation: _Annotation, index: int, image: _Image, _shape: LabelShape, entry: SourceLocation
) -> LabeledObject:
    segmentation, crowd = annotation.segmentation, bool(annotation.iscrowd)
    if not segmentation:
        raise entry.error("no `segmentation`; masks cannot be scored by boxes alone")
    if not image.width or not image.height:
        raise entry.error(f"its image {truncate_text(image.file_name)} has no `width` and `height`")
    size = image.width, image.height
    if isinstance(segmentation, _RunLengths):
        mask = _run_lengths(segmentation, size, entry)
        return LabeledObject(index, _box(annotation, image, entry), mask=mask, crowd=crowd)
    polygons = _polygons(annotation, entry)
    return replace(mask_object(entry, index, polygons, size), crowd=crowd)


def _polygons(annotation: _Annotation, entry: SourceLocation) -> list[NDArray[np.float64]]:
    """float64[points,2] each, in pixels."""
    segmentation = annotation.segmentation
    if not isinstance(segmentation, list) or not segmentation:
        raise entry.error("no polygon in `segmentation`; a rotated box is that around its corners")
    for numbers in segmentation:
        if len(numbers) % 2:
            raise entry.error(f"a polygon of {len(numbers)} numbers; its points are x and y each")
    return [np.array(numbers, np.float64).reshape(-1, 2) for numbers in segmentation]


_OBJECTS: Mapping[
    str, Callable[[_Annotation, int, _Image, LabelShape, SourceLocation], LabeledObject]
] = {
    "boxes": _box_object,
    "key points": _pose_object,
    "rotated boxes": _rotated_object,
    "masks": _mask_object,
}


def _run_lengths(
    segmentation: _RunLengths, size: tuple[int, int], entry: SourceLocation
) -> RunLengths:
    width, height = size
    if segmentation.size != (height, width):
        rows, columns = segmentation.size
        raise entry.error(
            f"its run lengths are of {columns} × {rows} pixels, and its image has "
            f"{width} × {height}"
        )
    counts = segmentation.counts
    if isinstance(counts, str):
        mask = RunLengths(height, width, counts.encode("utf-8", "surrogatepass"))
    elif min(counts, default=0) < 0 or max(counts, default=0) > MAX_PIXELS:
        raise entry.error("a run length is negative, or longer than any image")
    else:
        mask = from_lengths(counts, height, width)
    try:
        mask.lengths()
    except ValueError as error:
        raise entry.error(str(error)) from None
    return mask


def _box(annotation: _Annotation, image: _Image, entry: SourceLocation) -> Box:
    values = annotation.bbox
    if values is None or len(values) != 4:
        raise entry.error("`bbox` is [x, y, width, height]")
    x, y, w, h = values
    box = Box(x, y, x + w, y + h)
    if w < 0 or h < 0 or not all(map(math.isfinite, box)):
        raise entry.error(f"`bbox` is {values}; a box has a width and a height")
    if image.width and image.height and is_outside(box, image.width, image.height):
        raise entry.error(
            f"`bbox` {values} lies outside {truncate_text(image.file_name)}, which has "
            f"{image.width} × {image.height} pixels; it is x, y, width, height in pixels"
        )
    return box


def _folder(path: Path, names: Sequence[str]) -> Path:
    """Where the images are: the first folder that has one of the first few."""
    beside, split = path.parent, path.stem.rpartition("_")[2]
    folders = (
        beside,
        beside / "images",
        beside / split,
        beside.parent,
        beside.parent / "images",
        beside.parent / split,
        beside.parent / "images" / split,
    )
    for folder in folders:
        if any((folder / name).is_file() for name in names[:NAMED]):
            return folder
    return beside


def _short(key: int | str) -> str:
    return truncate_text(str(key))
