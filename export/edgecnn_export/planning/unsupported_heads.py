"""Detectors that edgecnn cannot take, refused by their true names.

Each rule looks at shapes, at what the exporter wrote into the file, at the names of the classes,
and at the reference's outputs on the verification pictures. It returns the error for the layout
it knows, or None. The rules run whether the head was guessed or named by the user.
"""

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from edgecnn_export.head_evidence import columns_of, whole_numbers
from edgecnn_export.heads import HEADS, segment
from edgecnn_export.heads.anchor_free import YUNET_OUTPUT
from edgecnn_export.heads.base import STRIDES, Outputs
from edgecnn_export.planning.refusal import OWN_DECODING, no_head, other_task
from edgecnn_export.planning.unsupported_pairs import boxes_with_an_axis_of_one, two_tables
from edgecnn_export.planning.unsupported_tables import masks, one_table
from edgecnn_runtime.errors import EdgecnnError, UnsupportedModelError, UsageError
from edgecnn_runtime.tasks import TASKS

SCRFD_OUTPUT = re.compile(r"(score|bbox|kps)_(\d+)")
ULTRALYTICS_TASKS: Mapping[str, str] = {
    "segment": "an instance segmentation model (YOLO -seg)",
    "obb": "a model of oriented boxes (YOLO -obb)",
    "pose": "a pose model (YOLO -pose)",
}

OTHER_TASKS = {n for n, head in HEADS.items() if head.spec not in TASKS["detect"].decoders}
"""Heads of other tasks than detect; they look at the values themselves."""
SCORE_MARGIN = 0.5
"""How far under zero a probability may lie, because some heads are not clipped."""

Rule: TypeAlias = Callable[[Outputs, str], EdgecnnError | None]


def refuse_unsupported(outputs: Outputs, task: str | None, head: str) -> None:
    """Refuse outputs that no head of edgecnn reads rightly.

    Args:
        outputs: The model's outputs.
        task: The task that was asked for; None where it is inferred.
        head: The head that the user named; "" where it is to be guessed.

    Raises:
        UnsupportedModelError: They belong to a head or a task that edgecnn does not have.
        UsageError: A flag is missing or wrong; the message has the flag.
    """
    if error := without_batch(outputs, head) or chosen_classes(outputs, task, head):
        raise error
    classifier = task is None and [len(shape) for shape in outputs.shapes.values()] == [2]
    if task not in {None, "detect"} or head not in {"", *HEADS} or (classifier and not head):
        return
    if head in OTHER_TASKS or (head and HEADS[head].by_values):
        return
    known = next((n for n, h in HEADS.items() if h.by_values and h.fits(outputs)), None)
    if known and not declared_task(outputs, head):
        if head:
            raise UsageError(
                f"these are the outputs of another head, so --head {head} does not fit: leave it "
                f"out, or use --head {known}; {outputs}"
            )
        return
    if task is None and not head and segment.instances_layout(outputs):
        return  # a table and its maps are no other head's
    for rule in RULES:
        if error := rule(outputs, head):
            raise error


def without_batch(outputs: Outputs, _head: str) -> EdgecnnError | None:
    """Outputs whose rows are not pictures."""
    if not outputs.batchless:
        return None
    if error := scrfd(outputs, ""):
        return error
    if error := postprocessed(outputs, ""):
        return error
    name = min(outputs.batchless)
    return UnsupportedModelError(
        f"output {name!r} is {list(outputs.shapes[name])}, without an axis for the batch, so its "
        "rows cannot be told from pictures: keep the batch axis in what the model returns (no "
        f"squeeze, no reshape to (-1, …)), and export it again; {outputs}"
    )


def chosen_classes(outputs: Outputs, task: str | None, head: str) -> EdgecnnError | None:
    """A class map after its ArgMax: [N,h,w], in the shape of the input, of whole numbers."""
    if task not in {None, "detect", "segment"} or head in OTHER_TASKS - {*segment.HEADS}:
        return None
    for name, shape in outputs.shapes.items():
        values = outputs.samples.get(name)
        if len(shape) != 3 or shape[1] * outputs.width != shape[2] * outputs.height:
            continue
        if values is not None and whole_numbers(values.reshape(-1)):
            return UsageError(
                f"{name!r} holds whole numbers: classes that the graph has chosen itself; end it "
                f"before its ArgMax, at scores[N,C,h,w]; {outputs}"
            )
    return None


def declared_task(outputs: Outputs, _head: str) -> EdgecnnError | None:
    """A task that the exporter wrote into the file."""
    task = outputs.metadata.task
    if task not in ULTRALYTICS_TASKS or (task == "pose" and outputs.options.get("points")):
        return None
    what = f"the file says that this is {ULTRALYTICS_TASKS[task]}"
    points = outputs.metadata.keypoint_shape or (17, 3)
    return other_task(outputs, what, task, points if task == "pose" else None)


