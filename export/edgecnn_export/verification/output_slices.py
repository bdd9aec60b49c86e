"""Slices of an output whose columns mean different things, compared one by one.

In a YOLO table boxes are hundreds of pixels and scores at most one: with every score wrong, the
table as a whole still has a cosine of 1.
"""

from typing import Any

from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import Decode, Yolo


def output_slices(decode: Decode, name: str, values: NDArray[Any]) -> list[NDArray[Any]]:
    """The slices of one output, the batch first in each.

    Args:
        decode: The head.
        name: Of the output.
        values: The output, the batch first.

    Returns:
        The output itself where all of its columns mean the same.
    """
    if not isinstance(decode, Yolo) or name != decode.output:
        return [values]
    table = values.swapaxes(1, 2) if decode.layout == "v8" else values
    scores = 4 + (2 if decode.layout == "nms" else decode.classes + (decode.layout == "v5"))
    slices = [table[..., :4], table[..., 4:scores], table[..., scores:]]
    return [columns for columns in slices if columns.shape[-1]]
