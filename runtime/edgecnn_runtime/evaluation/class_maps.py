"""A class for every pixel: labels in PNG files, and the intersection over union of classes.

A map of ``images/a/1.jpg`` is ``masks/a/1.png``, or in ``labels`` or ``annotations``; in VOC's
folders that of ``JPEGImages/1.jpg`` is ``SegmentationClass/1.png``. It may lie beside its image, as
``1.png`` or ``1_mask.png``, or stand in a table with ``file`` and ``mask``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.evaluation.dataset import (
    IGNORED,
    NO_IMAGE,
    ClassMapFile,
    LabeledImage,
    LabeledSet,
    SourceLocation,
    count_images,
    is_table,
    make_labeled_set,
    truncate_text,
)
from edgecnn_runtime.evaluation.index_png import Numbers
from edgecnn_runtime.evaluation.metrics import Score, bootstrap_weights, class_name
from edgecnn_runtime.evaluation.ranking import FloatArray
from edgecnn_runtime.evaluation.table_labels import read_table
from edgecnn_runtime.image_file import SUFFIXES
from edgecnn_runtime.types import ClassMap

FOLDERS = {
    "images": ("masks", "labels", "annotations"),
    "JPEGImages": ("SegmentationClass",),
}
"""Where the maps of images in each folder lie."""
SHARED, LABELED, GIVEN = range(3)

_Pair = tuple[Path, Path, tuple[SourceLocation, ...]]
"""An image, its map, and where a table names them."""


def read_class_maps(source: SourceLocation, model: ModelSpec) -> LabeledSet:
    """Read images that have a class map each; images without one are left out.

    Raises:
        UsageError: There is none, or a table names one that does not exist.
    """
    pairs = list(_from_table(source) if is_table(source) else _from_folders(source))
    samples = [
        LabeledImage(file, places=places, class_map=ClassMapFile(mask, len(model.labels)))
        for file, mask, places in pairs
    ]
    if not samples:
        count = sum(file.suffix.lower() in SUFFIXES for file in source.path.rglob("*"))
        raise source.error(
            f"{count_images(count)} and no class map; each needs a PNG of class numbers, in masks/ "
            "beside images/, or as NAME_mask.png beside it"
            if count
            else NO_IMAGE
        )
    return make_labeled_set(source, samples)


def count_all(
    samples: Sequence[LabeledImage], results: Sequence[ClassMap], model: ModelSpec
) -> list[NDArray[np.int64]]:
    """``count_pixels`` of every image."""
    classes = len(model.labels)
    return [
        count_pixels(result.classes, sample.class_map.read(SourceLocation(sample.file)), classes)
        for sample, result in zip(samples, results, strict=True)
        if sample.class_map
    ]


def count_pixels(ours: Numbers, labels: Numbers, classes: int) -> NDArray[np.int64]:
    """int64[3,classes], pixels of each class: in both maps, in the labels, in ours.

    Pixels whose label is IGNORED count nowhere.
    """
    counted = labels != IGNORED
    ours, labels = ours[counted], labels[counted]
    parts = (labels[ours == labels], labels, ours)
    return np.stack([np.bincount(part, minlength=classes)[:classes] for part in parts])


def mean_iou(counts: Sequence[NDArray[np.int64]]) -> Score:
    """Mean over classes of intersection over union, and the share of right pixels beside it.

    Pixels of all images count together, and classes that no label has are left out: M. Everingham
    et al., "The Pascal Visual Object Classes Challenge: A Retrospective" (IJCV 2015).

    Args:
        counts: Of ``count_pixels``, for each image.
    """
    table = np.stack(counts).astype(np.float64)

    def value(weights: FloatArray) -> float:
        known = _ious(np.tensordot(weights, table, 1))
        return float(np.nanmean(known)) if not np.isnan(known).all() else float("nan")

    total = table.sum(0)
    right = float(total[SHARED].sum() / max(total[LABELED].sum(), 1.0))
    score = bootstrap_weights("mIoU", value, len(counts))
    return replace(score, others={"right pixels": right})


def iou_by_class(counts: Sequence[NDArray[np.int64]], model: ModelSpec) -> dict[str, Score]:
    """For each class that labels have, its intersection over union."""
    table = np.stack(counts).astype(np.float64)
    labeled = table[:, LABELED] > 0

    def score(index: int) -> Score:
        def value(weights: FloatArray) -> float:
            return float(_ious(np.tensordot(weights, table[..., index : index + 1], 1))[0])

        images = int(labeled[:, index].sum())
        return replace(bootstrap_weights("IoU", value, len(counts)), samples=images)

    return {class_name(i, model): score(i) for i in np.flatnonzero(labeled.any(0)).tolist()}


def _ious(counts: FloatArray) -> FloatArray:
    """float64[C] of float64[3,C]; NaN for a class that no label has."""
    shared, labeled, given = counts
    union = np.where(labeled > 0, labeled + given - shared, np.nan)
    ious: FloatArray = shared / union
    return ious


def _from_table(source: SourceLocation) -> Iterator[_Pair]:
    seen: dict[Path, int] = {}
    for row in read_table(source, ("file", "mask")):
        if not row.cells["mask"]:
            raise row.place.error("no `mask` in this row; it has to name a PNG of class numbers")
        if row.file in seen:
            raise row.place.error(
                f"{truncate_text(row.file.name)} is in line {seen[row.file]} already; keep one row"
            )
        seen[row.file] = row.place.line
        file = row.path("mask")
        if not file.is_file():
            raise row.place.error(f"`mask` {truncate_text(row.cells['mask'])} does not exist")
        yield row.file, file, (row.place,)


def _from_folders(source: SourceLocation) -> Iterator[_Pair]:
    path = source.path
    folder = next((path / name for name in FOLDERS if (path / name).is_dir()), path)
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() not in SUFFIXES:
            continue
        found = next((each for each in _candidates(file) if each.is_file() and each != file), None)
        if found:
            yield file, found, ()


def _candidates(file: Path) -> Iterator[Path]:
    """Where the map of an image may lie."""
    beside = file.with_suffix(".png")
    parts = beside.absolute().parts
    for folder, others in FOLDERS.items():
        if folder in parts:
            at = len(parts) - 1 - parts[::-1].index(folder)
            yield from (Path(*parts[:at], other, *parts[at + 1 :]) for other in others)
    yield file.with_name(f"{file.stem}_mask.png")
    yield beside
