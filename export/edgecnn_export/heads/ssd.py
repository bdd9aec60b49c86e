"""One table of boxes and one of scores: SSD and RetinaFace."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from edgecnn_export.head_evidence import are_corners, are_fractions, columns_of, sum_to_one
from edgecnn_export.heads.base import STRIDES, Fields, Head, Outputs
from edgecnn_runtime.bundle.manifest import Ssd, Values
from edgecnn_runtime.errors import UsageError

BOXES_NAME = re.compile("box|loc|reg|delta|^dets$", re.IGNORECASE)
RETINAFACE_SIZES = ((16, 32), (64, 128), (256, 512))


@dataclass(frozen=True)
class SsdTables:
    """The names of boxes[N,A,4], scores[N,A,C] and points[N,A,2P]; "" without points."""

    boxes: str
    scores: str
    landmarks: str


def ssd_tables(outputs: Outputs) -> SsdTables | None:
    """Which outputs are boxes, scores and landmarks; None where they are not such tables."""
    tables = {name: shape[2] for name, shape in outputs.shapes.items() if len(shape) == 3}
    fours = [name for name, columns in tables.items() if columns == 4]
    named = [name for name in fours if BOXES_NAME.search(name)]
    rows = {shape[1] for shape in outputs.shapes.values() if len(shape) == 3}
    if not fours or len(tables) not in {2, 3} or len(rows) != 1:
        return None
    boxes = (named or fours)[0]
    others = sorted((name for name in tables if name != boxes), key=lambda name: tables[name])
    return SsdTables(boxes, others[0], others[1] if len(others) == 2 else "")


def ssd(outputs: Outputs) -> Fields:
    """boxes[N,A,4], scores[N,A,C] and, with more columns than 4, points[N,A,2P]."""
    tables = ssd_tables(outputs)
    if tables is None:
        raise UsageError(f"an ssd head has boxes[N,A,4] and scores[N,A,C]; {outputs}")
    boxes = outputs.rows(tables.boxes)
    decoded = outputs.options.get("decoded", "strides" not in outputs.options)
    if decoded and "decoded" not in outputs.options and not are_corners(boxes):
        raise UsageError(
            'an ssd head that gives offsets needs its prior boxes: --decode \'{"strides": '
            '[8, 16], "min_sizes": [[16], [32]]}\'; one whose graph gives corners: '
            f"--decode '{{\"decoded\": true}}'; {outputs}"
        )
    points = outputs.shapes[tables.landmarks][2] // 2 if tables.landmarks else 0
    return {
        "boxes": tables.boxes,
        "scores": tables.scores,
        "landmarks": tables.landmarks,
        "points": points,
        "values": _score_values(outputs, tables.scores),
        "background": _has_background(outputs, tables.scores),
        "decoded": decoded,
        "normalized": bool(decoded) and are_fractions(boxes, outputs.width, outputs.height),
    }


def retinaface(outputs: Outputs) -> Fields:
    """An ssd head with the priors of the RetinaFace papers."""
    priors = {"strides": STRIDES, "min_sizes": RETINAFACE_SIZES}
    return ssd(replace(outputs, options={**priors, **outputs.options})) | priors


def _score_values(outputs: Outputs, scores: str) -> Values:
    """What the scores of boxes are: within 0..1 they are probabilities, whatever they sum to."""
    rows = outputs.rows(scores)
    within = len(rows) and not columns_of(rows).outside.any()
    return "probabilities" if within else outputs.values(scores)


def _has_background(outputs: Outputs, scores: str) -> bool:
    """Whether the first class is the background: by the count of names, else by the sums."""
    classes = outputs.shapes[scores][2]
    if classes == 1 or len(outputs.labels) == classes:
        return False
    rows = outputs.rows(scores)
    if len(outputs.labels) == classes - 1 or not len(rows) or columns_of(rows).outside.any():
        return True
    return sum_to_one(rows)


def fits_ssd(outputs: Outputs) -> bool:
    """Two or three such tables, whose boxes are corners."""
    tables = ssd_tables(outputs)
    return tables is not None and are_corners(outputs.rows(tables.boxes))


def fits_retinaface(outputs: Outputs) -> bool:
    """Tables of 2, 4 and 10 columns with two rows for each cell."""
    shapes = [shape for shape in outputs.shapes.values() if len(shape) == 3]
    columns = sorted(shape[2] for shape in shapes)
    return columns == [2, 4, 10] and shapes[0][1] == 2 * outputs.cells(STRIDES)


HEADS: Mapping[str, Head] = {
    "retinaface": Head(Ssd, retinaface, fits_retinaface),
    "ssd": Head(Ssd, ssd, fits_ssd),
}
