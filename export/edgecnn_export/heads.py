"""From the shapes and names of a graph's outputs to the settings that decode them.

Each function here knows one kind of head: it returns the decode settings it can read off the
outputs, or raises a UsageError that says what is missing. A head without a function goes by its
tag in the manifest and is set with ``--decode``; one function here and one line in HEADS make that
unnecessary.
"""

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from edgecnn_export.exporter_metadata import NO_METADATA, ExporterMetadata
from edgecnn_export.head_evidence import (
    are_corners,
    columns_of,
    coordinate_unit,
    sum_to_one,
)
from edgecnn_runtime.bundle.manifest import (
    AnchorFree,
    Classify,
    Ctc,
    Decode,
    Embed,
    Ssd,
    Values,
    Yolo,
)
from edgecnn_runtime.config import from_plain
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.tasks import TASKS
from edgecnn_runtime.types import Floats

Fields = dict[str, Any]

STRIDES = (8, 16, 32)
STRIDE_SETS = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
YUNET_OUTPUT = re.compile(r"(cls|obj|bbox|kps)_(\d+)")
BOXES_NAME = re.compile("box|loc|reg|delta|^dets$", re.IGNORECASE)
RETINAFACE_SIZES = ((16, 32), (64, 128), (256, 512))
CENTERFACE_STRIDE = 4
MOST_QUERIES = 1000
"""Rows of a table that holds the best boxes only, at most."""
VALUES_BY_ACTIVATION: Mapping[str, Values] = {
    "Softmax": "probabilities",
    "Sigmoid": "probabilities",
    "LogSoftmax": "log_probabilities",
}


