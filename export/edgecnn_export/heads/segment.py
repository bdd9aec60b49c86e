"""Masks: a table of boxes beside maps that its weights mix, or scores of classes for every cell."""

from collections.abc import Mapping
from dataclasses import replace

from edgecnn_export.head_evidence import are_logits, columns_of, whole_numbers
from edgecnn_export.heads.base import MOST_QUERIES, Fields, Head, Outputs
from edgecnn_export.heads.table import Table, check_values
from edgecnn_runtime.bundle.manifest import Segment, Semantic, Values
from edgecnn_runtime.errors import UsageError

LAYOUT_COLUMNS = {"v5": 5, "v8": 4, "nms": 6}
"""Columns of a table besides classes and weights."""
MAIN_OUTPUT = "out"
"""What torchvision calls the map that counts; ``aux`` beside it is for training."""


def instances(outputs: Outputs, layout: str) -> Fields:
    """table[N,4+C+M,A] or the like, and maps[N,M,h,w]; the last M columns are weights."""
    table = outputs.sole_output(3, f"a YOLO {layout} head with masks")
    maps = _maps(outputs)
    if not maps:
        raise UsageError(
            f"a YOLO head with masks has maps[N,M,h,w] beside its table; {outputs}: a head without "
            "them finds boxes, --task detect"
        )
    weights, shape = outputs.shapes[maps][1], outputs.shapes[table]
    columns = shape[1] if layout == "v8" else shape[2]
    classes = columns - LAYOUT_COLUMNS[layout] - weights
    if layout == "nms":
        if classes:
            raise UsageError(
                f"rows x1, y1, x2, y2, score, class and {weights} weights have {6 + weights} "
                f"columns, not {columns}; {outputs}"
            )
        classes = len(outputs.labels) or outputs.options.get("classes", 0)
        if not classes:
            raise UsageError(
                "a head that ends in NMS does not show how many classes it has: "
                "give --labels FILE, or --decode '{\"classes\": 80}'"
            )
    if classes < 1:
        raise UsageError(
            f"{columns} columns are too few for a YOLO {layout} head with {weights} weights of "
            f"masks; {outputs}"
        )
    rows = outputs.rows(table, 1 if layout == "v8" else 2)
    first = LAYOUT_COLUMNS[layout] if layout != "nms" else 4
    scores = rows[:, first:][:, : classes if layout != "nms" else 1]
    values: Values = "logits" if len(scores) and are_logits(scores) else "probabilities"
    known = replace(outputs, options={"values": values, **outputs.options})
    check_values(known, Table(table, layout, columns, rows), classes)
    return {
        "output": table, "maps": maps, "layout": layout, "classes": classes,
        "coefficients": weights, "values": values,
    }  # fmt: skip


def instances_layout(outputs: Outputs) -> str:
    """v5, v8 or nms by the shapes of table and maps; "" where there is no such pair."""
    tables = [shape for shape in outputs.shapes.values() if len(shape) == 3]
    maps = _maps(outputs)
    if len(tables) != 1 or not maps:
        return ""
    (_, rows, columns), weights = tables[0], outputs.shapes[maps][1]
    best = columns == 6 + weights and rows <= MOST_QUERIES and not outputs.is_grid(rows)
    if outputs.metadata.end_to_end or best:
        return "nms"
    if outputs.is_grid(columns) and rows > 4 + weights:
        return "v8"
    return "v5" if outputs.is_grid(rows) and columns > 5 + weights else ""


def semantic(outputs: Outputs) -> Fields:
    """scores[N,C,h,w]."""
    name = class_map(outputs) or outputs.sole_output(4, "a class map")
    rows = outputs.rows(name, 1)
    if rows.shape[1] > 1:
        return {"output": name, "values": outputs.values(name, 1)}
    columns = columns_of(rows)
    if columns.high[0] > 1 and columns.low[0] >= 0 and whole_numbers(rows[:, 0]):
        raise UsageError(
            f"the values of {name!r} are whole numbers, so they are classes that the graph has "
            f"chosen itself: end it before its ArgMax, at scores[N,C,h,w]; {outputs}"
        )
    probable = len(rows) and not columns.outside.any()
    return {"output": name, "values": "probabilities" if probable else outputs.values(name, 1)}


def class_map(outputs: Outputs) -> str:
    """The name of the output [N,C,h,w] that may be a class map; "" where there is none.

    One cell only is no map: scores or features of a whole picture have it.
    """
    maps = [
        name for name, shape in outputs.shapes.items() if len(shape) == 4 and shape[2:] != (1, 1)
    ]
    choice = outputs.options.get("output", MAIN_OUTPUT)
    if choice in maps:
        return str(choice)
    return maps[0] if len(maps) == len(outputs.shapes) == 1 else ""


def is_class_map(outputs: Outputs) -> bool:
    """Whether names or values say that an output is a class map, and not a map of something else.

    There are as many names as channels, or the values of each cell are one softmax.
    """
    name = class_map(outputs)
    if not name or outputs.shapes[name][1] < 2:
        return False
    named = len(outputs.labels) == outputs.shapes[name][1]
    return named or outputs.values(name, 1) != "logits"


def _maps(outputs: Outputs) -> str:
    """The name of the one output [N,M,h,w]; "" without one."""
    maps = [
        name for name, shape in outputs.shapes.items() if len(shape) == 4 and 1 not in shape[2:]
    ]
    choice = outputs.options.get("maps")
    return str(choice) if choice in maps else maps[0] if len(maps) == 1 else ""


def _head(layout: str) -> Head:
    return Head(
        Segment,
        lambda outputs: instances(outputs, layout),
        lambda outputs: instances_layout(outputs) == layout,
    )


HEADS: Mapping[str, Head] = {
    "yolov5-seg": _head("v5"),
    "yolov8-seg": _head("v8"),
    "nms-seg": _head("nms"),
    "semantic": Head(Semantic, semantic, lambda outputs: bool(class_map(outputs))),
}
