"""Face detectors with boxes per cell: YuNet, SCRFD and CenterFace."""

import re
from collections.abc import Mapping

from edgecnn_export.head_evidence import columns_of
from edgecnn_export.heads.base import STRIDES, Fields, Head, Outputs
from edgecnn_runtime.bundle.manifest import AnchorFree
from edgecnn_runtime.errors import UsageError

YUNET_OUTPUT = re.compile(r"(cls|obj|bbox|kps)_(\d+)")
CENTERFACE_STRIDE = 4
CENTERFACE_CHANNELS = [1, 2, 2, 10]
"""Of its maps, the smallest first."""


def yunet(outputs: Outputs) -> Fields:
    """A YuNet head, with outputs cls_8, obj_8, bbox_8, kps_8, cls_16 and so on."""
    matches = {name: match for name in outputs.shapes if (match := YUNET_OUTPUT.fullmatch(name))}
    strides = tuple(sorted({int(match[2]) for match in matches.values()}))
    missing = [
        f"{r}_{s}" for s in strides for r in ("cls", "obj", "bbox") if f"{r}_{s}" not in matches
    ]
    if not strides or missing:
        raise UsageError(f"a yunet head has outputs cls_8, obj_8, bbox_8, kps_8, …; {outputs}")
    kps = f"kps_{strides[0]}"
    points = outputs.shapes[kps][-1] // 2 if kps in matches else 0
    roles = {name: name for name in matches}
    return {"variant": "yunet", "outputs": roles, "strides": strides, "points": points}


def fits_yunet(outputs: Outputs) -> bool:
    """Outputs called cls_8 and obj_8."""
    roles = {match[1] for name in outputs.shapes if (match := YUNET_OUTPUT.fullmatch(name))}
    return {"cls", "obj"} <= roles


def scrfd(outputs: Outputs) -> Fields:
    """Outputs score_8, bbox_8, kps_8, score_16, …, whatever they are called."""
    tables = scrfd_tables(outputs)
    if not tables:
        raise UsageError(
            "an scrfd head has scores[N,A,1], boxes[N,A,4] and perhaps landmarks[N,A,10] for each "
            f"of the strides 8, 16, 32; {outputs}. Check --input"
        )
    for name in (name for role, name in tables.items() if role.startswith("score")):
        if columns_of(outputs.rows(name)).outside.any():
            raise UsageError(
                f"the scores of {name!r} leave 0..1, so they are scores before a sigmoid: end the "
                f"model with it, and export it again; {outputs}"
            )
    rows, kps = outputs.shapes[tables["score_8"]][1], tables.get("kps_8")
    return {
        "variant": "scrfd",
        "outputs": tables,
        "strides": STRIDES,
        "anchors": rows // outputs.cells([STRIDES[0]]),
        "points": outputs.shapes[kps][2] // 2 if kps else 0,
        "score": 0.5,
        "iou": 0.4,
    }


def scrfd_tables(outputs: Outputs) -> dict[str, str]:
    """SCRFD's outputs by role and stride; empty where they are others.

    Each stride has tables of 1, 4 and perhaps more columns, with one row, or a few, per cell.
    """
    found: dict[str, str] = {}
    for stride in STRIDES:
        cells = outputs.cells([stride])
        tables = {
            shape[2]: name
            for name, shape in outputs.shapes.items()
            if len(shape) == 3 and shape[1] in {cells, 2 * cells, 3 * cells}
        }
        others = [columns for columns in tables if columns not in {1, 4}]
        if not {1, 4} <= tables.keys() or len(others) > 1 or any(k % 2 for k in others):
            return {}
        found |= {f"score_{stride}": tables[1], f"bbox_{stride}": tables[4]}
        found |= {f"kps_{stride}": tables[columns] for columns in others}
    rows = [outputs.shapes[found[f"score_{s}"]][1] // outputs.cells([s]) for s in STRIDES]
    complete = set(found.values()) == set(outputs.shapes) and len(set(rows)) == 1
    return found if complete and len(found) == len(outputs.shapes) else {}


def fits_scrfd(outputs: Outputs) -> bool:
    """Such tables."""
    return bool(scrfd_tables(outputs))


def centerface(outputs: Outputs) -> Fields:
    """heatmap[1], scale[2], offset[2], landmarks[10] at a quarter of the input."""
    cells = (-(-outputs.height // CENTERFACE_STRIDE), -(-outputs.width // CENTERFACE_STRIDE))
    maps = {name: s[1] for name, s in outputs.shapes.items() if len(s) == 4 and s[2:] == cells}
    pairs = [name for name, channels in maps.items() if channels == 2]
    heatmap, *_, landmarks = sorted(maps, key=lambda name: maps[name]) or ["", ""]
    if len(maps) != 4 or len(pairs) != 2 or maps[heatmap] != 1:
        size = f"{cells[1]}x{cells[0]}"
        raise UsageError(f"a centerface head has {size} maps of 1, 2, 2, 10 channels; {outputs}")
    roles = {"heatmap": heatmap, "scale": pairs[0], "offset": pairs[1], "landmarks": landmarks}
    points = maps[landmarks] // 2
    strides = (CENTERFACE_STRIDE,)
    return {"variant": "centerface", "outputs": roles, "strides": strides, "points": points}


def fits_centerface(outputs: Outputs) -> bool:
    """Four maps of so many channels."""
    channels = sorted(shape[1] for shape in outputs.shapes.values() if len(shape) == 4)
    return channels == CENTERFACE_CHANNELS


HEADS: Mapping[str, Head] = {
    "yunet": Head(AnchorFree, yunet, fits_yunet),
    "scrfd": Head(AnchorFree, scrfd, fits_scrfd, by_values=True),
    "centerface": Head(AnchorFree, centerface, fits_centerface),
}