@dataclass(frozen=True)
class Outputs:
    """What is known of a model's outputs before anything is decoded.

    Attributes:
        shapes: By name, with a batch of one.
        tails: By name, the op type of the activation that ends the output; "" without one.
        width: Of the network's input.
        height: Of the network's input.
        labels: The class names, or characters, of the user or the file; empty without any.
        options: Decode fields the user set.
        samples: The reference's outputs on the verification pictures, float32[N,…] by name, the
            batch first; empty where they are not known.
        metadata: What the exporter wrote into the file.
        batchless: Outputs whose first axis is not the batch; ``shapes`` has all of their axes.
    """

    shapes: Mapping[str, tuple[int, ...]]
    tails: Mapping[str, str]
    width: int
    height: int
    labels: tuple[str, ...]
    options: Mapping[str, Any]
    samples: Mapping[str, Floats] = field(default_factory=dict)
    metadata: ExporterMetadata = NO_METADATA
    batchless: frozenset[str] = frozenset()

    def rows(self, name: str, axis: int = -1) -> Floats:
        """An output on the verification pictures as float32[R,K]; without rows where not known.

        Args:
            name: Of the output.
            axis: Which of its axes the K columns are.
        """
        values = self.samples.get(name)
        if values is None:
            return np.empty((0, self.shapes[name][axis]), np.float32)
        table = np.moveaxis(values, axis, -1)
        rows: Floats = table.reshape(-1, table.shape[-1])
        return rows

    def values(self, name: str, axis: int = -1) -> Values:
        """What scores mean: by the activation that ends the output, else by their sums.

        Args:
            name: Of the output.
            axis: Which of its axes the classes are.
        """
        if values := VALUES_BY_ACTIVATION.get(self.tails.get(name, "")):
            return values
        rows = self.rows(name, axis)
        columns = columns_of(rows)
        if not columns.outside.any() and sum_to_one(rows):
            return "probabilities"
        if len(rows) and columns.high.max() <= 0 and sum_to_one(np.exp(rows)):
            return "log_probabilities"
        return "logits"

    def sole_output(self, rank: int, what: str) -> str:
        """The name of the one output with ``rank`` axes, or of the one the user chose.

        Args:
            rank: How many axes it has, the batch included.
            what: What needs it, for the message.

        Raises:
            UsageError: There is none, or more than one.
        """
        choice = self.options.get("output")
        if choice is not None:
            if choice not in self.shapes:
                raise UsageError(f"--decode: the model has no output {choice!r}; {self}")
            return str(choice)
        names = [name for name, shape in self.shapes.items() if len(shape) == rank]
        if len(names) != 1:
            hint = 'name one with --decode \'{"output": "…"}\'' if names else "try another --head"
            raise UsageError(f"{what} needs one output with {rank} axes; {self}: {hint}")
        return names[0]

    def cells(self, strides: Iterable[int]) -> int:
        """How many grid cells all strides have together."""
        return sum(-(-self.width // s) * -(-self.height // s) for s in strides)

    def is_grid(self, rows: int) -> bool:
        """Whether a table with so many rows has one for each cell, or for each of three anchors."""
        return any(rows in {cells, 3 * cells} for cells in map(self.cells, STRIDE_SETS))

    def __str__(self) -> str:
        return "its outputs are " + ", ".join(f"{n}{list(s)}" for n, s in self.shapes.items())


def classify(outputs: Outputs) -> Fields:
    """scores[N,C]."""
    name = outputs.sole_output(2, "a classifier")
    many = outputs.shapes[name][1] > 1
    independent = many and outputs.tails.get(name) == "Sigmoid"
    return {"output": name, "values": outputs.values(name), "multi_label": independent}


def embed(outputs: Outputs) -> Fields:
    """features[N,D]."""
    return {"output": outputs.sole_output(2, "an embedding")}


def ctc(outputs: Outputs) -> Fields:
    """Per-step character scores; the number of characters tells the axes apart."""
    name = outputs.sole_output(3, "a text reader")
    first, second, third = outputs.shapes[name]
    classes = len(outputs.labels) + 1
    layout = "NTC"
    if outputs.labels and third != classes and second == classes:
        layout = "NCT"
    elif second == 1 and first > 1:
        layout = "TNC"
    charset = outputs.labels or numbered(third - 1)
    axis = 1 if layout == "NCT" else 2
    if charset == outputs.metadata.characters and len(charset) + 2 == (second, third)[axis - 1]:
        charset = (*charset, " ")  # PaddleOCR's own reader appends it, too
    values = outputs.values(name, axis if layout == "NCT" else -1)
    return {"output": name, "layout": layout, "values": values, "charset": charset}


def yolo(outputs: Outputs, layout: str) -> Fields:
    """One table of boxes; the columns that are not box, objectness or landmark are classes."""
    name = outputs.sole_output(3, f"a YOLO {layout} head")
    shape = outputs.shapes[name]
    columns = shape[1] if layout == "v8" else shape[2]
    landmarks = outputs.options.get("points", 0) * outputs.options.get("point_dims", 2)
    classes = columns - (4 if layout == "v8" else 5) - landmarks
    if layout == "nms":
        classes = len(outputs.labels) or outputs.options.get("classes", 0)
        if columns >= 6 and not classes:
            raise UsageError(
                "a head that ends in NMS does not show how many classes it has: "
                "give --labels FILE, or --decode '{\"classes\": 80}'"
            )
    if classes < 1 or columns < 6 - (layout == "v8"):
        raise UsageError(f"{columns} columns are too few for a YOLO {layout} head; {outputs}")
    return {"output": name, "layout": layout, "classes": classes}


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
        "normalized": bool(decoded)
        and coordinate_unit(boxes, outputs.width, outputs.height) == "fractions",
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


def no_fields(_outputs: Outputs) -> Fields:
    """Nothing: of a head that the user sets with --decode."""
    return {}


Head: TypeAlias = tuple[type[Any], Callable[[Outputs], Fields]]
"""The Struct of a head in the manifest, and the function above that reads its settings."""

HEADS: Mapping[str, Head] = {
    "classify": (Classify, classify),
    "embed": (Embed, embed),
    "ctc": (Ctc, ctc),
    "yolov5": (Yolo, lambda outputs: yolo(outputs, "v5")),
    "yolov8": (Yolo, lambda outputs: yolo(outputs, "v8")),
    "yolov11": (Yolo, lambda outputs: yolo(outputs, "v8")),
    "nms": (Yolo, lambda outputs: yolo(outputs, "nms")),
    "yunet": (AnchorFree, yunet),
    "centerface": (AnchorFree, centerface),
    "retinaface": (Ssd, retinaface),
    "ssd": (Ssd, ssd),
}
"""By the name on the command line."""


def heads_of(task: str) -> dict[str, Head]:
    """The heads of a task by name: those of HEADS, and any other of its decoders by its tag."""
    kinds = TASKS[task].decoders
    heads = {name: head for name, head in HEADS.items() if head[0] in kinds}
    named = [kind for kind, _ in heads.values()]
    others = {kind.__struct_config__.tag: (kind, no_fields) for kind in kinds if kind not in named}
    return heads | others


def task_of_head(head: str, task: str | None) -> str:
    """The task a head is for.

    Args:
        head: Its name on the command line.
        task: The user's; None takes the first that has such a head.

    Raises:
        UsageError: No task, or not this one, has such a head.
    """
    tasks = [name for name in TASKS if head in heads_of(name)]
    if not tasks:
        heads = dict.fromkeys(head for name in TASKS for head in heads_of(name))
        raise UsageError(f"--head {head}: expected one of auto, {', '.join(heads)}")
    if task not in {None, *tasks}:
        raise UsageError(f"--task {task} and --head {head} do not go together")
    return task or tasks[0]


def guess_head(outputs: Outputs, task: str | None) -> str:
    """The head these outputs belong to, by name, shape and task.

    Raises:
        UsageError: No head, or more than one, has such outputs.
    """
    heads = heads_of(task) if task else HEADS
    if len(heads) == 1:
        return next(iter(heads))
    guess = _guess(outputs, task)
    if guess in heads:
        return guess
    names = ", ".join(name for name in heads if _fits(name, outputs))
    advice = f"set --head: {names}" if names else "edgecnn has no head that fits them"
    raise UsageError(f"cannot tell the head from the outputs: {outputs}; {advice}")


def _fits(head: str, outputs: Outputs) -> bool:
    """Whether a head can read these outputs by their shapes, so that naming it may help."""
    if head not in HEADS:
        return True
    with contextlib.suppress(UsageError):
        HEADS[head][1](outputs)
        return True
    return False


def _guess(outputs: Outputs, task: str | None) -> str:
    """The name of the head; "" where no rule fits."""
    shapes = list(outputs.shapes.values())
    roles = {match[1] for name in outputs.shapes if (match := YUNET_OUTPUT.fullmatch(name))}
    if {"cls", "obj"} <= roles:
        return "yunet"
    if task is None and len(shapes) == 1 and len(shapes[0]) == 2:
        return "classify"
    columns = sorted(shape[2] for shape in shapes if len(shape) == 3)
    if columns == [2, 4, 10] and shapes[0][1] == 2 * outputs.cells(STRIDES):
        return "retinaface"
    if sorted(shape[1] for shape in shapes if len(shape) == 4) == [1, 2, 2, 10]:
        return "centerface"
    return _guess_tables(outputs)


def _guess_tables(outputs: Outputs) -> str:
    """Boxes and scores in one table or in two."""
    pair = ssd_tables(outputs)
    if pair and are_corners(outputs.rows(pair.boxes)):
        return "ssd"
    tables = [shape for shape in outputs.shapes.values() if len(shape) == 3]
    if len(tables) == 1 or outputs.options.get("output") in outputs.shapes:
        name = outputs.sole_output(3, "a detector")
        return _guess_yolo(outputs, outputs.shapes[name])
    return ""


def _guess_yolo(outputs: Outputs, shape: tuple[int, ...]) -> str:
    if outputs.metadata.end_to_end:
        return "nms"
    if outputs.is_grid(shape[2]):
        return "yolov8"
    if outputs.is_grid(shape[1]):
        return "yolov5"
    if shape[2] >= 6 and shape[1] <= MOST_QUERIES:
        return "nms"
    raise UsageError(
        f"cannot tell the head: no YOLO layout has such a shape at {outputs.width}x"
        f"{outputs.height}; {outputs}. Check --input, or set --head (a text reader: --task ocr)"
    )


def read_head(head: str, task: str, outputs: Outputs) -> Decode:
    """The decode settings of a head: those of the outputs, overridden by the user's.

    Args:
        head: Its name on the command line.
        task: A task that has such a head.
        outputs: The model's outputs.

    Raises:
        UsageError: The outputs do not belong to such a head.
        ConfigError: An option is unknown or invalid.
    """
    kind, read = heads_of(task)[head]
    fields = {"head": kind.__struct_config__.tag, **read(outputs), **outputs.options}
    decode: Decode = from_plain(fields, kind, f"decode settings of a {head} head")
    return decode


def numbered(count: int) -> tuple[str, ...]:
    """0, 1, 2, …: the names of classes that have none."""
    return tuple(str(index) for index in range(count))
