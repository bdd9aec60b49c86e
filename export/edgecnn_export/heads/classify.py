"""Class scores of a whole picture."""

from collections.abc import Mapping

from edgecnn_export.heads.base import Fields, Head, Outputs
from edgecnn_runtime.bundle.manifest import Classify


def classify(outputs: Outputs) -> Fields:
    """scores[N,C]."""
    name = outputs.sole_output(2, "a classifier")
    many = outputs.shapes[name][1] > 1
    independent = many and outputs.tails.get(name) == "Sigmoid"
    return {"output": name, "values": outputs.values(name), "multi_label": independent}


def fits(outputs: Outputs) -> bool:
    """One output [N,C]."""
    return [len(shape) for shape in outputs.shapes.values()] == [2]


HEADS: Mapping[str, Head] = {"classify": Head(Classify, classify, fits)}