def feature_maps(outputs: Outputs, head: str) -> EdgecnnError | None:
    """Nothing but maps [N,C,h,w]: segmentation, heat maps, or a detector before its arithmetic."""
    shapes = list(outputs.shapes.values())
    if any(len(shape) < 4 for shape in shapes) or head == "centerface":
        return None
    channels = sorted(shape[1] for shape in shapes)
    sizes = {shape[2:4] for shape in shapes}
    if channels == [1, 2, 2, 10] or sizes == {(1, 1)} or segment.is_class_map(outputs):
        return None
    if len(shapes) == 1 and shapes[0][1] == 1 and shapes[0][3:] == (7,):
        what = "this is SSD after its own suppression (DetectionOutput: rows of seven numbers)"
        return no_head(outputs, what, "end the graph at boxes[N,A,4] and scores[N,A,C]")
    if len(sizes) > 1:
        what = "these are a detector's raw maps, one or more per stride, before its box arithmetic"
        return no_head(outputs, what, OWN_DECODING)
    if len(shapes) > 1 and not segment.class_map(outputs):
        what = "these are maps such as CenterNet's (heat map, size, offset)"
        return no_head(outputs, what)
    kind = "segmentation" if channels[0] > 1 else "segmentation, depth or a heat map"
    what = f"the output is a map of {channels[0]} channel{'s' if channels[0] > 1 else ''} ({kind})"
    return other_task(outputs, what, "segment")


def scrfd(outputs: Outputs, _head: str) -> EdgecnnError | None:
    """SCRFD: score_8, bbox_8, kps_8, … by name, or tables of 1, 4 and 10 columns per stride.

    What its head reads has been recognized before; here are others of that kind.
    """
    names = [SCRFD_OUTPUT.fullmatch(name) for name in outputs.shapes]
    roles = {match[1] for match in names if match}
    by_name = all(names) and {"score", "bbox"} <= roles
    groups: dict[int, list[int]] = {}
    for shape in outputs.shapes.values():
        if len(shape) in {2, 3}:
            groups.setdefault(shape[-2], []).append(shape[-1])
    grids = [outputs.cells([stride]) for stride in STRIDES]
    by_shape = len(groups) == len(grids) and all(
        rows in {grid, 2 * grid, 3 * grid} and sorted(columns) in ([1, 4], [1, 4, 10])
        for (rows, columns), grid in zip(sorted(groups.items(), reverse=True), grids, strict=True)
    )
    if not by_name and not by_shape:
        return None
    if outputs.batchless:
        problem = "an axis for the batch is missing"
    else:
        problem = (
            f"their rows are not those of strides 8, 16, 32 at {_size(outputs)}: check --input"
        )
    return UsageError(
        f"these are the outputs of SCRFD (InsightFace's face detector), and {problem}. Its head "
        "takes scores[N,A,1], boxes[N,A,4] and perhaps landmarks[N,A,10] for each stride: end the "
        f"model so, and export it again; {outputs}"
    )


def _size(outputs: Outputs) -> str:
    return f"{outputs.width}x{outputs.height}"


def postprocessed(outputs: Outputs, _head: str) -> EdgecnnError | None:
    """Boxes[N,K,4] beside labels[N,K] and scores[N,K], or the same without the batch."""
    for rank in (3, 2):
        boxes = [s for s in outputs.shapes.values() if len(s) == rank and s[-1] == 4]
        others = [s for s in outputs.shapes.values() if len(s) < rank]
        rows = [s for s in others if boxes and s[-1] == boxes[0][-2]]
        if len(boxes) == 1 and rows and len(boxes) + len(others) == len(outputs.shapes):
            missing = "" if rank == 3 else ", with an axis for the batch and K always the same"
            return UsageError(
                "these are boxes, labels and scores after the model's own postprocessing (as "
                "RT-DETR, D-FINE, torchvision and EfficientNMS write them), and --head ranked "
                "takes boxes[N,K,4] as corners x1, y1, x2, y2, labels[N,K] as class numbers and "
                f"scores[N,K] in 0..1{missing}: end the model so (rows of zeros are padding), or "
                f"before its postprocessing, and export it again; {outputs}"
            )
    return None


def probabilities(outputs: Outputs, _head: str) -> EdgecnnError | None:
    """Scores of YuNet and CenterFace, which a sigmoid inside the model brings into 0..1."""
    names = [name for name in outputs.shapes if (match := YUNET_OUTPUT.fullmatch(name))
             and match[1] in {"cls", "obj"}]  # fmt: skip
    if sorted(shape[1] for shape in outputs.shapes.values()) == [1, 2, 2, 10]:
        names = [name for name, shape in outputs.shapes.items() if shape[1] == 1]
    for name in names:
        values = outputs.samples.get(name)
        if values is not None and columns_of(values.reshape(-1, 1)).low[0] < -SCORE_MARGIN:
            return UsageError(
                f"the scores in {name!r} are negative, so they are scores before a sigmoid: end "
                f"the model with it, and export it again; {outputs}"
            )
    return None


RULES: tuple[Rule, ...] = (
    scrfd, declared_task, feature_maps, masks, postprocessed, boxes_with_an_axis_of_one, two_tables,
    one_table, probabilities,
)  # fmt: skip
