"""One output that is a table of boxes: which axis is a box, and the values of its columns."""

from dataclasses import dataclass

from edgecnn_export.heads.base import MOST_QUERIES, Outputs
from edgecnn_runtime.types import Floats

V8_HEADS = ("yolov8", "yolov11")
TABLE_HEADS = ("yolov5", "nms", *V8_HEADS)


@dataclass(frozen=True)
class Table:
    """One table of boxes.

    Attributes:
        name: Of the output.
        rows: float[R,K] on the verification pictures; R is 0 where they are not known.
        columns: K.
        count: Rows of one picture.
        across: Whether each column of the output is one box, as YOLOv8 has it.
        grid: Whether there is a row for each cell (or for each of three anchors in it).
    """

    name: str
    rows: Floats
    columns: int
    count: int
    across: bool
    grid: bool


def table_of(outputs: Outputs, head: str = "") -> Table | None:
    """The one output of three axes, or the one that the user chose; None without it.

    Args:
        outputs: The model's.
        head: The user's, which tells the axes apart where the count of rows does not; "" without.
    """
    tables = [name for name, shape in outputs.shapes.items() if len(shape) == 3]
    name = outputs.options.get("output") or (tables[0] if len(tables) == 1 else "")
    if len(outputs.shapes.get(name, ())) != 3:
        return None
    _, first, second = outputs.shapes[name]
    queries = first < second <= MOST_QUERIES and first % 50 and not second % 50
    across = bool(head in V8_HEADS if head else queries)
    if outputs.is_grid(first) or outputs.is_grid(second):
        across = outputs.is_grid(second)
    count, columns = (second, first) if across else (first, second)
    rows = outputs.rows(name, 1 if across else 2)
    return Table(name, rows, columns, count, across, outputs.is_grid(count))
