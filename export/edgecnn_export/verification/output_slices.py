"""Slices of an output whose columns mean different things, compared one by one.

In a YOLO table boxes are hundreds of pixels and scores at most one: with every score wrong, the
table as a whole still has a cosine of 1.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import Decode, Detr, Gfl, table_layout
from edgecnn_runtime.types import Floats
from edgecnn_runtime.verification.row_matching import CLASS, comparable


def paired_slices(
    decode: Decode, name: str, expected: Mapping[str, Floats], outputs: Mapping[str, Floats]
) -> list[tuple[Floats, Floats]]:
    """The slices of one output of two graphs, side by side.

    Rows whose order means nothing are matched first.

    Args:
        decode: The head.
        name: Of the output.
        expected: The reference's outputs by name, the batch first.
        outputs: The other graph's.

    Returns:
        One pair where the shapes differ, or where the output is of one kind.
    """
    if expected[name].shape != outputs[name].shape:
        return [(expected[name], outputs[name])]
    pair = comparable(decode, name, expected, outputs)
    slices = (output_slices(decode, name, values) for values in pair)
    return list(zip(*slices, strict=True))


def output_slices(decode: Decode, name: str, values: NDArray[Any]) -> list[NDArray[Any]]:
    """The slices of one output, the batch first in each.

    Args:
        decode: The head.
        name: Of the output.
        values: The output, the batch first.

    Returns:
        The output itself where all of its columns mean the same.
    """
    layout, classes = table_layout(decode, name), getattr(decode, "classes", 0)
    if isinstance(decode, Detr) and decode.boxes == decode.scores == name:
        return [values[..., :4], values[..., 4:]]
    if isinstance(decode, Gfl) and name == decode.output:
        return [values[..., :classes], values[..., classes:]]
    if not layout:
        return [values]
    table = values.swapaxes(1, 2) if layout == "v8" else values
    columns = table.shape[-1]
    edges = {
        "v8": [0, 4, 4 + classes, columns],
        "nms": [0, 4, CLASS, CLASS + 1, columns],
        "v5-face": [0, 4, 5, columns - classes, columns],
    }.get(layout, [0, 4, 5 + classes, columns])
    slices = [table[..., start:stop] for start, stop in pairwise(edges)]
    return [part for part in slices if part.shape[-1]]
