"""Which pixels show what: objects with a mask each, or one class for every pixel."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle import manifest
from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.decode.base import DecoderFactory
from edgecnn_runtime.decode.class_map import ClassMapDecoder
from edgecnn_runtime.decode.masks import InstanceDecoder
from edgecnn_runtime.geometry import iou
from edgecnn_runtime.masks import mask_iou, polygons, run_lengths
from edgecnn_runtime.tasks import detect
from edgecnn_runtime.tasks.base import Matches, printable
from edgecnn_runtime.tasks.findings import LOST, PARTNER_IOU, finding_distances, match_findings
from edgecnn_runtime.types import UNSEEN, Box, ClassMap, Detection, InstanceMask

if TYPE_CHECKING:
    from edgecnn_runtime.draw import Canvas
    from edgecnn_runtime.evaluation.dataset import LabeledImage, LabeledSet, SourceLocation
    from edgecnn_runtime.evaluation.metrics import Score

Segments: TypeAlias = list[InstanceMask] | ClassMap

MATCH_IOU = 0.8
"""IoU from which two masks are the same mask."""
MIN_SHARE = 0.01
"""The share of the picture from which a class of a class map needs a partner."""
BACKGROUND = {"background", "__background__", "_background_", "bg", "void", "unlabeled"}
"""Names of classes that are not drawn."""
TOP_CLASSES = 3
"""Classes of a class map that are named on the picture and in words, the largest ones."""

decoders: Mapping[type[Any], DecoderFactory[Any]] = {
    manifest.Segment: InstanceDecoder,
    manifest.Semantic: ClassMapDecoder,
}
columns: tuple[str, ...] = (
    "label", "class", "score", "x1", "y1", "x2", "y2", "area", "mask", "polygons",
)  # fmt: skip
decides, locates = False, True


def serialize(result: Segments) -> list[dict[str, object]]:
    """One record per object, or per class of a class map, the largest first.

    Each has ``label``, ``index``, ``box``, ``area`` (in pixels), ``mask`` (run lengths in COCO's
    uncompressed convention, of the whole frame: ``size``, its height and width, and ``counts``) and
    ``polygons`` (outlines of its parts). Objects have a ``score``, too.
    """
    if isinstance(result, ClassMap):
        return [_record(part) for part in _parts(result)]
    return [{**_record(part), "score": round(part.score, 4)} for part in result]


def draw(canvas: "Canvas", result: Segments) -> None:
    """Translucent masks, boxes and tags in the color of their class; backgrounds stay as they are.

    The largest classes of a class map are named in a banner.
    """
    from edgecnn_runtime.draw import BannerLine, class_color

    if isinstance(result, ClassMap):
        hidden = [i for i, label in enumerate(result.labels) if label.lower() in BACKGROUND]
        canvas.class_map(result.classes, hidden)
        shares = [(index, share) for index, share in _shares(result).items() if index not in hidden]
        lines = [
            BannerLine(_name(result, index), share, class_color(index))
            for index, share in shares[:TOP_CLASSES]
        ]
        if lines:
            canvas.banner(lines)
        return
    ranked = sorted(result, key=lambda instance: instance.score)
    for instance in ranked:
        canvas.mask(instance.mask, instance.origin, class_color(instance.index))
    detect.draw(canvas, list(detections(ranked)))


def count(result: Segments) -> int:
    """The number of objects, or of the classes in a class map."""
    return len(_shares(result)) if isinstance(result, ClassMap) else len(result)


def detections(result: Segments) -> Sequence[Detection]:
    """The box of each object; none of a class map."""
    if isinstance(result, ClassMap):
        return ()
    return [Detection(each.box, each.score, each.label, each.index, shape=each) for each in result]


def matches(ours: Segments, reference: Segments, threshold: float) -> Matches:
    """Every object has a partner of its class, score and mask; every class covers the same pixels.

    A mask IoU of MATCH_IOU, and a score within SCORE_MARGIN. An object within SCORE_MARGIN of the
    threshold needs no partner, nor does a class that covers less than MIN_SHARE of the picture.
    """
    if isinstance(ours, ClassMap) and isinstance(reference, ClassMap):
        equal = [overlap >= MATCH_IOU for overlap in _overlaps(ours, reference)]
        return Matches(sum(equal), len(equal)) if equal else Matches(1, 1)
    if isinstance(ours, ClassMap) or isinstance(reference, ClassMap):
        return Matches(0, 1)
    return match_findings(ours, reference, threshold, _overlap, _same)


def distances(ours: Segments, reference: Segments, threshold: float) -> Sequence[float]:
    """The mean square of what differs, in units of its margin; of a class map, by class."""
    if isinstance(ours, ClassMap) and isinstance(reference, ClassMap):
        places = [(1 - overlap) / (1 - MATCH_IOU) for overlap in _overlaps(ours, reference)]
        return [min(LOST, place**2) for place in places]
    if isinstance(ours, ClassMap) or isinstance(reference, ClassMap):
        return [LOST]
    return finding_distances(ours, reference, threshold, _gaps)


def read_labels(source: "SourceLocation", model: ModelSpec) -> "LabeledSet":
    """Outlines or masks of objects; for a model of class maps, those in PNG files.

    Objects are in YOLO texts, COCO JSON, or a table with one object per row.
    """
    from edgecnn_runtime.evaluation.class_maps import read_class_maps
    from edgecnn_runtime.evaluation.label_shapes import MASKS
    from edgecnn_runtime.evaluation.object_labels import read_object_labels

    if isinstance(model.decode, manifest.Semantic):
        return read_class_maps(source, model)
    return read_object_labels(source, model, MASKS)


def score(samples: "Sequence[LabeledImage]", results: Sequence[Any], model: ModelSpec) -> "Score":
    """Mean average precision at a mask IoU from 0.5 to 0.95; of class maps, the mean IoU."""
    from edgecnn_runtime.evaluation import class_maps, measures, metrics

    if isinstance(model.decode, manifest.Semantic):
        return class_maps.mean_iou(class_maps.count_all(samples, results, model))
    return metrics.mean_average_precision(samples, results, measures.MASKS)


def score_classes(
    samples: "Sequence[LabeledImage]", results: Sequence[Any], model: ModelSpec
) -> "Mapping[str, Score]":
    """For each class, the average precision of its masks, or the IoU of its pixels."""
    from edgecnn_runtime.evaluation import class_maps, measures, metrics

    if isinstance(model.decode, manifest.Semantic):
        return class_maps.iou_by_class(class_maps.count_all(samples, results, model), model)
    return metrics.average_precision_by_class(samples, results, model, measures.MASKS)


def summarize(result: Segments) -> str:
    """``3 × person, 1 × car``, or ``road 61 %, car 12 %``."""
    if not isinstance(result, ClassMap):
        return detect.summarize(list(detections(result)))
    shares = list(_shares(result).items())[:TOP_CLASSES]
    words = [f"{printable(_name(result, index))} {100 * share:.0f} %" for index, share in shares]
    return ", ".join(words) or "nothing found"


def _record(part: InstanceMask) -> dict[str, object]:
    paths = polygons(part.mask, part.origin)
    return {
        "label": part.label,
        "index": part.index,
        "box": [round(float(value), 1) for value in part.box],
        "area": int(np.count_nonzero(part.mask)),
        "mask": {
            "size": list(part.size),
            "counts": run_lengths(part.mask, part.origin, *part.size),
        },
        "polygons": [[[round(x, 1), round(y, 1)] for x, y in path] for path in paths],
    }


def _parts(result: ClassMap) -> Iterator[InstanceMask]:
    """The pixels of each class, the largest first; the score is its share."""
    for index, share in _shares(result).items():
        whole = result.classes == index
        (top, bottom), (left, right) = (_ends(whole.any(axis)) for axis in (1, 0))
        yield InstanceMask(
            box=Box(left, top, right, bottom),
            score=share,
            label=_name(result, index),
            index=index,
            mask=whole[top:bottom, left:right],
            origin=(left, top),
            size=result.classes.shape,
        )


def _ends(line: NDArray[np.bool_]) -> tuple[int, int]:
    """From the first to behind the last."""
    places = np.flatnonzero(line)
    return int(places[0]), int(places[-1]) + 1


def _name(result: ClassMap, index: int) -> str:
    return result.labels[index] if index < len(result.labels) else str(index)


def _shares(result: ClassMap) -> dict[int, float]:
    """The share of the known pixels that each class covers, the largest first."""
    counts = np.bincount(result.classes.reshape(-1), minlength=UNSEEN + 1)[:UNSEEN]
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    return dict(zip(order.tolist(), (counts[order] / max(1, counts.sum())).tolist(), strict=True))


def _overlaps(ours: ClassMap, reference: ClassMap) -> list[float]:
    """The IoU of each class that covers MIN_SHARE of either map."""
    if ours.classes.shape != reference.classes.shape:
        return [0.0]
    shares = [*_shares(ours).items(), *_shares(reference).items()]
    classes = dict.fromkeys(index for index, share in shares if share >= MIN_SHARE)
    pairs = ((ours.classes == index, reference.classes == index) for index in classes)
    return [mask_iou(mask, (0, 0), other, (0, 0)) for mask, other in pairs]


def _overlap(ours: InstanceMask, other: InstanceMask) -> float:
    """The IoU of two masks; of the boxes where neither mask has a pixel."""
    boxes = iou(ours.box, other.box)
    if not boxes:
        return 0.0
    if not ours.mask.any() and not other.mask.any():
        return boxes
    return mask_iou(ours.mask, ours.origin, other.mask, other.origin)


def _same(ours: InstanceMask, other: InstanceMask) -> bool:
    return _overlap(ours, other) >= MATCH_IOU


def _gaps(ours: InstanceMask, other: InstanceMask) -> list[float] | None:
    if iou(ours.box, other.box) < PARTNER_IOU:
        return None
    return [(1 - _overlap(ours, other)) / (1 - MATCH_IOU)]
