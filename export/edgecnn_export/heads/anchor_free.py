"""Face detectors with one box per cell: YuNet and CenterFace."""

import re
from collections.abc import Mapping

from edgecnn_export.heads.base import Fields, Head, Outputs
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
    "centerface": Head(AnchorFree, centerface, fits_centerface),
}
