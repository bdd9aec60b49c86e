"""A YOLO table whose boxes have more than classes: its columns counted, and its values believed."""

from dataclasses import dataclass

import numpy as np

from edgecnn_export.head_evidence import are_logits, columns_of, coordinate_unit, whole_numbers
from edgecnn_export.heads.base import Outputs
from edgecnn_export.heads.yolo import layout_of
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.types import Floats


@dataclass(frozen=True)
class Table:
    """One table of boxes.

    Attributes:
        name: Of the output.
        layout: ``v5``, ``v8`` or ``nms`` of ``manifest.Yolo``.
        columns: How many numbers a box has.
        rows: float32[R,columns] on the verification pictures; without rows where not known.
    """

    name: str
    layout: str
    columns: int
    rows: Floats

    @property
    def first(self) -> int:
        """Columns before the classes of v8, or before whatever follows the class of nms."""
        return 4 if self.layout == "v8" else 6


def read_table(outputs: Outputs, what: str) -> Table:
    """The one table of boxes.

    Args:
        outputs: The model's.
        what: What needs it, for the message.

    Raises:
        UsageError: There is no such table, or its rows and columns are exchanged.
    """
    name = outputs.sole_output(3, what)
    layout = str(outputs.options.get("layout") or layout_of(outputs))
    if layout not in {"v8", "nms"}:
        hint = ": check --input"
        if layout == "v5":
            hint = (
                ": return output.permute(0, 2, 1) if its fifth column is a class; a table with "
                "objectness (YOLOv7-pose) is no such head"
            )
        raise UsageError(
            f"{what} is [N,columns,cells] before suppression or [N,rows,columns] after it, and "
            f"this is neither at {outputs.width}x{outputs.height}; {outputs}{hint}"
        )
    axis = 1 if layout == "v8" else 2
    return Table(name, layout, outputs.shapes[name][axis], outputs.rows(name, axis))


def count_classes(outputs: Outputs, table: Table, extra: int, what: str) -> int:
    """How many classes a table has.

    Args:
        outputs: The model's.
        table: The table.
        extra: Columns that are neither box nor score nor class.
        what: What they are, for the message.

    Raises:
        UsageError: The columns do not add up, or nothing tells.
    """
    names, known = len(outputs.labels), outputs.options.get("classes", 0)
    rest = table.columns - table.first - extra
    if table.layout == "nms":
        if rest:
            raise UsageError(
                f"{table.columns} columns are not a box, its score, its class and {what}; {outputs}"
            )
        if not (names or known):
            raise UsageError(
                "a head that ends in NMS does not show how many classes it has: "
                "give --labels FILE, or --decode '{\"classes\": 80}'"
            )
        return names or int(known)
    if rest < 1 or (names and names != rest):
        raise UsageError(
            f"{table.columns} columns are not a box, {names or 'some'} "
            f"class{'' if names == 1 else 'es'} and {what}; {outputs}"
        )
    return rest


def check_values(outputs: Outputs, table: Table, classes: int) -> None:
    """Check that boxes, scores and classes hold what they should on the verification pictures.

    Raises:
        UsageError: They do not; the message says which.
    """
    rows = table.rows[np.isfinite(table.rows).all(1)]
    if not len(rows):
        return
    if coordinate_unit(rows[:, :4], outputs.width, outputs.height) in {"fractions", "cells"}:
        raise UsageError(
            f"the boxes of {table.name!r} are no pixels of the {outputs.width}x{outputs.height} "
            f"input: export the network with its own decoding in the graph; {outputs}"
        )
    columns = {"v5": 1 + classes, "v8": classes, "nms": 1}[table.layout]
    scores = rows[:, 4 : 4 + columns]
    if columns_of(scores).outside.any() and outputs.options.get("values") != "logits":
        hint = ': --decode \'{"values": "logits"}\'' if are_logits(scores) else ""
        raise UsageError(f"the scores of {table.name!r} leave 0..1{hint}; {outputs}")
    if table.layout != "nms":
        return
    if not whole_numbers(rows[:, 5]):
        raise UsageError(
            f"the sixth column of {table.name!r} is no class number, so its rows are not a box, "
            f"score, class, …; {outputs}"
        )
    if rows[:, 5].max() >= classes:
        raise UsageError(
            f"there are {classes} classes, and class number {int(rows[:, 5].max())} occurs in "
            f"{table.name!r}, counted from 0: correct --labels; {outputs}"
        )
