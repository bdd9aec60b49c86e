"""Class scores and distributions over distances in one table: NanoDet."""

from collections.abc import Mapping
from typing import NamedTuple

from edgecnn_export.head_evidence import (
    CELLS_SHARE,
    MIN_BINS,
    columns_of,
    finite_mean,
)
from edgecnn_export.heads.base import Fields, Head, Outputs
from edgecnn_export.heads.box_table import Table, table_of
from edgecnn_export.heads.yolo import strides_of
from edgecnn_runtime.bundle.manifest import Gfl
from edgecnn_runtime.errors import UsageError

SPARSE = 0.1
"""The mean of class scores is under it, because most cells show nothing."""
MOST_BINS = 33
"""The most bins of one distance that are looked for; NanoDet has 8, GFL 17."""


class Columns(NamedTuple):
    """How many columns are classes, and how many each of the four distributions has."""

    classes: int
    bins: int


def columns_of_table(outputs: Outputs, table: Table) -> Columns | None:
    """The split of a table's columns: by the count of names, else by the values; None without one.

    Class scores are small nearly everywhere and within 0..1. Logits of distances are not.
    """
    columns = columns_of(table.rows)
    counts = [table.columns - 4 * bins for bins in range(MIN_BINS, MOST_BINS + 1)]
    for classes in [len(outputs.labels), *counts]:
        rest = table.columns - classes
        if classes < 1 or classes not in counts or columns.outside[:classes].any():
            continue
        small = columns.reach[classes:].max() <= CELLS_SHARE * min(outputs.width, outputs.height)
        sparse = finite_mean(table.rows[:, :classes]) < SPARSE
        if small and sparse and columns.outside[classes:].any():
            return Columns(classes, rest // 4)
    return None


def nanodet(outputs: Outputs) -> Fields:
    """One table [N,A,C+4B], cells of three strides (NanoDet) or of four (NanoDet-Plus)."""
    table = table_of(outputs)
    strides = outputs.options.get("strides") or (table and strides_of(outputs, table.count))
    if table is None or table.across or not strides:
        raise UsageError(
            "a nanodet head has one table [N,A,C+4B] with a row for each cell of strides 8, 16, "
            f"32 (and 64); {outputs}. Check --input, or --decode '{{\"strides\": [8, 16, 32]}}'"
        )
    split = columns_of_table(outputs, table)
    if split is None:
        bins = outputs.options.get("bins")
        if not bins:
            raise UsageError(
                f"the columns of {table.name!r} are no class scores in 0..1 followed by logits of "
                f"four distributions; {outputs}. If they are: --decode '{{\"bins\": 8}}'"
            )
        split = Columns(table.columns - 4 * bins, bins)
    return {
        "output": table.name,
        "classes": split.classes,
        "bins": split.bins,
        "strides": strides,
        "offset": 0.0 if len(strides) > 3 else 0.5,
    }


def fits_nanodet(outputs: Outputs) -> bool:
    """A row for each cell, and columns that can be split."""
    table = table_of(outputs)
    if table is None or table.across or not len(table.rows):
        return False
    return bool(strides_of(outputs, table.count)) and columns_of_table(outputs, table) is not None


HEADS: Mapping[str, Head] = {"nanodet": Head(Gfl, nanodet, fits_nanodet, by_values=True)}
