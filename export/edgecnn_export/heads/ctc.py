"""Character scores, step by step."""

from collections.abc import Mapping

from edgecnn_export.heads.base import Fields, Head, Outputs, numbered
from edgecnn_runtime.bundle.manifest import Ctc


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


HEADS: Mapping[str, Head] = {"ctc": Head(Ctc, ctc)}
