"""Photographs with the box of a plate: what a detector is measured on, and never trained on."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.evaluation.metrics import wilson
from edgecnn_runtime.geometry import iou
from edgecnn_runtime.image_file import read_picture
from edgecnn_runtime.types import Box, Detection, Pixels

LABELS = "labels.tsv"
MIN_IOU = 0.5
"""Overlap with the label from which a plate is found."""
Finder: TypeAlias = Callable[[Pixels], Sequence[Detection]]
"""A detector: uint8[H,W,3] BGR → detections in pixels of the picture, best first."""


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph of a car.

    Attributes:
        file: The picture.
        region: Name of its folder.
        box: Of the plate, in pixels.
    """

    file: Path
    region: str
    box: Box


@dataclass(frozen=True, slots=True)
class PhotographResult:
    """What a detector finds in a photograph.

    Attributes:
        photograph: Which one.
        overlap: The best IoU with the label, 0 without a detection.
        others: Detections that are not the labeled plate. They may be plates of other cars, which
            have no label: only an eye can tell.
    """

    photograph: Photograph
    overlap: float
    others: tuple[Detection, ...]

    @property
    def found(self) -> bool:
        """Whether the plate is found."""
        return self.overlap >= MIN_IOU


@dataclass(frozen=True, slots=True)
class RegionScore:
    """How many plates of one folder's photographs are found.

    Attributes:
        region: The folder's name; ``all`` of all of them.
        count: Photographs.
        found: How many of their plates.
        low: Lower end of the share's 95 % interval.
        high: Its upper end.
        others: Detections that are not the labeled plate.
    """

    region: str
    count: int
    found: int
    low: float
    high: float
    others: int


def read_photographs(folder: str | Path) -> list[Photograph]:
    """The photographs of a folder and of the folders in it, by their ``labels.tsv``.

    Raises:
        UsageError: There is no such table, or a line of it is wrong; the message names the line.
    """
    root = Path(folder)
    tables = [root / LABELS, *sorted(root.glob(f"*/{LABELS}"))]
    photographs = [each for table in tables if table.is_file() for each in _read_table(table)]
    if not photographs:
        raise UsageError(f"{root}: no {LABELS} with file, x, y, w, h, here or in a folder of it")
    return photographs


def measure(find: Finder, photographs: Sequence[Photograph]) -> list[PhotographResult]:
    """Look for the plate of each photograph.

    Raises:
        UsageError: One cannot be read.
    """
    results = []
    for photograph in photographs:
        pixels = read_picture(photograph.file)
        if pixels is None:
            raise UsageError(f"{photograph.file}: cannot be read as a picture")
        detections = find(pixels)
        overlaps = [iou(detection.box, photograph.box) for detection in detections]
        others = [each for each, o in zip(detections, overlaps, strict=True) if o < MIN_IOU]
        results.append(PhotographResult(photograph, max(overlaps, default=0.0), tuple(others)))
    return results


def summarize(results: Sequence[PhotographResult]) -> list[RegionScore]:
    """One score per region, and one of all of them."""
    regions = list(dict.fromkeys(result.photograph.region for result in results))
    parts = {name: [r for r in results if r.photograph.region == name] for name in regions}
    return [_score(name, part) for name, part in {**parts, "all": list(results)}.items()]


def _score(region: str, results: Sequence[PhotographResult]) -> RegionScore:
    found = sum(result.found for result in results)
    others = sum(len(result.others) for result in results)
    return RegionScore(region, len(results), found, *wilson(found, len(results)), others)


def _read_table(table: Path) -> Iterator[Photograph]:
    try:
        lines = table.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{table}: cannot be read as a table: {error}") from None
    for number, row in enumerate(csv.DictReader(lines, delimiter="\t"), start=2):
        try:
            x, y, w, h = (float(row[key]) for key in "xywh")
            file = table.parent / Path(row["file"]).name
        except (KeyError, TypeError, ValueError):
            raise UsageError(f"{table}:{number}: not a file and x, y, w, h in pixels") from None
        yield Photograph(file, table.parent.name, Box(x, y, x + w, y + h))
