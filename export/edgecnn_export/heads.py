"""From the shapes and names of a graph's outputs to the settings that decode them.

Each function here knows one kind of head: it returns the decode settings it can read off the
outputs, or raises a UsageError that says what is missing. A head without a function goes by its
tag in the manifest and is set with ``--decode``; one function here and one line in HEADS make that
unnecessary.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

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

Fields = dict[str, Any]

STRIDES = (8, 16, 32)
STRIDE_SETS = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
YUNET_OUTPUT = re.compile(r"(cls|obj|bbox|kps)_(\d+)")
RETINAFACE_SIZES = ((16, 32), (64, 128), (256, 512))
CENTERFACE_STRIDE = 4
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
        labels: The class names, or characters, that the user gave; empty without any.
        options: Decode fields the user set.
    """

    shapes: Mapping[str, tuple[int, ...]]
    tails: Mapping[str, str]
    width: int
    height: int
    labels: tuple[str, ...]
    options: Mapping[str, Any]

    def values(self, name: str) -> Values:
        """What the output holds, by the activation that ends it."""
        return VALUES_BY_ACTIVATION.get(self.tails.get(name, ""), "logits")

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
    values = outputs.values(name)
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


def ssd(outputs: Outputs) -> Fields:
    """boxes[N,A,4], scores[N,A,C] and, with more columns than 4, points[N,A,2P]."""
    tables = {name: shape[2] for name, shape in outputs.shapes.items() if len(shape) == 3}
    boxes = next((name for name, columns in tables.items() if columns == 4), "")
    others = [name for name in tables if name != boxes]
    scores = min(others, key=lambda name: tables[name], default="")
    landmarks = max(others, key=lambda name: tables[name]) if len(others) == 2 else ""
    if not boxes or not scores or len(others) > 2:
        raise UsageError(f"an ssd head has boxes[N,A,4] and scores[N,A,C]; {outputs}")
    points = tables[landmarks] // 2 if landmarks else 0
    fields = {"boxes": boxes, "scores": scores, "landmarks": landmarks, "points": points}
    return fields | {"values": outputs.values(scores)}


def retinaface(outputs: Outputs) -> Fields:
    """An ssd head with the priors of the RetinaFace papers."""
    return ssd(outputs) | {"strides": STRIDES, "min_sizes": RETINAFACE_SIZES}


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
    names = ", ".join(heads)
    raise UsageError(f"cannot tell the head from the outputs: {outputs}; set --head: {names}")


def _guess(outputs: Outputs, task: str | None) -> str:
    """The name of the head; "" where no rule fits."""
    shapes = list(outputs.shapes.values())
    if any(YUNET_OUTPUT.fullmatch(name) for name in outputs.shapes):
        return "yunet"
    if task is None and len(shapes) == 1 and len(shapes[0]) == 2:
        return "classify"
    columns = sorted(shape[2] for shape in shapes if len(shape) == 3)
    if columns == [2, 4, 10] and shapes[0][1] == 2 * outputs.cells(STRIDES):
        return "retinaface"
    if sorted(shape[1] for shape in shapes if len(shape) == 4) == [1, 2, 2, 10]:
        return "centerface"
    tables = [shape for shape in shapes if len(shape) == 3]
    if len(tables) == 1 or outputs.options.get("output") in outputs.shapes:
        name = outputs.sole_output(3, "a detector")
        return _guess_yolo(outputs, outputs.shapes[name])
    return ""


def _guess_yolo(outputs: Outputs, shape: tuple[int, ...]) -> str:
    grids = {outputs.cells(strides) for strides in STRIDE_SETS}
    if shape[2] in grids:
        return "yolov8"
    if shape[1] in grids | {3 * cells for cells in grids}:
        return "yolov5"
    if shape[2] >= 6 and shape[1] <= 1000:
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
