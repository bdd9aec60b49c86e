"""One table of boxes, as YOLO has it."""

from collections.abc import Mapping

from edgecnn_export.heads.base import MOST_QUERIES, Fields, Head, Outputs
from edgecnn_runtime.bundle.manifest import Yolo
from edgecnn_runtime.errors import UsageError


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


def layout_of(outputs: Outputs) -> str:
    """v5, v8 or nms by the shape of the one table; "" where there is no such table."""
    tables = [shape for shape in outputs.shapes.values() if len(shape) == 3]
    if len(tables) != 1 and outputs.options.get("output") not in outputs.shapes:
        return ""
    shape = outputs.shapes[outputs.sole_output(3, "a detector")]
    if outputs.metadata.end_to_end:
        return "nms"
    if outputs.is_grid(shape[2]):
        return "v8"
    if outputs.is_grid(shape[1]):
        return "v5"
    return "nms" if shape[2] >= 6 and shape[1] <= MOST_QUERIES else ""


def _head(layout: str) -> Head:
    return Head(
        Yolo,
        lambda outputs: yolo(outputs, layout),
        lambda outputs: layout_of(outputs) == layout,
    )


HEADS: Mapping[str, Head] = {
    "yolov5": _head("v5"),
    "yolov8": _head("v8"),
    "yolov11": _head("v8"),
    "nms": _head("nms"),
}
