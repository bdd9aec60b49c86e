"""Boxes and scores in two tables that no head reads rightly, refused by their true names."""

from typing import Any

from edgecnn_export.head_evidence import (
    TOLERANCE,
    are_corners,
    columns_of,
    coordinate_unit,
    corners_share,
)  # fmt: skip
from edgecnn_export.heads.base import STRIDES, Outputs
from edgecnn_export.heads.ssd import SsdTables, ssd_tables
from edgecnn_export.planning.refusal import as_json, no_head
from edgecnn_runtime.errors import EdgecnnError, UsageError

SSD_HEADS = ("ssd", "retinaface")


def two_tables(outputs: Outputs, head: str) -> EdgecnnError | None:
    """Boxes and scores in two tables: an SSD whose boxes are offsets, corners or centers."""
    if outputs.options.get("output") or head in {"yunet", "centerface"}:
        return None
    tables = ssd_tables(outputs)
    if tables is None:
        return None
    boxes = outputs.rows(tables.boxes)
    unit = coordinate_unit(boxes, outputs.width, outputs.height)
    if unit == "nothing":
        return None
    if are_corners(boxes):
        return _corners(outputs, head, unit)
    if unit == "fractions" and columns_of(boxes).low.min() >= -TOLERANCE:
        return _centers(outputs, tables)
    return _offsets(outputs, head, tables)


def _offsets(outputs: Outputs, head: str, tables: SsdTables) -> EdgecnnError | None:
    """Boxes that are neither corners nor fractions: offsets, where nothing says otherwise."""
    if outputs.options.get("decoded"):
        share = 1 - (corners_share(outputs.rows(tables.boxes)) or 0.0)
        return UsageError(
            f"decoded is set, but the boxes of {tables.boxes!r} are no corners: x2 <= x1 or "
            f"y2 <= y1 in {share:.0%} of the rows; {outputs}"
        )
    if outputs.options.get("strides") or head == "retinaface" or _is_retinaface(outputs):
        return None
    example = as_json({"strides": [8, 16], "min_sizes": [[16], [32]]})
    return UsageError(
        "these are an SSD's offsets from prior boxes, and scores: --head ssd --decode "
        f"{example}, with the priors that the network was trained with; {outputs}"
    )


def _corners(outputs: Outputs, head: str, unit: str) -> EdgecnnError | None:
    """Boxes that are decoded already, read by a head that would decode them again."""
    fields: dict[str, Any] = {"decoded": True}
    if unit == "fractions":
        fields["normalized"] = True
    advice = f"--head ssd --decode {as_json(fields)}"
    if head and head not in SSD_HEADS:
        what = "boxes and scores in two tables, and the boxes are corners x1, y1, x2, y2"
        return UsageError(f"these are {what}, so --head {head} does not fit: {advice}; {outputs}")
    if head == "retinaface" or (outputs.options.get("strides") and not _decoded(outputs)):
        return UsageError(
            "the boxes are corners x1, y1, x2, y2 already, and priors would decode them once more: "
            f"{advice}; {outputs}"
        )
    if _decoded(outputs) and outputs.options.get("normalized", unit == "fractions") != (
        unit == "fractions"
    ):
        return UsageError(f"normalized is wrong: the boxes are {unit}; {advice}; {outputs}")
    return None


def _decoded(outputs: Outputs) -> bool:
    return bool(outputs.options.get("decoded"))


def _centers(outputs: Outputs, tables: SsdTables) -> EdgecnnError:
    """Boxes in 0..1 whose third and fourth numbers are sizes, and more than a DETR has."""
    what = (
        f"the boxes of {tables.boxes!r} are centers and sizes in fractions of the input, with a "
        "row for each prior box"
    )
    setting = as_json({"decoded": True})
    advice = f"return corners x1, y1, x2, y2, and use --head ssd --decode {setting}"
    return no_head(outputs, what, advice)


def boxes_with_an_axis_of_one(outputs: Outputs, _head: str) -> EdgecnnError | None:
    """Boxes [N,A,1,4] beside scores [N,A,C], as YOLOv4's converters write them."""
    boxes = [s for s in outputs.shapes.values() if len(s) == 4 and s[2:] == (1, 4)]
    scores = [s for s in outputs.shapes.values() if len(s) == 3]
    if len(boxes) != 1 or len(scores) != 1 or boxes[0][1] != scores[0][1]:
        return None
    what = "these are boxes [N,A,1,4] and scores [N,A,C], as pytorch-YOLOv4 writes them"
    setting = as_json({"decoded": True})
    advice = f"return boxes.squeeze(2), and use --head ssd --decode {setting}"
    return no_head(outputs, what, advice)


def _is_retinaface(outputs: Outputs) -> bool:
    columns = sorted(shape[2] for shape in outputs.shapes.values() if len(shape) == 3)
    rows = [shape[1] for shape in outputs.shapes.values()]
    return columns == [2, 4, 10] and rows[0] == 2 * outputs.cells(STRIDES)
